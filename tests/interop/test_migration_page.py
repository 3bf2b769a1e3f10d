"""docs/migration.md: its examples run, its versions are the pinned ones, its tables say what the libraries do."""

import ast
import importlib.metadata
import inspect
import math
import re
import tomllib
from pathlib import Path

import pytest
import torch

from ternary_spike import TernaryLIF
from ternary_spike.membrane.surrogate import SURROGATES, curve, derivative
from tests.helpers.rivals import norse, snntorch, spikingjelly

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
EXAMPLES = dict(zip(("spikingjelly", "snntorch", "norse"), re.findall(r"```python\n(.*?)```", PAGE, re.S), strict=True))
NAMES = {"spikingjelly": "SpikingJelly", "snntorch": "snnTorch", "norse": "Norse"}
# the page's words, and what its tests are called
DIFFERENCES = {
    "At the threshold itself": ["at_the_threshold_itself"],
    "Rounding": ["in_the_last_bits_unless_tau_is_two"],
    "snnTorch's default reset": [
        "their_default_reset",
        "their_immediate_soft_reset_beyond_twice_the_threshold",
    ],
    "Norse's `LIFCell`": ["their_synapse"],
    "Through a hard reset": [
        "gradient_through_a_hard_reset_of_silent_neurons",
        "gradient_through_an_immediate_reset",
        "gradient_through_the_reset",
    ],
    "A wide surrogate at two thresholds": ["a_wide_surrogate_at_two_thresholds"],
    "Another batch size": ["another_batch_size"],
    "A call of snnTorch's neuron without `mem`": ["a_call_without_mem"],
    "At rest": ["at_rest_there_is_no_tensor"],
}
WINDOW = 0.4
DISTANCES = torch.linspace(-2, 2, 801, dtype=torch.float64)


def row(first: str) -> list[str]:
    """The cells of a table's row behind its first."""
    (line,) = re.findall(rf"^\| {re.escape(first)} \|(.*)\|$", PAGE, flags=re.M)
    return [cell.strip() for cell in line.split("|")]


def named_defaults(cell: str) -> dict[str, object]:
    """The defaults that a cell states."""
    return {key: ast.literal_eval(value) for key, value in re.findall(r"`(\w+)=([^`]+)`", cell)}


def defaults_of(function) -> dict[str, object]:
    """The defaults of a signature."""
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


def test_the_versions_of_the_page_are_the_pinned_ones():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(line.split("==") for line in project["optional-dependencies"]["bench"])
    assert {name: pinned[name] for name in NAMES} == {
        name: re.search(rf"{shown} (\d+\.\d+\.\d+)", PAGE)[1] for name, shown in NAMES.items()
    }


def test_our_defaults_are_those_of_the_page_and_every_surrogate_is_in_its_table():
    stated = named_defaults(row("defaults")[0])
    ours = defaults_of(TernaryLIF.__init__)
    assert len(stated) == 5 and stated == {name: ours[name] for name in stated}
    table = PAGE.partition("Surrogate gradients")[2].partition("snnTorch's")[0]
    assert set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| ([^|]+) \|", table, flags=re.M)))) == {*SURROGATES}


def test_every_difference_of_the_page_has_its_test_and_every_such_test_its_difference():
    assert set(re.findall(r"^- \*\*(.+?)\*\*", PAGE, flags=re.M)) == set(DIFFERENCES)
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_in_*.py"))
    found = re.findall(r"def test_not_the_same_(\w+)", tests)
    assert set(found) == {name for names in DIFFERENCES.values() for name in names}
    assert found.count("another_batch_size") == 3 and found.count("at_the_threshold_itself") == 2


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_the_examples_run_with_the_version_that_the_page_names(name):
    {"spikingjelly": lambda: spikingjelly("base"), "snntorch": snntorch, "norse": norse}[name]()
    assert importlib.metadata.version(name) == re.search(rf"{NAMES[name]} (\d+\.\d+\.\d+)", PAGE)[1]
    names: dict[str, object] = {}
    exec(compile(EXAMPLES[name], f"docs/migration.md, {name}", "exec"), names)
    given = (
        names["scores"] if name == "spikingjelly" else names["spk_rec"][-1] if name == "snntorch" else names["spikes"]
    )
    assert given.shape[0] in (3, 4) and given.requires_grad


@pytest.mark.full
def test_their_defaults_are_those_of_the_page():
    _, jelly, snn, nrs = (named_defaults(cell) for cell in row("defaults"))
    parameters = {**norse().LIFBoxParameters()._asdict(), **norse().LIFParameters()._asdict()}
    for stated, found, count in (
        (jelly, defaults_of(spikingjelly("neuron").LIFNode.__init__), 6),
        (jelly, defaults_of(spikingjelly("neuron").TernaryLIFNode.__init__), 6),
        (snn, defaults_of(snntorch().Leaky.__init__), 4),
        (nrs, {name: value.item() if torch.is_tensor(value) else value for name, value in parameters.items()}, 5),
    ):
        assert len(stated) == count and stated == {name: found[name] for name in stated}


def slope(function) -> torch.Tensor:
    """A surrogate's derivative at the distances."""
    x = DISTANCES.clone().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0]


def ours(name: str, window: float, temperature: float | None = None) -> torch.Tensor:
    """Our surrogate at the same distances from a threshold of 1."""
    b = None if temperature is None else torch.tensor(temperature, dtype=torch.float64)
    return derivative(name, DISTANCES + 1, signed=False, threshold=1.0, window=window, curve=curve(name, window, b))


@pytest.mark.full
@pytest.mark.parametrize("name", ["rectangle", "triangle", "atan", "sigmoid"])
@pytest.mark.parametrize("column", [1, 2])
def test_their_surrogates_are_those_of_the_table(name, column):
    """What the cell says is evaluated: a class or function of the library, and its argument."""
    cell = row(f"`{name}`")[column - 1].strip("`")
    assert bool(cell) == (column == 1 or name in ("atan", "sigmoid"))
    if cell:
        library = spikingjelly("surrogate") if column == 1 else snntorch("snntorch.surrogate")
        theirs = eval(cell, {**vars(library), "pi": math.pi, "w": WINDOW})
        assert torch.allclose(slope(theirs), ours(name, WINDOW), atol=1e-12)


@pytest.mark.full
def test_norses_surrogates_are_those_of_the_table():
    norse()
    from norse.torch.functional.threshold import threshold

    assert torch.allclose(slope(lambda x: threshold(x, "triangle", 1.0)), ours("triangle", 1.0))
    for k in (2.0, 5.0):
        theirs = slope(lambda x, k=k: threshold(x, "tanh", k))
        assert torch.allclose(theirs * k / 2, ours("tanh_unclipped", 0.5, k))
        assert torch.trapezoid(theirs, DISTANCES).item() == pytest.approx(2 / k, rel=1e-2)
