"""What is kept of parsed sources is never out of date, and nobody needs it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ternary_spike.system.parsed_code import MOST, Kept

LIBRARY = Path(__file__).parents[2] / "lib"
HASHES = """
from ternary_spike.system import codehash
print(codehash.run_code_hash(codehash.TRAINING, ["ternary_spike.neurons.lif"], {"surrogate": "atan"}))
print(codehash.code_hash(["report.site"]))
"""


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    """As where Python writes compiled files too: whoever runs the tests may have said no to that."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


class Counted:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> list[str]:
        self.calls += 1
        return ["found", "\u00e9"]


def test_what_was_found_is_found_again_in_the_same_bytes_by_the_same_code_only(tmp_path):
    find = Counted()
    first = Kept(tmp_path / "kept.json", b"finder")
    assert first.found(b"source", find) == first.found(b"source", find) == ["found", "\u00e9"]
    first.keep()
    again = Kept(tmp_path / "kept.json", b"finder")
    assert again.found(b"source", find) == ["found", "\u00e9"] and find.calls == 1
    again.found(b"source ", find)
    assert find.calls == 2
    Kept(tmp_path / "kept.json", b"another finder").found(b"source", find)
    assert find.calls == 3


def test_a_damaged_file_is_as_none(tmp_path):
    find = Counted()
    kept = Kept(tmp_path / "kept.json", b"finder")
    kept.found(b"source", find)
    kept.keep()
    whole = (tmp_path / "kept.json").read_bytes()
    for damaged in (whole.replace(b"found", b"other", 2), whole[:-9], b"", b"[]", b"{}"):
        (tmp_path / "kept.json").write_bytes(damaged)
        assert Kept(tmp_path / "kept.json", b"finder").found(b"source", lambda: "anew") == "anew"


def test_what_nobody_asks_for_goes_when_there_is_too_much(tmp_path):
    for begin in (0, MOST):
        kept = Kept(tmp_path / "kept.json", b"finder")
        for number in range(begin, begin + MOST):
            kept.found(str(number).encode(), lambda: 0)
        kept.keep()
    last = Kept(tmp_path / "kept.json", b"finder")
    assert last.found(str(MOST).encode(), lambda: 1) == 0 and last.found(b"0", lambda: 1) == 1


def test_where_it_cannot_be_written_nothing_is_kept(tmp_path):
    (tmp_path / "file").write_text("no folder")
    kept = Kept(tmp_path / "file" / "kept.json", b"finder")
    assert kept.found(b"source", lambda: 1) == 1
    kept.keep()


@pytest.mark.parametrize("change", [False, True], ids=["as it was", "changed"])
def test_hashes_are_the_same_with_and_without_what_was_kept(tmp_path, change):
    package = shutil.copytree(
        LIBRARY / "ternary_spike", tmp_path / "ternary_spike", ignore=shutil.ignore_patterns("__pycache__")
    )

    def hashes(*options: str) -> list[str]:
        call = [sys.executable, *options, "-c", HASHES]
        environment = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
        return done.stdout.split()

    written = package / "system" / "__pycache__" / f"codehash.{sys.implementation.cache_tag}.json"
    before = hashes("-B")
    assert not written.exists()
    assert hashes() == before and written.exists()
    if change:
        for name in ("neurons/lif.py", "report/site.py"):
            (package / name).write_text((package / name).read_text() + "\nNEW = 1\n")
    after = hashes()
    assert after == hashes()
    written.unlink()
    assert after == hashes("-B")
    assert (after[0] != before[0], after[1] != before[1]) == (change, change)
