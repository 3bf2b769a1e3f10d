"""The whole chain on a tiny preset, through snakemake itself."""

import csv
import io
import json
import re
import shutil
from collections import Counter

import pytest

from tests.workflow.running import HEAD, SMOKE_ROWS, SMOKE_RUNS, copied, smoke


def rows(text: str) -> dict[str, dict[str, str]]:
    return {row["id"]: row for row in csv.DictReader(io.StringIO(text))}


def test_a_failing_run_keeps_neither_the_others_nor_the_report_from_being_made(smoke_run):
    _, failing, _, table = smoke_run
    assert failing.status == 1
    found = rows(table)
    name = "digits-resnet6w4-T1-ternary-failing-e1-train_samples_200"
    assert set(found) == {name} | SMOKE_RUNS
    assert found[name]["state"].startswith("failed: train: ") and "the loss is" in found[name]["state"]
    assert {found[run]["state"] for run in SMOKE_RUNS} == {"done"}
    assert "Traceback" not in failing.text
    log = f"results/smoke/logs/train/{name}/seed0.log"
    assert log in found[name]["state"]
    assert re.search(f"^train failed: .*the loss is .*; see {log}$", failing.text, re.M), failing.text


def test_the_next_call_forgets_the_failure_and_ends_with_the_report(smoke_run):
    folder, _, mended, _ = smoke_run
    assert mended.status == 0, mended.text
    assert "Report: results/smoke/report/index.html" in mended.text
    found = rows((folder / "results/smoke/tables/runs.csv").read_text())
    assert {name: row["state"] for name, row in found.items()} == dict.fromkeys(SMOKE_RUNS, "done")
    assert not mended.jobs("train")


def test_the_plan_is_written_before_anything_is_trained(smoke_run):
    text = smoke_run[1].text
    assert re.search(r"^Job \d+: Plan$", text, re.M).start() < text.index("rule train:")


def test_a_shortened_run_says_so_in_its_id_and_in_the_tables(smoke_run):
    folder = smoke_run[0]
    for row in rows((folder / "results/smoke/tables/runs.csv").read_text()).values():
        assert row["reduced"].startswith("1 of 30 epochs, train_samples 200 instead of all")


def test_results_stand_where_the_layout_says_and_name_their_code(smoke_run):
    folder = smoke_run[0] / "results/smoke"
    for run in SMOKE_RUNS:
        found = {path.name for path in (folder / "runs" / run / "seed0").iterdir()}
        assert {"weights.safetensors", "history.csv", "run.json", "evaluation.json", "folded.safetensors"} <= found
        assert {"folded.json", "equivalence.json", "energy.csv", "energy.json"} <= found
        record = json.loads((folder / "runs" / run / "seed0" / "run.json").read_text())
        assert record["id"] == run and record["seed"] == 0
        assert record["changed"] == {"epochs": 1, "train_samples": 200}
    assert (folder / "report/index.html").stat().st_size > 1000
    assert "train" in (folder / "report/rulegraph.dot").read_text()
    assert (folder / "notebooks/comparison.html").exists()
    assert json.loads((folder / "config.json").read_text())["epochs"] == 1


def test_the_jobs_were_served_by_a_process_that_had_imported_what_they_need(smoke_run):
    served = Counter((smoke_run[0] / ".snakemake/warm.log").read_text().splitlines())
    for verb in ("evaluate", "fold", "verify", "energy"):
        assert served[f"served: ternary_spike {verb}"] == len(SMOKE_RUNS), served
    assert served["served: ternary_spike train"] == len(SMOKE_RUNS) + 1, "those and the one that fails"
    pages = len(list((smoke_run[0] / "results/smoke/notebooks").glob("*.html")))
    assert served["served: ternary_spike notebook"] == served["served: ternary_spike.cli._kernel -f"] >= pages > 0


def test_another_call_has_nothing_to_do(smoke_run):
    again = smoke(smoke_run[0])
    assert again.status == 0 and "Nothing to be done" in again.text


def test_the_target_report_trains_nothing(finished):
    shutil.rmtree(finished / "results/smoke/tables")
    for name in ("weights.safetensors", "run.json", "energy.json"):
        for run in SMOKE_RUNS:
            (finished / "results/smoke/runs" / run / "seed0" / name).unlink()
    planned = smoke(finished, "--dry-run", "report")
    assert planned.status == 0 and "rule report" in planned.text, planned.text
    assert not planned.jobs("train") and not planned.jobs("energy")
    assert smoke(finished, "--dry-run").jobs("train") == SMOKE_RUNS


@pytest.mark.full
def test_jobs_are_chosen_when_one_ends_and_not_every_second(tmp_path):
    """Snakemake by itself looks again a second after each look, so that the looks add up (resources.smk)."""
    copied(tmp_path)
    (tmp_path / "table.csv").write_text(HEAD + SMOKE_ROWS)
    done = smoke(tmp_path, "--verbose")
    assert done.status == 0, done.text
    ended = done.text.count("Finished jobid")
    assert ended > 20
    assert 0 < done.text.count("Ready jobs:") <= ended
