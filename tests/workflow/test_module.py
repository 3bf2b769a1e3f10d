"""Another workflow, in a folder of its own, takes this one as a module."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.workflow.running import HEAD, REPOSITORY, SMOKE_CONFIG, copied, snakemake

ROW = "digits,resnet6w4,1,ternary,,,digits,0,demo,false\n"
RUN = "digits-resnet6w4-T1-ternary-e1-train_samples_200"
RESULTS = "external/spikes/results/smoke"
IMPORTING = """configfile: "study.yaml"


rule all:
    input:
        "accuracy.txt",


module spikes:
    snakefile:
        {snakefile}
    config:
        config["spikes"]
    prefix:
        "external/spikes"


use rule * from spikes as spikes_*


rule accuracy:
    input:
        tables=rules.spikes_collect.output,
        report=rules.spikes_report.output,
    output:
        "accuracy.txt",
    shell:
        "echo library: ${{{{PYTHONPATH:-none}}}} > {{output}}; cat {{input.tables}}/runs.csv >> {{output}}"


onstart:
    spikes.onstart()


onsuccess:
    spikes.onsuccess()
"""


def importing(folder: Path, snakefile: str) -> Path:
    """A workflow of someone else's, whose configuration has the module's in a section."""
    folder.mkdir()
    (folder / "Snakefile").write_text(IMPORTING.format(snakefile=snakefile))
    (folder / "table.csv").write_text(HEAD + ROW)
    # a time of day and an octal mode are its own matter, a file that says so is no mistake
    own = "title: a study of its own\nevery: 1:30\nmode: 0755\n"
    (folder / "study.yaml").write_text(own + yaml.safe_dump({"spikes": yaml.safe_load(SMOKE_CONFIG)}))
    return folder


@pytest.fixture(scope="module")
def hosted(tmp_path_factory) -> tuple[str, dict[str, str]]:
    """The working tree as a commit that Snakemake takes from GitHub, which git looks for on this disk."""
    base = tmp_path_factory.mktemp("hosted")
    clone = copied(base / "git" / "someone" / "ternary-spike")
    git = ["git", "-C", str(clone), "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    (base / "gitconfig").write_text(f'[url "file://{base}/git/"]\n  insteadOf = https://github.com/\n')
    environment = {"GIT_CONFIG_GLOBAL": str(base / "gitconfig"), "XDG_CACHE_HOME": str(base / "cache")}
    return f'github("someone/ternary-spike", path="workflow/Snakefile", commit="{commit}")', environment


def test_a_commit_on_a_git_host_is_planned_with_the_importers_table_and_this_ones_defaults(hosted, tmp_path):
    snakefile, environment = hosted
    folder = importing(tmp_path / "study", snakefile)
    planned = snakemake(folder, "-n", "--cores", "2", **environment)
    assert planned.status == 0, planned.text
    assert planned.jobs("spikes_train") == {RUN}
    # its own target, not the module's, and every file below the prefix
    assert "rule accuracy:" in planned.text and "\nrule all:\n    input: accuracy.txt\n" in planned.text
    assert f"output: {RESULTS}/runs/{RUN}/seed0/weights.safetensors" in planned.text
    assert not (folder / "external").exists()


def test_a_key_that_is_none_of_the_modules_is_refused_by_its_name(tmp_path):
    folder = importing(tmp_path / "study", f'"{REPOSITORY}/workflow/Snakefile"')
    text = (folder / "Snakefile").read_text()
    (folder / "Snakefile").write_text(text.replace('config["spikes"]', "config"))
    refused = snakemake(folder, "-n", "--cores", "1")
    assert refused.status == 1 and "error: configuration: unknown key 'title'" in refused.text, refused.text
    assert "Traceback" not in refused.text


@pytest.mark.full
def test_a_module_finishes_below_its_prefix_and_the_next_call_has_nothing_to_do(hosted, tmp_path):
    snakefile, environment = hosted
    folder = importing(tmp_path / "study", snakefile)
    made = snakemake(folder, "--cores", "2", **environment)
    assert made.status == 0, made.text
    assert f"Report: {RESULTS}/report/index.html" in made.text
    own, _, row = (folder / "accuracy.txt").read_text().splitlines()
    assert own == "library: none", "the importing workflow's own rules got this one's environment"
    assert row.startswith(f"{RUN},0,digits,") and ",done," in row
    assert not (folder / "results").exists()
    assert (folder / RESULTS / "notebooks/comparison.html").exists()
    assert "train" in (folder / RESULTS / "report/rulegraph.dot").read_text()
    assert "served: ternary_spike fold" in (folder / ".snakemake/warm.log").read_text()
    again = snakemake(folder, "--cores", "2", **environment)
    assert again.status == 0 and "Nothing to be done" in again.text, again.text
