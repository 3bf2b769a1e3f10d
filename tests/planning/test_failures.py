"""Failed stages are told from what they left behind."""

import dataclasses
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ternary_spike.planning import failures, plan
from ternary_spike.planning.run_files import STAGES
from ternary_spike.system.files import read_json

SEGMENTATION_FAULT = "killed by signal 11, segmentation fault"
RUN = plan.Run(
    id="digits-resnet6-T2-binary",
    seed=1,
    dataset="digits",
    architecture="resnet6",
    timesteps=2,
    neuron="binary",
    variant="",
    neuron_options={},
    recipe="digits",
    changes={},
    reduced="",
    values={},
    tables=("demo",),
    control=False,
    data=plan.DataSource("digits", "scikit-learn"),
    status=plan.RUNNABLE,
    reason="",
)


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_log_without_result_is_a_failure_with_the_log_s_last_word(tmp_path):
    write(tmp_path / "logs/train" / f"{RUN.folder}.log", "epoch 1\rerror: the loss is nan\n100%|####\n")
    written = failures.record([RUN], tmp_path)
    assert written == [tmp_path / "status" / RUN.folder / "train.json"]
    assert read_json(written[0]) == {
        "state": "failed",
        "id": RUN.id,
        "seed": 1,
        "stage": "train",
        "reason": "the loss is nan",
        "log": str(tmp_path / "logs/train" / f"{RUN.folder}.log"),
    }


def test_a_finished_stage_is_none_whatever_its_log_says(tmp_path):
    for stage, files in STAGES.items():
        write(tmp_path / "logs" / stage / f"{RUN.folder}.log", "error: at the first attempt\n")
        write(tmp_path / "runs" / RUN.folder / files[0])
    write(tmp_path / "logs/prepare/digits.log", "error: at the first attempt\n")
    write(tmp_path / "data/digits/manifest.json")
    assert failures.record([RUN], tmp_path) == []


def test_data_that_could_not_be_had_fails_each_of_its_runs(tmp_path):
    write(tmp_path / "logs/download/digits.log", "error: no connection\n")
    found = [(run.seed, stage, failures.reason(log)) for run, stage, log in failures.find([RUN], tmp_path)]
    assert found == [(1, "download", "no connection")]


def test_a_run_that_cannot_run_here_has_not_failed(tmp_path):
    write(tmp_path / "logs/train" / f"{RUN.folder}.log", "error: long ago\n")
    assert failures.record([dataclasses.replace(RUN, status=plan.NOT_RUN, reason="no data")], tmp_path) == []


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "it ended without a message, as if killed"),
        ("Traceback\n  File\nRuntimeError: boom\n", "RuntimeError: boom"),
        ("error: first\nerror: last\nand more\n", "last"),
        ("  exitcode  : -11 (pid: 7)\n  traceback : Signal 11 (SIGSEGV) received by PID 7\n====\n", SEGMENTATION_FAULT),
    ],
)
def test_the_reason_is_the_last_error_or_line(tmp_path, text, reason):
    write(tmp_path / "log", text)
    assert failures.reason(tmp_path / "log") == reason


@pytest.mark.parametrize(
    "ending, status, reason",
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", 139, SEGMENTATION_FAULT),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "killed, perhaps for memory (signal 9)"),
        ("os.abort()", 134, "killed by signal 6, aborted"),
        ("sys.exit(3)", 3, "epoch 1"),
        ("sys.exit(130)", 130, "epoch 1"),
        ("sys.exit(255)", 255, "epoch 1"),
        ("sys.exit(0)", 0, "epoch 1"),
    ],
)
def test_a_command_that_a_signal_ends_says_which(tmp_path, ending, status, reason):
    program = f"import os, signal, sys; print('epoch 1', flush=True); {ending}"
    command = f"set -euo pipefail; {failures.SHELL_FUNCTION} python -c {shlex.quote(program)} > log 2>&1"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=os.environ | {"PATH": path}, check=False)
    assert (done.returncode, failures.reason(tmp_path / "log")) == (status, reason)


def test_what_several_runs_share_is_said_once(tmp_path):
    write(tmp_path / "logs/prepare/digits.log", "error: killed by signal 11\n")
    other = dataclasses.replace(RUN, seed=2)
    assert failures.described([RUN, other], tmp_path) == [
        f"prepare failed: {SEGMENTATION_FAULT}; see {tmp_path / 'logs/prepare/digits.log'}"
    ]


def test_every_rule_of_a_run_is_a_stage_with_the_files_that_it_leaves():
    found = {}
    for path in (Path(__file__).parents[2] / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.M)[1:]:
            if "{{run}}/seed{{seed}}.log" in rule:
                found[rule.partition(":")[0]] = rule.partition("log:")[0]
    assert found.keys() == STAGES.keys()
    for stage, files in STAGES.items():
        assert all(f"/{file}" in found[stage] for file in files)


def test_a_search_for_a_threshold_that_failed_is_a_failure_of_its_runs(tmp_path):
    run = dataclasses.replace(RUN, neuron_options={"threshold": "rate_of_ternary"}, source="digits-resnet6-T2-ternary")
    write(tmp_path / "logs/match" / f"{run.id}.log", "error: the loss is nan\n")
    failures.record([run], tmp_path)
    found = read_json(tmp_path / "status" / run.folder / "match.json")
    assert (found["stage"], found["reason"]) == ("match", "the loss is nan")
    write(tmp_path / "runs" / run.id / "match.json", "{}")
    assert not list(failures.find([run], tmp_path))
