"""The checkpoint of a finished training stays until an evaluation of its results is there."""

import os

from ternary_spike.planning.kept_checkpoints import CHECKPOINT, FINISHED, checkpoint_root, release
from ternary_spike.planning.run_files import run_folder
from ternary_spike.system.files import write_json


def write_run(results, run, evaluated, seed=0, of="weights"):
    """A finished training whose evaluation is so many seconds younger than its record; None for no evaluation."""
    folder = run_folder(results, run, seed)
    folder.mkdir(parents=True)
    write_json(folder / "run.json", {"files": {"weights.safetensors": "weights"}})
    os.utime(folder / "run.json", (1000, 1000))
    if evaluated is not None:
        write_json(folder / "evaluation.json", {"trained_weights": of})
        os.utime(folder / "evaluation.json", (1000 + evaluated, 1000 + evaluated))
    kept = checkpoint_root(results, run, seed) / "key"
    kept.mkdir(parents=True)
    for name in (CHECKPOINT, FINISHED, "history.csv", "lock"):
        (kept / name).write_text("")
    return kept


def test_only_what_has_been_evaluated_since_goes(tmp_path):
    kept = {name: write_run(tmp_path, name, age) for name, age in {"done": 5, "again": -5, "fresh": None}.items()}
    kept["touched"] = write_run(tmp_path, "touched", 5, of="those of an earlier training")
    of_other_settings = kept["done"].with_name("unfinished")
    of_other_settings.mkdir()
    (of_other_settings / CHECKPOINT).write_text("half way")
    assert release(tmp_path, [(run, 0) for run in kept] + [("never begun", 1)]) == [kept["done"]]
    assert {path.name for path in kept["done"].iterdir()} == {"lock"}
    assert (of_other_settings / CHECKPOINT).exists()
    for name in ("again", "fresh", "touched"):
        assert {path.name for path in kept[name].iterdir()} == {CHECKPOINT, FINISHED, "history.csv", "lock"}, name
    assert release(tmp_path, [("done", 0)]) == []


def test_a_killed_training_leaves_no_results_to_release(tmp_path):
    kept = write_run(tmp_path, "deleted", None)
    (run_folder(tmp_path, "deleted", 0) / "run.json").unlink()
    assert release(tmp_path, [("deleted", 0)]) == [] and (kept / CHECKPOINT).exists()
