"""Mistakes in the configuration end the call with one line, before any work."""

import pytest

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
        ("neurons=ternery", "neurons: no run has ternery; there are binary, ternary"),
        ("recipe_changes={momentums: 1}", "unknown key 'momentums'"),
        ("data={digits: {source: internet}}", "digits: unknown source 'internet'; known are scikit-learn"),
    ],
)
def test_a_misspelt_setting(repository, setting, message):
    assert message in mistake(repository, "--config", setting)


@pytest.mark.full
@pytest.mark.parametrize(
    "setting, message",
    [
        ("epochs=0", "configuration: epochs is 0, but must be at least 1"),
        ("seeds=one", "configuration: seeds.0 is 'one', but must be a whole number"),
        ("tables=9", "tables: no run has 9"),
        ("experiments=missing.csv", "cannot read the run table"),
        ("preset=../up", "configuration: preset is '../up'"),
    ],
)
def test_a_bad_value(repository, setting, message):
    assert message in mistake(repository, "--config", setting)


def test_a_run_that_stands_in_the_table_twice(repository):
    table = HEAD + SMOKE_ROWS + SMOKE_ROWS.splitlines(keepends=True)[0]
    assert "line 4: run digits-resnet6w4-T2-ternary stands in line 2 already" in mistake(repository, table=table)


@pytest.mark.full
def test_a_neuron_that_does_not_exist(repository):
    message = mistake(repository, table=HEAD + SMOKE_ROWS.replace("binary", "quaternary"))
    assert "neuron is 'quaternary', but must be one of binary, ternary, trainable, relu" in message


def test_lists_from_the_command_line(repository):
    (repository / "table.csv").write_text(HEAD + SMOKE_ROWS.replace(",0,demo", ",0;1;2,demo"))
    planned = smoke(repository, "--dry-run", "--config", "seeds=1,4", "neurons=[binary]", "epochs=2")
    assert planned.status == 0, planned.text
    assert planned.jobs("train") == {"digits-resnet6w4-T1-binary-e2-train_samples_200"}
    assert "seed=1\n" in planned.text and "seed=4\n" in planned.text and "seed=0\n" not in planned.text
