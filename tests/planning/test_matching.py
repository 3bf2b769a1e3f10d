"""The threshold that gives a network another one's firing rate: the search, and the verb that trains its probes."""

import os
import signal

import pytest
import yaml

from ternary_spike.cli import main
from ternary_spike.planning import matching
from ternary_spike.planning.matching import Probe, bisect, firing_rate, outcome, window_of
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import read_json, write_json
from ternary_spike.training import loop as training
from ternary_spike.training.state import TrainingState
from tests.cli.test_verbs import RECIPE, mistake
from tests.helpers.tiny import prepare_tiny


def falling(threshold: float) -> Probe:
    """A network of which a share of 1 - threshold / 2 fires."""
    return Probe(threshold, 1.0, 1 - threshold / 2)


def test_bisection_halves_towards_the_wanted_rate_and_stops_there():
    found = bisect(falling, target=0.65, tolerance=0.02, limit=9)
    assert [probe.threshold for probe in found] == [1.0, 0.5, 0.75, 0.625, 0.6875]
    assert abs(found[-1].rate - 0.65) <= 0.02
    assert all(abs(probe.rate - 0.65) > 0.02 for probe in found[:-1])


def test_a_rate_out_of_reach_ends_at_the_limit_and_says_so():
    found = bisect(lambda threshold: Probe(threshold, 1.0, 0.5 - threshold / 5), target=0.9, tolerance=0.01, limit=4)
    assert [probe.threshold for probe in found] == [1.0, 0.5, 0.25, 0.125]
    said = outcome(found, 0.9, 0.01)
    assert said["within_tolerance"] is False
    assert said["found"] == {"threshold": 0.125, "window": 1.0, "rate": 0.475}
    assert len(said["probes"]) == 4


def test_the_closest_probe_is_taken_not_the_last():
    said = outcome([Probe(1.0, 2.0, 0.40), Probe(0.5, 1.0, 0.48), Probe(0.75, 1.5, 0.30)], 0.5, 0.03)
    assert (said["found"]["threshold"], said["within_tolerance"]) == (0.5, True)


def test_the_window_leaves_firing_neurons_a_gradient():
    assert [window_of(threshold) for threshold in (0.1, 0.5, 0.75, 2.0)] == [1.0, 1.0, 1.5, 4.0]


def test_the_firing_rate_counts_each_layer_by_its_neurons():
    layers = [{"rate": 0.5, "neurons": 300}, {"rate": 0.1, "neurons": 100}]
    assert firing_rate({"layers": layers}) == pytest.approx(0.4)
    with pytest.raises(ValueError, match="no firing rate"):
        firing_rate({"layers": []})


def test_a_file_that_is_no_search_is_one_line(tmp_path):
    write_json(tmp_path / "match.json", {"found": {"threshold": 1}})
    with pytest.raises(UserError, match="does not say which threshold was found"):
        matching.found_options(tmp_path / "match.json", "a")
    write_json(tmp_path / "match.json", {"id": "a", "found": {"threshold": 1}})
    with pytest.raises(UserError, match="does not say which threshold was found"):
        matching.found_options(tmp_path / "match.json", "a")
    write_json(tmp_path / "match.json", {"id": "a", "found": {"threshold": 1, "window": 2}})
    assert matching.found_options(tmp_path / "match.json", "a") == {"threshold": 1.0, "window": 2.0}
    with pytest.raises(UserError, match="the search for the threshold of a, not of b"):
        matching.found_options(tmp_path / "match.json", "b")


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A command line of both verbs on the tiny data, without what tells them apart."""
    folder = tmp_path_factory.mktemp("match")
    prepare_tiny(folder / "data")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    given = {"data": folder / "data", "architecture": "resnet6w4", "timesteps": 2, "recipe": folder / "tiny.yaml"}
    given |= {"threads": 1, "device": "cpu"}
    return [str(word) for key, value in given.items() for word in (f"--{key}", value)]


def train(words, out, neuron, seed, *more):
    main(
        [
            "train",
            *words,
            "--neuron",
            neuron,
            "--seed",
            str(seed),
            "--checkpoints",
            f"{out}-c",
            "--out",
            str(out),
            *more,
        ]
    )
    main(["evaluate", "--run", str(out), "--data", words[1], "--out", str(out / "evaluation.json"), "--threads", "1"])
    return out / "evaluation.json"


@pytest.fixture(scope="module")
def searched(words, tmp_path_factory):
    """Binary networks of two seeds, and the search for a ternary one that fires as often."""
    folder = tmp_path_factory.mktemp("searched")
    targets = [str(train(words, folder / f"binary{seed}", "binary", seed)) for seed in (0, 1)]
    search = ["match", *words, "--neuron", "ternary", "--seed", "0", "--checkpoints", str(folder / "probes")]
    search += ["--id", "ternary-rate_of_binary", "--target", *targets, "--tolerance", "0.05", "--probes", "6"]
    main([*search, "--out", str(folder / "match.json")])
    return folder, search


def test_the_search_brings_the_rate_near_the_target_s_mean(searched):
    folder, _ = searched
    found = read_json(folder / "match.json")
    rates = [firing_rate(read_json(folder / f"binary{seed}" / "evaluation.json")) for seed in (0, 1)]
    assert found["target"]["rates"] == rates and found["target"]["rate"] == pytest.approx(sum(rates) / 2)
    assert found["probes"][0]["threshold"] == 1.0 and found["probes"][0]["window"] == 2.0
    assert found["within_tolerance"] and abs(found["found"]["rate"] - sum(rates) / 2) <= 0.05
    assert found["data"]["label"] == "tiny test pictures" and found["provenance"]["command"]


def test_the_run_is_trained_with_the_found_threshold_and_fires_as_its_probe_did(searched, words):
    folder, _ = searched
    found = read_json(folder / "match.json")["found"]
    matched = ["--id", "ternary-rate_of_binary", "--matched", str(folder / "match.json")]
    evaluation = train(words, folder / "matched", "ternary", 0, *matched)
    record = read_json(folder / "matched" / "run.json")
    assert record["model"]["neuron_options"] == {"threshold": found["threshold"], "window": found["window"]}
    assert firing_rate(read_json(evaluation)) == found["rate"]


def test_a_threshold_that_is_searched_for_is_not_given_as_well(searched, words, capsys):
    folder, search = searched
    line = mistake(capsys, [*search, "--neuron-option", "threshold=0.3", "--out", str(folder / "none.json")])
    assert "--neuron-option threshold" in line
    given = ["--id", "ternary-rate_of_binary", "--neuron-option", "threshold=9"]
    told = ["--matched", str(folder / "match.json"), "--neuron", "ternary", "--seed", "0"]
    out = ["--checkpoints", str(folder / "c"), "--out", str(folder / "none")]
    line = mistake(capsys, ["train", *words, *given, *told, *out])
    assert "threshold=9" in line and "match.json" in line and not (folder / "none").exists()


def test_a_search_that_was_cut_off_takes_up_its_finished_probes(searched, monkeypatch):
    folder, search = searched
    before = read_json(folder / "match.json")
    trained = []
    monkeypatch.setattr(training, "train", lambda plan, *rest, **more: trained.append(plan))
    main([*search, "--out", str(folder / "again.json")])
    assert not trained
    again = read_json(folder / "again.json")
    assert again["probes"] == before["probes"] and again["found"] == before["found"]


def test_probes_of_another_recipe_are_trained_again(searched, monkeypatch):
    folder, search = searched
    asked = []

    def stop(plan, *rest, **more):
        asked.append(plan)
        raise training.Interrupted("stopped")

    monkeypatch.setattr(training, "train", stop)
    with pytest.raises(SystemExit) as stopped:
        main([*search, "--set", "momentum=0.8", "--out", str(folder / "other.json")])
    assert stopped.value.code == 130 and len(asked) == 1
    assert asked[0].model["neuron_options"] == {"threshold": 1.0, "window": 2.0}
    assert not (folder / "other.json").exists()


def test_a_signal_stops_the_search_with_its_training_saved(searched, tmp_path, monkeypatch, capsys):
    _, search = searched
    begin_epoch = TrainingState.begin_epoch

    def interrupted(state):
        os.kill(os.getpid(), signal.SIGTERM)
        begin_epoch(state)

    monkeypatch.setattr(TrainingState, "begin_epoch", interrupted)
    search = [*search, "--checkpoints", str(tmp_path / "probes"), "--out", str(tmp_path / "match.json")]
    with pytest.raises(SystemExit) as stopped:
        main(search)
    assert stopped.value.code == 130 and "stopped by SIGTERM at epoch 1" in capsys.readouterr().err
    assert list((tmp_path / "probes").glob("*/checkpoint.safetensors"))


@pytest.mark.parametrize(
    "content, message",
    [
        ({"id": "a"}, "it is not the evaluation of a run"),
        ({"id": "a", "layers": []}, "a network without spiking neurons has no firing rate"),
    ],
)
def test_a_target_that_gives_no_rate_is_one_line(searched, tmp_path, capsys, content, message):
    write_json(tmp_path / "evaluation.json", content)
    _, search = searched
    assert message in mistake(
        capsys, [*search, "--target", str(tmp_path / "evaluation.json"), "--out", str(tmp_path / "m")]
    )


def test_targets_of_two_runs_are_one_line(searched, tmp_path, capsys):
    folder, search = searched
    other = read_json(folder / "binary0" / "evaluation.json") | {"id": "another"}
    write_json(tmp_path / "evaluation.json", other)
    targets = [str(folder / "binary0" / "evaluation.json"), str(tmp_path / "evaluation.json")]
    words = [*search, "--target", *targets, "--out", str(tmp_path / "m")]
    assert "evaluations of different runs: another, tiny-resnet6w4-T2-binary" in mistake(capsys, words)
