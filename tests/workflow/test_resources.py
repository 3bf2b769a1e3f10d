"""How many trainings run at once: no more than the machine's memory, cores and GPUs can feed."""

import json
import re
from datetime import datetime

import pytest

from tests.workflow.running import HEAD, copied, snakemake

SEEDS = range(4)
RUN = "results/smoke/runs/digits-resnet6w4-T1-binary-e1-train_samples_200"
ROW = "digits,resnet6w4,1,binary,,,digits,0;1;2;3,demo,false\n"


def at_once(folder) -> int:
    """The most trainings of the four that ran side by side, by what they recorded."""
    spans = []
    for seed in SEEDS:
        record = json.loads((folder / RUN / f"seed{seed}/run.json").read_text())["provenance"]
        spans.append(tuple(datetime.fromisoformat(record[key]) for key in ("started", "finished")))
    return max(sum(begun <= moment < ended for begun, ended in spans) for moment, _ in spans)


def memory_of_a_training(text: str) -> int:
    return int(re.search(r"rule train:.*?mem_mb=(\d+)", text, flags=re.S)[1])


@pytest.mark.full
@pytest.mark.parametrize("limit, most", [("none", 4), ("memory", 2), ("one GPU", 1)])
def test_many_cores_do_not_start_more_than_can_be_fed(tmp_path, monkeypatch, limit, most):
    folder = copied(tmp_path / "repository")
    (folder / "table.csv").write_text(HEAD + ROW)
    call = ["--cores", "64", "--configfile", "smoke.yaml"]
    targets = ["--", *(f"{RUN}/seed{seed}/run.json" for seed in SEEDS)]
    needed = memory_of_a_training(snakemake(folder, *call, "--dry-run", *targets).text)
    resources = {"none": 100 * needed, "memory": 3 * needed - 1, "one GPU": 100 * needed}
    gpus = ["gpu=1"] if limit == "one GPU" else []
    done = snakemake(folder, *call, "--resources", f"mem_mb={resources[limit]}", *gpus, *targets)
    assert done.status == 0, done.text
    assert at_once(folder) == most
