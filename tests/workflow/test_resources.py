"""What jobs ask for, and that no more of them run at once than the machine's memory, cores and GPUs can feed."""

import csv
import re

import pytest

from tests.workflow.running import HEAD, REPOSITORY, copied, snakemake

RUN = "results/smoke/runs/digits-resnet6w4-T1-binary-e1-train_samples_200"
ROW = "digits,resnet6w4,1,binary,,,digits,0;1;2,demo,false\n"


def at_once(text: str) -> int:
    """The most trainings that Snakemake had started and not yet seen the end of.

    Not by the trainings' own records: short ones may be over before the last has imported its packages.
    """
    running, most = set(), 0
    for event in re.split(r"\n(?=localrule |rule |Finished jobid: )", text):
        if ended := re.match(r"Finished jobid: (\d+)", event):
            running.discard(ended[1])
        elif re.match("(?:local)?rule train:", event):
            running.add(re.search(r"^    jobid: (\d+)", event, flags=re.M)[1])
            most = max(most, len(running))
    return most


def asked(text: str) -> dict[str, list[dict[str, int]]]:
    """What a dry run's jobs ask for, by rule: threads and the resources that are numbers."""
    found: dict[str, list[dict[str, int]]] = {}
    for name, job in re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)", text, flags=re.M):
        threads = re.search(r"^    threads: (\d+)", job, flags=re.M)
        numbers = re.findall(r"(\w+)=(\d+)", re.search(r"^    resources: (.*)", job, flags=re.M)[1])
        values = {"threads": int(threads[1]) if threads else 1} | {key: int(number) for key, number in numbers}
        found.setdefault(name, []).append(values)
    return found


def test_jobs_ask_for_the_measured_memory_and_more():
    planned = snakemake(REPOSITORY, "--dry-run", "--cores", "64", "--config", "preset=asked", "tables=5", "device=cpu")
    assert planned.status == 0, planned.text
    with (REPOSITORY / "workflow/resources.csv").open() as file:
        rows = list(csv.DictReader(file))
    measured = {row["stage"]: row for row in rows if (row["dataset"], row["architecture"]) == ("cifar10", "resnet20")}
    found = asked(planned.text)
    for stage, row in measured.items():
        for job in found[stage]:
            # half as much again, and the two Snakemakes of a submitted job
            assert 1.5 * float(row["peak_mb"]) + 500 <= job["mem_mb"] < 1.5 * float(row["peak_mb"]) + 600, stage
            assert job.get("gpu", 0) == 0, stage
    assert {job["threads"] for job in found["train"]} == {8}
    # with the time of 10,000 test pictures on one thread
    seconds = float(measured["evaluate"]["fixed_seconds"]) + 10_000 * float(measured["evaluate"]["picture_seconds"])
    assert all(job["runtime"] * 60 >= 3 * seconds for job in found["evaluate"])


def test_the_demo_trains_with_one_thread_each_whatever_the_cores():
    call = ("--dry-run", "--cores", "64", "--configfile", "config/demo.yaml", "--config", "preset=asked")
    on_processor = asked(snakemake(REPOSITORY, *call).text)["train"]
    assert len(on_processor) == 9 and {job["threads"] for job in on_processor} == {1}
    assert {job["gpu"] for job in on_processor} == {0}
    on_gpu = asked(snakemake(REPOSITORY, *call, devices="0").text)["train"]
    assert {job["gpu"] for job in on_gpu} == {1} and on_gpu[0]["mem_mb"] > on_processor[0]["mem_mb"]


@pytest.mark.full
@pytest.mark.parametrize("limit, most", [("none", 3), ("memory", 2), ("two GPUs", 2), ("one of two GPUs", 1)])
def test_many_cores_do_not_start_more_than_can_be_fed(tmp_path, limit, most):
    folder = copied(tmp_path / "repository")
    (folder / "table.csv").write_text(HEAD + ROW)
    call = ["--cores", "64", "--configfile", "smoke.yaml"]
    seeds = range(3 if limit == "none" else most + 1)
    targets = ["--", *(f"{RUN}/seed{seed}/run.json" for seed in seeds)]
    devices = "0,1" if "GPU" in limit else ""
    profile = ["--workflow-profile", "profiles/local-gpu"] if devices else []
    (job, *_) = asked(snakemake(folder, *call, "--dry-run", *targets, devices=devices).text)["train"]
    room = 3 * job["mem_mb"] - 1 if limit == "memory" else 100 * job["mem_mb"]
    gpus = ["gpu=1"] if limit == "one of two GPUs" else []
    # there is no such device, so each trains on the processor, but is counted as if on its GPU
    done = snakemake(folder, *profile, *call, "--resources", f"mem_mb={room}", *gpus, *targets, devices=devices)
    assert done.status == 0, done.text
    assert at_once(done.text) == most
