"""Trained runs shared between clones through Snakemake's cache."""

import json

import pytest

from tests.workflow.running import SMOKE_RUNS, copied, smoke
from tests.workflow.test_reruns import edit

TRAINED = [f"results/smoke/runs/{run}/seed0/run.json" for run in sorted(SMOKE_RUNS)]


def trained_in(folder) -> int:
    """How many trainings said something; Snakemake leaves an empty log of one that it took from the cache."""
    return sum(path.stat().st_size > 0 for path in folder.glob("results/smoke/logs/train/*/*.log"))


@pytest.mark.full
def test_a_second_clone_takes_from_the_cache_what_the_first_one_trained(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(tmp_path / "cache"))
    first, second = copied(tmp_path / "first"), copied(tmp_path / "second")
    trained = smoke(first, "--cache", "--", *TRAINED)
    assert trained.status == 0, trained.text

    taken = smoke(second, "--cache", "--", *TRAINED)
    assert taken.status == 0, taken.text
    assert trained_in(first) == len(TRAINED) and trained_in(second) == 0
    for path in TRAINED:
        record = json.loads((second / path).read_text())
        assert record == json.loads((first / path).read_text())
        for name in record["files"]:
            assert (second / path).with_name(name).read_bytes() == (first / path).with_name(name).read_bytes()

    # another equation: nothing of the cache fits, and what the first clone has stays as it is
    before = [(first / path).read_bytes() for path in TRAINED]
    edit(second / "lib/ternary_spike/membrane/surrogate.py", "\ndef ", "\nADDED = 1\n\n\ndef ")
    changed = smoke(second, "--cache", "--", *TRAINED)
    assert changed.status == 0, changed.text
    assert trained_in(second) == len(TRAINED)
    assert [(first / path).read_bytes() for path in TRAINED] == before
    codes = {json.loads((folder / TRAINED[0]).read_text())["provenance"]["code_hash"] for folder in (first, second)}
    assert len(codes) == 2
