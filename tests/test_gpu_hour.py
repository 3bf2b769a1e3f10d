"""A GPU's half hour, tried on the processor: what is done, what is cut off, and what the next call goes on with."""

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import gpu_hour
from benchmarks.gpu_hour import Part, carry_out, outcome_without_a_call

from ternary_spike.system.files import read_json

ROOT = Path(__file__).resolve().parent.parent


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_part_says_how_it_ended_and_what_it_printed(tmp_path):
    done = carry_out(Part("good", python("print('so it is')")), tmp_path, 60)
    assert done["part"] == "good" and done["outcome"] == "done"
    assert (tmp_path / "logs/good.log").read_text() == "so it is\n"
    failed = carry_out(Part("bad", python("raise SystemExit(3)")), tmp_path, 60)
    assert failed["outcome"] == "failed: exit status 3, see logs/bad.log"


def test_a_part_whose_time_is_over_may_write_down_its_state(tmp_path):
    code = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(print('kept')))\n"
    found = carry_out(Part("long", python(code + "print('begun', flush=True)\ntime.sleep(60)")), tmp_path, 1.5)
    assert found["outcome"] == "stopped when its time was over" and found["seconds"] < 30
    assert (tmp_path / "logs/long.log").read_text() == "begun\nkept\n"


def test_what_is_not_called_says_why(tmp_path):
    done = tmp_path / "run.json"
    part = Part("training", [], needs=tmp_path / "manifest.json", done=done)
    assert outcome_without_a_call(part, 100) == "not begun: manifest.json is missing"
    part.needs.write_text("{}")
    assert outcome_without_a_call(part, 100) == ""
    assert outcome_without_a_call(part, gpu_hour.LEAST_SECONDS - 1) == "not begun: no time left"
    done.write_text("{}")
    assert outcome_without_a_call(part, 0) == "done before"


@pytest.mark.full
def test_all_of_it_on_a_processor_and_a_second_call_repeats_no_training(tmp_path):
    out = tmp_path / "hour"
    command = [sys.executable, str(ROOT / "benchmarks/gpu_hour.py"), "--out", str(out), "--device", "cpu", "--tiny"]
    command += ["--data", "digits", "--architecture", "resnet6w4", "--set", "epochs=1", "--set", "train_samples=100"]
    command += ["--neurons", "ternary", "binary", "--seeds", "0"]
    for minutes, trained, rest in ((120, "done", "done"), (0.1, "done before", "not begun: no time left")):
        subprocess.run([*command, "--minutes", str(minutes)], check=True, capture_output=True)
        outcomes = {row["part"]: row["outcome"] for row in read_json(out / "gpu_hour.json")["parts"]}
        assert outcomes == {
            "tests": rest,
            "roofline": rest,
            "neurons": rest,
            "prepare": trained,
            "train-ternary-seed0": trained,
            "train-binary-seed0": trained,
        }
    assert (out / "runs/digits-resnet6w4-T2-ternary/seed0/run.json").exists()
    assert (out / "bench/roofline.csv").exists() and (out / "bench/start_up.csv").exists()
    assert not list(out.rglob("*.safetensors")) and list(tmp_path.rglob("weights.safetensors"))
