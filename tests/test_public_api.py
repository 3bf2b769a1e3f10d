"""The names that the packages offer have the types that a user's type checker should see.

`make lint` reads this file with mypy, which checks what stands in ``assert_type``; pytest runs it. The library's names
are imported only when they are asked for, which no type checker can follow, so a stub (``__init__.pyi``) says them too.
"""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import assert_type

import pytest
import torch
from torch import Tensor, nn

import ternary_spike
from ternary_spike import LIF, BinaryLIF, SpikingResNet, TernaryLIF, TrainableTernaryLIF, UserError, make_neuron
from ternary_spike.models import ARCHITECTURES, parse_architecture
from ternary_spike.neurons.base import Folded
from ternary_spike.reparam import FoldedNetwork, fold, verify

ROOT = Path(__file__).parents[1]
STUBS = sorted((ROOT / "lib").rglob("*.pyi"))


def test_a_neuron_says_its_constants_and_steps_with_its_potential() -> None:
    neuron = TernaryLIF(threshold=0.7)
    assert_type(neuron.threshold, float)
    assert_type(neuron.surrogate, str)
    assert_type(neuron.folds(), Folded)
    spike, v = assert_type(neuron.step(torch.full((2, 3), 0.8)), tuple[Tensor, Tensor])
    assert neuron.threshold == 0.7 and spike.eq(1).all() and v.eq(0).all()
    below: LIF = BinaryLIF()
    assert below.threshold == 0.5 and below.amplitude is None
    amplitude = TrainableTernaryLIF(channels=4).amplitude
    assert amplitude is not None and amplitude.shape == (4, 1, 1)
    assert_type(make_neuron("ternary"), nn.Module)


def test_a_network_by_its_architecture_folds_and_agrees_with_itself() -> None:
    assert "resnet20" in ARCHITECTURES
    assert parse_architecture("resnet20w4").width == 4
    network = SpikingResNet("resnet6w4", "trainable", timesteps=2, image_size=8)
    assert_type(network, SpikingResNet)
    folded = assert_type(fold(network), FoldedNetwork)
    assert verify(network, folded, [torch.randn(2, 3, 8, 8)])["passed"]


def test_a_mistake_is_an_exception_of_the_packages_own() -> None:
    assert issubclass(UserError, Exception)
    assert_type(ternary_spike.__version__, str)


def test_every_package_that_offers_names_has_a_stub() -> None:
    files = (ROOT / "lib").rglob("__init__.py")
    offering = {file.with_suffix(".pyi") for file in files if "__getattr__" in file.read_text()}
    assert offering == set(STUBS)


@pytest.mark.parametrize("stub", STUBS, ids=lambda path: path.parent.name)
def test_a_stub_has_the_names_that_its_package_offers(stub: Path) -> None:
    package = import_module(".".join(stub.parent.relative_to(ROOT / "lib").parts))
    tree = ast.parse(stub.read_text())
    imported = {
        alias.name: node.module for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported.keys() == set(package.__all__)
    for name, home in imported.items():
        assert getattr(import_module(str(home)), name) is getattr(package, name)


MISUSED = """from ternary_spike import SpikingResNet, TernaryLIF
TernaryLIF(threshold="high")
TernaryLIF().step(1.0)
SpikingResNet("resnet20", "ternary", tmesteps=2)
"""


@pytest.mark.full
def test_a_users_mistakes_are_found_by_the_type_checker(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(MISUSED)
    call = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [*call, "--cache-dir", str(tmp_path / "cache"), str(tmp_path / "user.py")],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    lines = [int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line]
    assert sorted(set(lines)) == [2, 3, 4], done.stdout + done.stderr
