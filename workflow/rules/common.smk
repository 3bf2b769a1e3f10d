# What the rules share: the checked configuration, the plan, and every helper function.
import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

from ternary_spike.cli import COMPUTING, PAGES
from ternary_spike.configuration import run_table
from ternary_spike.configuration.schema import checked, load_schema
from ternary_spike.configuration.words import typed, word
from ternary_spike.data import registry
from ternary_spike.planning import failures, kept_checkpoints, settings, sole_workflow, wanted
from ternary_spike.planning import plan as planning
from ternary_spike.planning.partial_report import after_failure
from ternary_spike.planning.run_files import expected_files
from ternary_spike.planning.run_code import run_code_hash
from ternary_spike.system import mistakes, warm
from ternary_spike.system.codehash import SERVICES, code_hash
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import require_no_pipe
from ternary_spike.system.shipped import located


def schema(name):
    """A schema of workflow/schemas."""
    return load_schema(f"{REPOSITORY}/workflow/schemas/{name}.schema.yaml")


def prefixed(results):
    """The results' folder under what an importing workflow's `prefix` or `replace_prefix` asks for.

    Snakemake would change the paths of inputs and outputs alone, and the functions here would look elsewhere. So it is
    asked once, and then to leave the paths of this module's rules as they are.
    """
    modifier = workflow.modifier.path_modifier
    outer = modifier.inner_modifier
    while outer is not None:
        if outer.prefix or outer.modifies_prefixes:
            stop("a module of a module with a prefix: name the folder by `results` in the configuration instead")
        outer = outer.inner_modifier
    modifier.skip_properties.update(("input", "output", "log", "benchmark"))
    return modifier.replace_prefix(f"{results}/").rstrip("/") if isinstance(results, str) else results


try:
    # an importing workflow's files are its own matter
    for file in workflow.configfiles if workflow.is_main_process and not IN_MODULE else []:
        settings.require_plain_file(file)
    if workflow.is_main_process:
        settings.require_plain_words(sys.argv[1:])
    config = typed(config)
    config["results"] = prefixed(config.get("results", "results"))
    config = checked(config, schema("config"), "configuration")
    PLUGINS = settings.plugin_folders(config["plugins"], Path(REPOSITORY))
    sys.path += PLUGINS
    RECIPES = located(config["recipes"])
    METHODS = located(config["method_sheets"])
    RIVALS = located(config["rival_experiments"])
    RESULTS = f"{config['results']}/{config['preset']}"
    PLAN = settings.configured_plan(
        config,
        located(config["experiments"]),
        RECIPES,
        METHODS,
        schema("experiments"),
        rivals=RIVALS,
        look=workflow.is_main_process,
    )
except UserError as error:
    stop(error)

RUNS = {run.folder: run for run in PLAN}
# looked at before the jobs are planned: a plan that was made while another copy of the repository worked is stale
OTHER_COPY = sole_workflow.other(RESULTS) if workflow.is_main_process else None
HELD = []
DATA = {run.data.name: run.data for run in PLAN}
RUN = f"{RESULTS}/runs/{{run}}/seed{{seed}}"
LOGS = f"{RESULTS}/logs"
# the target that reports on what is finished, by the name that an importing workflow gives it
REPORT_ALONE = workflow.modifier.modify_rulename("report")
# results that came with the repository, shown in every report
KEPT = f"{REPOSITORY}/results/reference"
NOTEBOOKS = sorted(path.stem for path in Path(REPOSITORY, "notebooks").glob("*.py"))
# Shares trained runs between clones, in calls with --cache. Snakemake speaks of it in every call to whom it is offered.
TRAINING_CACHE = "omit-software" if "SNAKEMAKE_OUTPUT_CACHE" in os.environ else False
# what Snakemake sets for a job of one thread: libraries read it when they are imported
ENVIRONMENT_OF_A_JOB = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "GOTO", "OPENBLAS", "MKL", "NUMEXPR")}
# pictures on which operations are counted
ENERGY_SAMPLES = 1000
# what decides a stage's result besides its run and its code; its record says so too, and the tables compare the two
STAGE_SETTINGS = {
    "train": {"deterministic": str(config["deterministic"]).lower()},
    "verify": {"samples": str(config["verify_samples"])},
    "energy": {"samples": str(ENERGY_SAMPLES)}
    | {f"{key}_picojoule": str(value) for key, value in config["energy_picojoule"].items()},
    "execute": {"samples": str(config["execute_samples"])},
    "export": {"samples": str(config["verify_samples"])},
}
if workflow.is_main_process:
    # a call's own folder: what was wrong in an earlier one may have been mended
    os.environ[mistakes.VARIABLE] = os.path.abspath(f"{RESULTS}/status/mistakes/{os.getpid()}-{time.time_ns()}")
CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method


def clear_stale_locks():
    """Remove what a killed call left locked, which Snakemake would ask the user to do by hand.

    Every call holds a lock on a file until it ends, in whatever way; where no other call does, its locks are stale.
    Another machine's are left alone: not every network disk tells of them. So are those that this user may not remove,
    and an importing workflow's: other workflows may run in its folder.

    Returns:
        The open file, whose lock lasts as long as it does; None for a job of a call, or where there can be no such file.
    """
    if not workflow.is_main_process or IN_MODULE:
        return None
    alive = opened_to_lock(Path(".snakemake"))
    if alive is None:
        return None
    if alive.writable():
        with suppress(OSError):
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_stale_locks(alive, list(Path(".snakemake/locks").glob("*.lock")))
    with suppress(OSError):
        fcntl.flock(alive, fcntl.LOCK_SH)
    return alive


def opened_to_lock(folder):
    """The file that calls hold a lock on; only to read where it is another user's, None where there can be none."""
    with suppress(OSError):
        folder.mkdir(exist_ok=True)
        return (folder / "alive").open("a+")
    with suppress(OSError):
        return (folder / "alive").open()
    return None


def remove_stale_locks(alive, locks):
    """Remove the locks if the last call was this machine's, whose name is in the file, and put the name there."""
    here = os.uname().nodename
    alive.seek(0)
    if alive.read() == here or not locks:
        for lock in locks:
            lock.unlink()
        alive.truncate(0)
        alive.write(here)
        alive.flush()


ALIVE = clear_stale_locks()
require_room_in(RESULTS)


def shell_prefix():
    """What precedes every rule's command: strict bash, the library, plug-ins and this Python, word of a signal."""

    def literal(text):
        """Text that Snakemake, which formats the prefix, leaves as it is."""
        return text.replace("{", "{{").replace("}", "}}")

    def quoted(text):
        return literal(shlex.quote(str(text)))

    path = "" if CONDA else f'PATH={quoted(Path(sys.executable).parent)}:"$PATH" '
    return (
        f"set -euo pipefail; export PYTHONNOUSERSITE=1 {kept_checkpoints.IN_WORKFLOW}=1 "
        f"WORKFLOW_PYTHON={quoted(sys.executable)} {path}"
        f"PYTHONPATH={quoted(':'.join([LIBRARY, *PLUGINS]))}${{{{PYTHONPATH:+:$PYTHONPATH}}}}; "
        f"{literal(failures.SHELL_FUNCTION)}"
    )


SHELL_PREFIX = shell_prefix()


def planned(wildcards):
    """The run that a rule's wildcards name; where they name no seed, with its first."""
    if "seed" in wildcards.keys():
        return RUNS[f"{wildcards.run}/seed{wildcards.seed}"]
    return seeds_of(wildcards.run)[0]


def seeds_of(name):
    """The runs of an id, one for each seed."""
    return [run for run in PLAN if run.id == name]


def data_folder(wildcards):
    """The prepared data of a run."""
    return f"{RESULTS}/data/{planned(wildcards).data.name}"


def data_manifest(wildcards):
    """The manifest of a run's data; its age counts only when the run, or its threshold's search, had other data."""
    manifest = f"{data_folder(wildcards)}/manifest.json"
    name = planned(wildcards).folder if "seed" in wildcards.keys() else wildcards.run
    record = f"{RESULTS}/runs/{name}/{'run' if 'seed' in wildcards.keys() else 'match'}.json"
    return aged_if_other(manifest, lambda file: file["checksum"], record, lambda file: file["data"]["checksum"])


def found_threshold(wildcards):
    """The search for a run's threshold, if it has one; its age counts only when the run has another threshold."""
    run = planned(wildcards)
    if not run.target:
        return []
    return aged_if_other(
        f"{RESULTS}/runs/{run.id}/match.json",
        lambda file: [file["found"][key] for key in ("threshold", "window")],
        f"{RESULTS}/runs/{run.folder}/run.json",
        lambda file: [file["model"]["neuron_options"][key] for key in ("threshold", "window")],
    )


def source_run(wildcards):
    """What a run's training starts from, if from another run; its age counts only when its weights are others."""
    run = planned(wildcards)
    if not run.source_folder:
        return []
    record, weights = (f"{RESULTS}/runs/{run.source_folder}/{name}" for name in ("run.json", "weights.safetensors"))
    if "seed" not in wildcards.keys():
        return [ancient(record), ancient(weights)]
    used = f"{RESULTS}/runs/{run.folder}/run.json"
    aged = aged_if_other(
        record, lambda file: file["files"]["weights.safetensors"], used, lambda file: file["source"]["weights"]
    )
    return [aged, ancient(weights)]


def aged_if_other(source, given, record, used):
    """A JSON file whose age counts only when what it gives is not what the record of a training says was used.

    Training again because a file is newer would repeat hours of work after a clone or a touch; comparing what both
    say shows whether there is a reason to.
    """
    try:
        for file in (source, record):
            require_no_pipe(file)
        same = given(json.loads(Path(source).read_text())) == used(json.loads(Path(record).read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return ancient(source)
    return ancient(source) if same else source


def rates_to_match(wildcards):
    """What was measured of each seed of the run whose firing rate is wanted."""
    return [f"{RESULTS}/runs/{run.folder}/evaluation.json" for run in seeds_of(planned(wildcards).target)]


def training_options(wildcards):
    """The part of the training's command line that only some runs have."""
    run = planned(wildcards)
    words = option_words("--neuron-option", run.given_options) + recipe_words(run.changes)
    for key, value in sorted(run.network_options.items()):
        part, dot, option = key.partition(".")
        words += [f"--{part}-option", f"{option}={value}"] if dot else [f"--{key.replace('_', '-')}", value]
    words += ["--deterministic"] if config["deterministic"] else []
    words += ["--source", f"{RESULTS}/runs/{run.source_folder}"] if run.source_folder else []
    # a search for the threshold has the same options, but not yet its result
    matched = run.target and "seed" in wildcards.keys()
    words += ["--matched", f"{RESULTS}/runs/{run.id}/match.json"] if matched else []
    words += option_words("--method-option", run.method.changed if run.method else {})
    words += ["--keep-recipe"] if run.method and not run.method.own_recipe else []
    # the sheet itself follows as the rule's input: where a clone lies is no reason to train again
    words += ["--method-sheet"] if run.method else []
    return shlex.join(words)


def option_words(option, values, prefix=""):
    """An option of the command line for each key of a mapping to text."""
    pairs = sorted(values.items())
    return [part for key, value in pairs for part in (option, f"{prefix}{key}={value}")]


def recipe_words(changes):
    """The options of the command line that change a recipe."""
    return option_words("--set", {key: word(value) for key, value in changes.items()})


def training_recipe(wildcards):
    """The file of a run's recipe."""
    return RECIPES / f"{planned(wildcards).recipe}.yaml"


def method_sheet(wildcards):
    """The file of a run's method, if it has one."""
    run = planned(wildcards)
    return METHODS / run.method.path.name if run.method else []


def data_options(wildcards):
    """The part of the preparation's command line that only some datasets have."""
    source = DATA[wildcards.data]
    words = [] if source.root is None else ["--root", source.root]
    return shlex.join(words + option_words("--option", source.options))


def data_code(wildcards):
    """A hash of the code that prepares a dataset."""
    name = registry.module_name(DATA[wildcards.data].dataset).removeprefix("ternary_spike.")
    return code_hash([name], indifferent=SERVICES)


def code_of_stage(stage):
    """A hash of the code that a stage reaches, by wildcards: of each run only the code of its own parts."""

    def of(wildcards):
        return run_code_hash(stage, planned(wildcards).decisive)

    return of


@cache
def code_of(*modules):
    """A hash of the code of some modules and of all that they import, for what is quickly made again."""
    return code_hash(modules, indifferent=frozenset())


def downloaded(wildcards):
    """What must be downloaded before a dataset can be prepared."""
    source = DATA[wildcards.data]
    fetched = source.kind in registry.describe(source.dataset).downloadable
    return [f"{RESULTS}/data/{wildcards.data}.downloaded"] if fetched else []


def run_files(run):
    """The files that the tables read of one run."""
    names = expected_files(run.neuron, first_seed=run is seeds_of(run.id)[0])
    return [f"{RESULTS}/runs/{run.folder}/{name}" for name in names]


def finished_only():
    """Whether to report on what is finished: asked for by the configuration or by naming the rule `report`."""
    call = workflow.dag_settings  # not known yet while the rules are read
    return config["finished_only"] or (call is not None and REPORT_ALONE in call.targets)


def files_of_runs(wildcards):
    """Files of every run that can run here; none for a report on what there is, for which nothing may be made.

    No rule is then asked for any file of a run, so that none is deleted and made again, whatever has changed since. The
    tables have what there is; whether they are of that, their own record of it says.
    """
    if finished_only():
        return []
    return [file for run in PLAN if run.status == planning.RUNNABLE for file in run_files(run)]


def notebook_pages(wildcards):
    """The rendered notebooks; without those that failed, where the report is to be made of what there is."""
    pages = {name: f"{RESULTS}/notebooks/{name}.html" for name in NOTEBOOKS}
    if not finished_only():
        return list(pages.values())
    return [page for name, page in pages.items() if Path(page).exists() or not failed_notebook(name)]


def failed_notebook(name):
    """Whether a notebook failed when it was executed last; one that was changed since then may do better."""
    log, source = Path(f"{LOGS}/notebook/{name}.log"), Path(f"{REPOSITORY}/notebooks/{name}.py")
    return log.exists() and log.stat().st_mtime > source.stat().st_mtime


def kept_tables(wildcards):
    """The tables of kept results, for the notebooks that ask for them; this preset's own are their input anyway."""
    source = Path(f"{REPOSITORY}/notebooks/{wildcards.notebook}.py")
    if not source.exists() or not re.search(r"^kept = ", source.read_text(encoding="utf-8"), re.MULTILINE):
        return []
    folders = [str(path.parent) for path in sorted(Path(KEPT).glob("*/tables/summary.csv"))]
    own = Path(f"{RESULTS}/tables").resolve()
    return [folder for folder in folders if Path(folder).resolve() != own]


def plan_arguments():
    """The command line that makes the same plan as the configuration."""
    words = ["--method-sheets", str(METHODS)]
    for name, source in sorted({run.dataset: run.data for run in PLAN}.items()):
        words += ["--data", f"{name}={source.kind}{f':{source.root}' if source.root else ''}"]
        words += option_words("--data-option", source.options, f"{name}.")
    for key in run_table.FACETS:
        words += [f"--{key}", ",".join(map(str, config[key]))] if config[key] else []
    words += recipe_words(settings.recipe_changes(config))
    words += [f"--{key}" for key in ("offline", "controls") if config[key]]
    words += ["--rivals", str(RIVALS)] if config["rivals"] else []
    words += ["--measure"] if config["measure_costs"] else []
    for stage, values in STAGE_SETTINGS.items():
        words += option_words("--stage-setting", values, f"{stage}.")
    return shlex.join(words)


@cache
def plan_of_rows():
    """The rows of plan.csv, without costs."""
    return [run.row() | wanted.columns(run, STAGE_SETTINGS) for run in PLAN]


def plan_rows(wildcards):
    """A short text that changes when the plan does."""
    return hashlib.sha256(json.dumps(plan_of_rows(), sort_keys=True).encode()).hexdigest()[:16]


def announce_plan():
    """Say on standard error what will run and what will not, once per call."""
    if not workflow.is_main_process or config["finished_only"]:
        return
    for table, runnable, all_of_them, reasons in planning.totals(PLAN):
        line = f"{table:>5}: {runnable} of {all_of_them} trainings can run here"
        print(
            "; ".join([line, *(f"not run: {reason}" for reason in reasons)]),
            file=sys.stderr,
        )


def announce_environments():
    """Say what the first call with conda waits for and how much it takes: Snakemake says neither."""
    made = Path(workflow.deployment_settings.conda_prefix or ".snakemake/conda")
    if CONDA and workflow.is_main_process and not any(made.glob("*.yaml")):
        print(
            "conda makes two environments before the first job, about 6 GB on the disk, most of it to be downloaded, "
            f"which takes minutes; they stay in {made}",
            file=sys.stderr,
        )


def settings_text():
    """The configuration as JSON, which is YAML as well; whether a call is about all of it is no part of it."""
    return json.dumps({**config, "finished_only": False}, sort_keys=True)


def hold_results():
    """Keep other copies of the repository from making results in this folder while this call does."""
    if workflow.is_main_process:
        try:
            HELD.append(sole_workflow.hold(RESULTS, OTHER_COPY))
        except UserError as error:
            stop(error)


def release_checkpoints():
    """Remove the checkpoints of trainings whose results have been accepted."""
    kept_checkpoints.release(RESULTS, [(run.id, run.seed) for run in PLAN])


def clear_failures():
    """Forget what failed in earlier calls: this one tries again."""
    if not finished_only():
        shutil.rmtree(f"{RESULTS}/status", ignore_errors=True)


def start_warm_interpreter():
    """Start what serves the jobs of this call with their packages imported already; it ends with this process.

    Where a run is not there yet, torch is imported at once. A second process serves pages, which need not wait for it.
    Jobs that are submitted run on other machines, and those in a conda environment have another Python.
    """
    if not workflow.is_main_process or finished_only() or SUBMITS or CONDA or not hasattr(os, "pidfd_open"):
        return
    all_there = all(Path(f"{RESULTS}/runs/{run.id}/seed{run.seed}/run.json").exists() for run in PLAN)
    reading, writing = os.pipe()
    where = warm.new_socket()
    os.environ[warm.VARIABLE] = str(where)
    command = [sys.executable, "-m", "ternary_spike.system.warm"]
    with open(".snakemake/warm.log", "a") as log:
        subprocess.Popen(
            [*command, where, str(reading), *(() if all_there else COMPUTING), "--", *PAGES],
            env=os.environ
            | ENVIRONMENT_OF_A_JOB
            | {"PYTHONPATH": ":".join([LIBRARY, *PLUGINS]), "PYTHONNOUSERSITE": "1"},
            pass_fds=[reading],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    os.close(reading)
    globals()["WARM_UNTIL_CLOSED"] = writing


def print_outcome():
    """Name the report, if this call was about it."""
    release_checkpoints()
    if Path(f"{RESULTS}/report/index.html").exists():
        print(f"Report: {RESULTS}/report/index.html", file=sys.stderr)


def interrupted(logs):
    """Whether the call that wrote these logs was ended by the user."""
    return any("Terminating processes on user request" in Path(log).read_text() for log in logs if Path(log).exists())


def report_what_there_is(logs):
    """After a failure: record which runs failed and why, and render the report of all that is finished.

    A call of its own, because a rule's inputs are fixed when a call starts. It cannot start this handler again: with
    finished_only it does nothing here. Who pressed Ctrl-C wants no report.
    """
    release_checkpoints()
    if finished_only() or interrupted(logs):
        return
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        f"{REPOSITORY}/Snakefile",
        "--configfile",
        f"{RESULTS}/config.json",
    ]
    command += ["--cores", "1", "--nolock", "--forcerun", "collect", "--quiet", "all"]
    if CONDA:
        command += ["--software-deployment-method", "conda"]
        prefix = workflow.deployment_settings.conda_prefix
        command += [] if prefix is None else ["--conda-prefix", prefix]
    command += ["--config", "finished_only=true", "--", "all"]
    after_failure(PLAN, Path(RESULTS), settings_text(), list(map(str, command)))
