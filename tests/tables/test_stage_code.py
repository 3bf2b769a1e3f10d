"""Seeds whose stages were done by different code have no mean, and the tables say so."""

import json

import pandas as pd
import pytest

from ternary_spike.tables import collect
from tests.report import fixture

FILES = {"evaluate": "evaluation", "fold": "folded", "verify": "equivalence", "energy": "energy"}


def made_by(folder, stage: str, code: str | None) -> None:
    path = folder / f"{FILES[stage]}.json"
    content = json.loads(path.read_text())
    content["provenance"] = {} if code is None else {"code_hash": code}
    path.write_text(json.dumps(content))


def tables(tmp_path, codes: dict[str, tuple[str | None, ...]], **wanted) -> dict[str, pd.DataFrame]:
    seeds = range(len(next(iter(codes.values()))))
    rows = [fixture.plan_row("digits", "resnet8", 2, "ternary", seed) for seed in seeds]
    for row in rows:
        folder = fixture.write_run(tmp_path, row, **{key: each[row["seed"]] for key, each in wanted.items()})
        for stage, of_seeds in codes.items():
            made_by(folder, stage, of_seeds[row["seed"]])
    return collect.tables(collect.read_plan(fixture.write_plan(tmp_path, rows)), tmp_path)


@pytest.mark.parametrize(
    "stage, empty, cells",
    [
        ("evaluate", ("layers", "membrane"), ("rate_mean_percent", "entropy_mean_bits")),
        ("fold", ("equivalence", "energy", "energy_layers"), ("synops_mean_per_image", "energy_mean_microjoule")),
        ("verify", ("equivalence",), ()),
        ("energy", ("energy", "energy_layers"), ("synops_mean_per_image", "energy_mean_microjoule")),
    ],
)
@pytest.mark.parametrize("codes", [("a" * 16, "b" * 16), (None, "b" * 16)])
def test_what_different_code_made_is_neither_averaged_nor_shown(tmp_path, stage, empty, cells, codes):
    found = tables(tmp_path, {stage: codes})
    summary = found["summary"].iloc[0]
    assert all(found[name].empty for name in empty) and summary[list(cells)].isna().all()
    said = f"{stage}: made by different code (seed 0 apart from seed 1), so there is no mean"
    assert f"{said}; call with --forcerun {stage}" in summary["state"]
    assert summary["state"] != "done" and summary["n"] == 2 and summary["last_epoch_mean_percent"] > 0
    kept = {"layers", "equivalence", "energy", "energy_layers"} - set(empty)
    assert not any(found[name].empty for name in kept)


@pytest.mark.parametrize("codes", [("a" * 16, "a" * 16), (None, None)])
def test_what_the_same_code_made_is_averaged(tmp_path, codes):
    found = tables(tmp_path, dict.fromkeys(FILES, codes))
    summary = found["summary"].iloc[0]
    assert summary["state"] == "done" and summary["energy_mean_microjoule"] == 5.0


def test_what_one_code_made_for_most_seeds_is_shown_for_these_alone(tmp_path):
    """Seed 0 of three is of another code: no cell, no row of it, and no part in a mean; its accuracy stays."""
    found = tables(tmp_path, {"energy": ("b" * 16, "a" * 16, "a" * 16)}, energy=(100.0, 5.0, 7.0))
    summary, runs = found["summary"].iloc[0], found["runs"].set_index("seed")
    assert summary["energy_mean_microjoule"] == 6.0 and summary["n"] == 3
    assert list(runs["energy_microjoule"].notna()) == [False, True, True]
    assert set(found["energy"]["seed"]) == set(found["energy_layers"]["seed"]) == {1, 2}
    assert runs["last_epoch_percent"].notna().all() and set(found["equivalence"]["seed"]) == {0, 1, 2}
    words = "energy: made by different code (seed 0 apart from seeds 1, 2), so means are of 2 of the 3 seeds"
    assert f"{words}; call with --forcerun energy" in summary["state"]


def test_stages_that_part_the_seeds_alike_are_said_together(tmp_path):
    apart, alike = ("b" * 16, "a" * 16, "a" * 16), ("c" * 16, "c" * 16, "d" * 16)
    found = tables(tmp_path, {"evaluate": apart, "verify": alike, "energy": apart})
    first = "evaluate, energy: made by different code (seed 0 apart from seeds 1, 2), so means are of 2 of the 3 seeds"
    other = "verify: made by different code (seeds 0, 1 apart from seed 2), so means are of 2 of the 3 seeds"
    state = found["runs"]["state"].iloc[0]
    assert (
        f"{first}; call with --forcerun evaluate energy" in state and f"{other}; call with --forcerun verify" in state
    )
    assert set(found["layers"]["seed"]) == set(found["energy"]["seed"]) == {1, 2}
    assert set(found["equivalence"]["seed"]) == {0, 1}


def test_the_summary_says_once_what_all_seeds_say(tmp_path):
    rows = [fixture.plan_row("digits", "resnet8", 2, "ternary", seed) for seed in (0, 1)]
    for row, code, others in zip(rows, "ab", ("fold", "verify"), strict=True):
        row["code"] = json.dumps({others: "0" * 16})
        folder = fixture.write_run(tmp_path, row)
        made_by(folder, "energy", code * 16)
        made_by(folder, others, "1" * 16)
    found = collect.tables(collect.read_plan(fixture.write_plan(tmp_path, rows)), tmp_path)
    state = found["summary"]["state"].iloc[0]
    assert state.count("energy: made by different code") == 1 and state.count("other code: ") == 2


def test_half_of_the_seeds_are_not_most_of_them(tmp_path):
    found = tables(tmp_path, {"energy": ("b" * 16, "b" * 16, "a" * 16, "a" * 16)})
    assert found["energy"].empty and "so there is no mean" in found["summary"].iloc[0]["state"]
