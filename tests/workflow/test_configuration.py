"""Mistakes in the configuration end the call with one line, before any work."""

import re
import shlex

import pytest
import yaml

from tests.workflow.running import HEAD, SMOKE_ROWS, copied, smoke


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return copied(tmp_path_factory.mktemp("repository"))


def mistake(repository, *arguments, table: str | None = None) -> str:
    """The one line that a call ends with."""
    (repository / "table.csv").write_text(HEAD + SMOKE_ROWS if table is None else table)
    outcome = smoke(repository, *arguments)
    assert outcome.status == 1, outcome.text
    lines = [line for line in outcome.text.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in outcome.text, outcome.text
    assert not (repository / "results").exists()
    return lines[0]


@pytest.mark.parametrize(
    "setting, message",
    [
        ("epoch=3", "configuration: unknown key 'epoch'; did you mean 'epochs'?"),
        # found later, by what plans the runs, whose own tests have the other messages
        ("neurons=ternery", "neurons: no run has ternery; there are binary, ternary"),
    ],
)
def test_a_misspelt_setting(repository, setting, message):
    assert message in mistake(repository, "--config", setting)


def test_a_key_that_stands_twice_in_a_file(repository):
    (repository / "twice.yaml").write_text("epochs: 1\nrecipe_changes: {cutout: 2, cutout: 3}\n")
    message = mistake(repository, "--configfile", "smoke.yaml", "twice.yaml")
    assert "twice.yaml, line 2: 'cutout' is given twice" in message


def test_the_default_configuration_in_another_encoding(repository):
    defaults = repository / "config/config.yaml"
    shipped = defaults.read_bytes()
    try:
        defaults.write_bytes(b"# gr\xf6\xdfer\n" + shipped)
        assert "config.yaml, line 1: not UTF-8 but another encoding" in mistake(repository)
    finally:
        defaults.write_bytes(shipped)


def test_a_configuration_file_of_the_command_line_in_another_encoding(repository):
    (repository / "mine.yaml").write_bytes("epochs: 1\n".encode("utf-16"))
    assert "mine.yaml: not UTF-8; save the file as UTF-8" in mistake(repository, "--configfile=mine.yaml")


def test_a_target_behind_a_configuration_file(repository):
    said = mistake(repository, "--configfile", "smoke.yaml", "report")
    assert "report: there is no such configuration file; write a target before --configfile or behind --" in said


def test_a_clone_whose_folder_parts_a_search_path(tmp_path):
    assert "':' parts the folders of PYTHONPATH" in mistake(copied(tmp_path / "10:30"))


def test_a_gpu_that_is_not_there(repository):
    assert "device is 'cuda', but this machine has no GPU" in mistake(repository, "--config", "device=cuda")


def test_settings_reach_the_commands_as_they_are(repository):
    """Whatever a shell would take for its own: quotes, spaces, substitutions, braces."""
    options = "stem,stem_batch_norm=over_time;threshold=1.0"
    (repository / "table.csv").write_text(HEAD + f"cifar10,resnet20,2,ternary,{options},cifar10,0,2,false\n")
    changes = {"name": "$(touch PWNED) it's", "mean": [0.5, 0.5, 0.5], "train_samples": None, "cutout": 3}
    config = {"recipe_changes": changes, "data": {"cifar10": {"source": "torchvision", "root": "john's {x} $HOME"}}}
    (repository / "odd.yaml").write_text(yaml.safe_dump(config))
    planned = smoke(repository, "--dry-run", "--printshellcmds", "--configfile", "smoke.yaml", "odd.yaml")
    assert planned.status == 0, planned.text
    commands = {}
    for line in planned.text.splitlines():
        if match := re.search("-m ternary_spike (train|prepare|plan|download) ", line):
            commands[match[1]] = shlex.split(line)
    settings = {word for word in commands["train"] if re.match("(name|mean|epochs|cutout)=", word)}
    assert settings == {"name=$(touch PWNED) it's", "mean=[0.5, 0.5, 0.5]", "epochs=1", "cutout=3"}
    assert settings <= set(commands["plan"])
    train = " ".join(commands["train"])
    assert "--neuron-option threshold=1.0 --set" in train and train.count("--stem-batch-norm over_time") == 1
    assert "john's {x} $HOME" in commands["prepare"] and "john's {x} $HOME" in commands["download"]
    assert "cifar10=torchvision:john's {x} $HOME" in commands["plan"]


def test_lists_from_the_command_line(repository):
    (repository / "table.csv").write_text(HEAD + SMOKE_ROWS.replace(",0,demo", ",0;1;2,demo"))
    planned = smoke(repository, "--dry-run", "--config", "seeds=1,4", "neurons=[binary]", "epochs=2")
    assert planned.status == 0, planned.text
    assert planned.jobs("train") == {"digits-resnet6w4-T1-binary-e2-train_samples_200"}
    assert "seed=1\n" in planned.text and "seed=4\n" in planned.text and "seed=0\n" not in planned.text
