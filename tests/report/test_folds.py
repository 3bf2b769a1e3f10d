"""The fold's figures on the front page."""

from ternary_spike.report.folds import fold_in_figures
from ternary_spike.report.results import Results
from ternary_spike.tables import collect

from . import fixture


def test_what_is_not_foldable_is_no_part_of_what_was_compared(tmp_path):
    plan = fixture.demo(tmp_path, seeds=(0,))
    whole = collected(tmp_path, plan)
    assert whole["networks"] == 3 and whole["refused"] == 0 and whole["spikes"] == "3,000,000"
    fixture.refuse(tmp_path / "runs" / "digits-resnet8-T2-ternary" / "seed0", "layer stem1 is soft")
    mixed = collected(tmp_path, plan)
    assert mixed == whole | {"networks": 2, "refused": 1, "reasons": ["layer stem1 is soft"], "spikes": "2,000,000"} | {
        "differing32": "80"
    }
    for neuron in ("binary", "trainable"):
        fixture.refuse(tmp_path / "runs" / f"digits-resnet8-T2-{neuron}" / "seed0", "layer stem1 is soft")
    assert collected(tmp_path, plan) == {"networks": 0, "refused": 3, "reasons": ["layer stem1 is soft"]}


def test_without_networks_there_is_nothing_to_say(tmp_path):
    assert collected(tmp_path, fixture.nothing_run(tmp_path)) is None


def collected(folder, plan):
    """The figures from the table as it stands in its file."""
    collect.write_tables(collect.tables(collect.read_plan(plan), folder), folder / "tables")
    return fold_in_figures(Results(folder).table("equivalence"))
