"""A training step of every prior method beside the paper's: ``python benchmarks/methods.py --out results/bench``.

The runs are those of `make rivals`, on a network of the CIFAR kind. Each step, with the run's own neurons, norm and
loss, is timed once in every round, in random order; a method's cost is the median over rounds of its ratio to the step
of ternary spikes with as many timesteps, in CPU time of one thread. A method that takes another run as its source is
given a network without spikes that is not trained. What a method does once an epoch, or before the first, is not in a
step. Writes methods.csv and methods.json.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "lib")]

import torch  # noqa: E402
from benchmarks.measuring import Bench, ratio  # noqa: E402
from benchmarks.records import Measurement, origin  # noqa: E402

from ternary_spike.configuration.recipe import Recipe  # noqa: E402
from ternary_spike.configuration.run_table import read_experiments  # noqa: E402
from ternary_spike.membrane import backends  # noqa: E402
from ternary_spike.methods.base import Source, frozen  # noqa: E402
from ternary_spike.methods.registry import METHODS, make_method  # noqa: E402
from ternary_spike.models.registry import make_network  # noqa: E402
from ternary_spike.neurons.registry import NEURONS  # noqa: E402
from ternary_spike.planning.data_source import DataSource  # noqa: E402
from ternary_spike.planning.network_options import network_arguments  # noqa: E402
from ternary_spike.planning.plan import make_plan  # noqa: E402
from ternary_spike.planning.run import Run  # noqa: E402
from ternary_spike.planning.selection import Selection  # noqa: E402
from ternary_spike.system import allocator, provenance  # noqa: E402
from ternary_spike.training.step import TrainingStep  # noqa: E402

PICTURE = {"in_channels": 3, "image_size": 32}


def trained_runs(table: Path) -> list[Run]:
    """The first seed of each run of spiking neurons in a run table that is trained, by the demo's data and recipes."""
    rows = read_experiments(table, ROOT / "config/methods")
    sources = {"digits": DataSource("digits", "scikit-learn", None)}
    selection = Selection(seeds=(0,), controls=True)
    plan = make_plan(rows, selection, sources, ROOT / "config/recipes", {}, lambda source: None)
    return [run for run in plan if run.values["epochs"] and run.neuron != "relu"]


def step_of(run: Run, architecture: str, batch: int) -> Callable[[], None]:
    """A training step of a run on random pictures, with another network."""
    torch.manual_seed(0)
    options = {"neuron_options": NEURONS.options(run.neuron, run.given_options, text=True)}
    options |= network_arguments(run.network_options)
    network = make_network(architecture, run.neuron, run.timesteps, **options, **PICTURE)
    network = network.to(memory_format=torch.channels_last)
    given = run.method.training_options if run.method else {}
    method = make_method(run.training, **METHODS.options(run.training, given, text=True))
    recipe = Recipe("measured", 1, batch, 0.01, 0.9, 1e-4, mean=(0.5,) * 3, std=(0.25,) * 3)
    update = TrainingStep(network, method, recipe, source_of(run, architecture, recipe))
    method.epoch(0.5)  # a loss may grow from nothing, and what has no weight yet takes no time
    images = torch.randn(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10

    def call() -> None:
        update(images, labels, recipe.learning_rate)

    return call


def source_of(run: Run, architecture: str, recipe: Recipe) -> Source | None:
    """A network without spikes for a run that starts from another, as that is before its training."""
    if not run.source_folder:
        return None
    network = make_network(architecture, "relu", 1, **network_arguments(run.network_options), **PICTURE)
    record = {"id": "untrained", "recipe": recipe.as_dict()}
    return Source(record, frozen(network.to(memory_format=torch.channels_last)))


def steps_of(runs: list[Run], architecture: str, batch: int) -> dict[str, Callable[[], None]]:
    """The step of each run by its id; a run whose step fails without its data or its trained source is named."""
    steps = {}
    for run in runs:
        try:
            step = step_of(run, architecture, batch)
            step()
        except Exception as error:  # whatever a method may raise
            print(f"{run.id} is left out: {error}", file=sys.stderr, flush=True)
        else:
            steps[run.id] = step
    return steps


def rows_of(runs: list[Run], bench: Bench, architecture: str, batch: int) -> list[dict]:
    """A row a run: milliseconds a step, and the ratio to ternary spikes with as many timesteps."""
    papers = next(run for run in runs if run.neuron == "ternary" and run.method is None and not run.variant)
    bases = {t: replace(papers, timesteps=t, id=f"ternary, T = {t}") for t in {run.timesteps for run in runs}}
    times = bench.compare(steps_of([*runs, *bases.values()], architecture, batch))
    return [
        {
            "id": run.id,
            "neuron": run.neuron,
            "method": run.method.label if run.method else "",
            "variant": run.variant,
            "architecture": architecture,
            "timesteps": run.timesteps,
            "batch": batch,
            "milliseconds": 1e3 * statistics.median(times[run.id]),
            "times_ternary_step": ratio(times[run.id], times[bases[run.timesteps].id]),
        }
        for run in runs
        if run.id in times
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the table")
    parser.add_argument(
        "--table", type=Path, default=ROOT / "config/rivals-digits.csv", help="run table (make rivals')"
    )
    parser.add_argument("--architecture", default="resnet20w16", help="network (default resnet20w16)")
    parser.add_argument("--batch", type=int, default=32, help="pictures a step (default 32)")
    parser.add_argument("--rounds", type=int, default=9, help="default 9")
    parser.add_argument("--backend", choices=backends.BACKENDS, default="compiled", help="default compiled")
    args = parser.parse_args()
    torch.set_num_threads(1)
    allocator.keep_freed_memory()  # as training does
    backends.use(args.backend)
    started = provenance.now()
    settings = {"rounds": args.rounds, "backend": args.backend, "time": "CPU time of one thread"}
    measured = Measurement(args.out, "methods.json", lambda: {**settings, **origin("cpu", started)})
    measured.add(methods=rows_of(trained_runs(args.table), Bench("cpu", args.rounds), args.architecture, args.batch))


if __name__ == "__main__":
    main()
