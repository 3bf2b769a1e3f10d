# What each job may use: memory, time, threads and GPUs. Memory and time follow from workflow/resources.csv, which
# benchmarks/resources.py measured with one thread on a processor.
import csv
from functools import cache
from math import ceil

with Path(REPOSITORY, "workflow/resources.csv").open() as file:
    MEASURED = list(csv.DictReader(file))
MEMORY_HEADROOM = 1.5
TIME_HEADROOM = 3
SNAKEMAKE_MB = 500  # a submitted job runs in two Snakemakes, which count
LEAST_MINUTES = 10
# The host's memory in MB for a training on a GPU, CUDA's own and, of ImageNet, processes that decode; at least as much as
# the other number for a stage on one. Estimates, not measured; a GPU's own memory is not counted at all.
GPU_TRAINING_MB = {"imagenet": 48000}
ANY_GPU_TRAINING_MB = 8000
GPU_STAGE_MB = 4000
# Minutes of one training at the first attempt. `snakemake plan` says what it will take; a later attempt goes on from the
# checkpoint and gets as much again.
TRAINING_MINUTES = {"digits": 30, "imagenet": 2880}
ANY_TRAINING_MINUTES = 720
ANY_TEST_PICTURES = 10000  # where a dataset does not say
GPU_STAGES = ("evaluate", "verify", "energy")
SMALL = ("resnet6", "resnet8")
# --jobs is for executors that submit; which executor it is, Snakemake does not say before it has read the rules
SUBMITS = workflow.resource_settings.nodes is not None


def limit_to_machine():
    """Let jobs that run here share this machine's GPUs and memory, whatever --cores is; a scheduler counts its own."""
    if SUBMITS or not workflow.is_main_process:
        return
    if config["device"] == "cuda" and not local_gpus():
        stop("configuration: device is 'cuda', but this machine has no GPU that may be used; set auto or cpu")
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000
    for name, amount in (("gpu", len(local_gpus())), ("mem_mb", total)):
        if name not in workflow.global_resources:
            workflow.register_resource(name, amount)


def choose_jobs_when_one_ends():
    """Keep Snakemake from looking for jobs to start ever more often.

    Its command line limits how many jobs start in a second, by default to 100, and to keep to that looks again one second
    after each look. Looks that find nothing are followed by one too, so that they add up: one a second more for each job
    that has ended. After 500 jobs they took a quarter of a core. We never start so many; a limit that somebody sets stays.
    """
    limit = getattr(workflow.scheduler, "job_rate_limiter", None)
    if limit is not None and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


@cache
def local_gpus():
    """The GPUs that this process may use."""
    if config["device"] == "cpu":
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device for device in visible.split(",") if device.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return listed.stdout.splitlines() if listed.returncode == 0 else []


def on_gpus():
    """Whether jobs that ask for a GPU will have one."""
    return config["device"] != "cpu" and (SUBMITS or bool(local_gpus()))


def measured(run, stage):
    """What was measured of a stage for the run's network, or else for the greediest one on its data.

    CIFAR-100 is as CIFAR-10, and so is data that was not measured. Fewer timesteps or a smaller width need less.
    """
    known = {row["dataset"] for row in MEASURED}
    dataset = run.dataset if run.dataset in known else "cifar10"
    rows = [row for row in MEASURED if row["dataset"] == dataset and row["stage"] == stage]
    family = run.architecture.partition("w")[0]
    same = [row for row in rows if row["architecture"].partition("w")[0] == family]
    return max(same or rows, key=lambda row: float(row["peak_mb"]))


def memory(stage):
    """The memory of a stage's jobs in MB, by wildcards and attempt."""

    def of(wildcards, attempt):
        peak = float(measured(planned(wildcards), stage)["peak_mb"])
        needed = 100 * ceil((MEMORY_HEADROOM * peak + SNAKEMAKE_MB) / 100)
        return attempt * (max(needed, GPU_STAGE_MB) if stage in GPU_STAGES and on_gpus() else needed)

    return of


def minutes(stage, pictures=None):
    """The time limit of a stage's jobs, which look at so many pictures (by default at the test set)."""

    def of(wildcards, attempt):
        run = planned(wildcards)
        row = measured(run, stage)
        many = pictures or registry.describe(run.dataset).test_samples or ANY_TEST_PICTURES
        seconds = float(row["fixed_seconds"]) + many * float(row["picture_seconds"])
        return attempt * max(LEAST_MINUTES, ceil(TIME_HEADROOM * seconds / 60))

    return of


def training_memory(wildcards, attempt):
    if on_gpus():
        return attempt * GPU_TRAINING_MB.get(planned(wildcards).dataset, ANY_GPU_TRAINING_MB)
    return memory("train")(wildcards, attempt)


def training_runtime(wildcards, attempt):
    return attempt * TRAINING_MINUTES.get(planned(wildcards).dataset, ANY_TRAINING_MINUTES)


def training_threads(wildcards):
    """One thread for small networks, of which several side by side do more (measured), up to eight for the paper's."""
    if config["threads"] is not None:
        return config["threads"]
    return 1 if planned(wildcards).architecture.partition("w")[0] in SMALL else 8


def training_gpus(wildcards):
    if config["device"] == "cpu":
        return 0
    return config["gpus"].get(planned(wildcards).dataset, 1)


def training_launch(wildcards):
    """What starts a training: this process alone, or torchrun with a process for each GPU."""
    processes = config["gpus"].get(planned(wildcards).dataset, 1)
    alone = "ternary_spike"
    return alone if processes == 1 else f"torch.distributed.run --standalone --nproc-per-node {processes} -m {alone}"


def stage_gpus(wildcards):
    return 0 if config["device"] == "cpu" else 1
