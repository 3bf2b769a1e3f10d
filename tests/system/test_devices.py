"""Picking a device: never two processes on one, and what is said when there is none."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ternary_spike import UserError
from ternary_spike.system import devices

ROOT = Path(__file__).parents[2]


def test_eight_processes_share_two_devices_one_at_a_time(tmp_path):
    notes, locks = tmp_path / "notes", tmp_path / "locks"
    notes.mkdir()
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'lib'}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "tests.helpers.hold_device", locks, notes]
    subprocess.run(command, env=environment, cwd=ROOT, check=True, timeout=300)
    by_device: dict[str, list[tuple[float, float]]] = {}
    for note in notes.iterdir():
        name, begun, ended = note.read_text().split()
        by_device.setdefault(name, []).append((float(begun), float(ended)))
    assert set(by_device) <= {"0", "1"} and sum(map(len, by_device.values())) == 8
    for intervals in by_device.values():
        intervals.sort()
        for (_, ended), (begun, _) in itertools.pairwise(intervals):
            assert ended <= begun


def test_a_killed_holder_frees_its_device(tmp_path):
    held = len(devices.held)
    assert devices.claim(["a", "b"], tmp_path) == "a"
    assert devices.claim(["a", "b"], tmp_path) == "b"
    devices.held.pop(held).close()  # as the end of the process would
    assert devices.claim(["a", "b"], tmp_path) == "a"
    while len(devices.held) > held:
        devices.held.pop().close()


def test_a_lock_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot lock a GPU in .*file/locks"):
        devices.claim(["0"], tmp_path / "file" / "locks")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_gpu():
    assert devices.choose("auto") == torch.device("cpu")
    with pytest.raises(UserError, match="--device cuda: torch finds no CUDA device"):
        devices.choose("cuda")
