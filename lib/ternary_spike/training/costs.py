"""What a training would cost here: the time of a training step, measured on this device, extrapolated to the run."""

import json
import logging
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from ternary_spike.configuration import recipe as recipes
from ternary_spike.data import registry
from ternary_spike.methods.registry import METHODS, PAPERS_WAY, make_method
from ternary_spike.models.registry import make_network
from ternary_spike.neurons.registry import NEURONS
from ternary_spike.planning.network_options import network_arguments
from ternary_spike.planning.run import Run
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import read_json, write_json
from ternary_spike.system.progress import watched
from ternary_spike.system.provenance import hardware
from ternary_spike.training.step import TrainingStep

SMALLEST_BATCH = 4
LONG_STEP_SECONDS = 0.5
TIMED_STEPS = 2
logger = logging.getLogger("ternary_spike")
COPIES = 5  # of the weights on disk: result, folded network, and the checkpoint's weights, momentum and spare


@dataclass(frozen=True)
class Cost:
    """What a run costs: pictures a second in training, hours in all, megabytes of results and checkpoints."""

    images_per_second: float
    projected_hours: float
    disk_megabytes: float


@dataclass(frozen=True)
class Step:
    """What decides a training step's time.

    Which of the paper's neurons is used hardly matters (a few per cent), so the ternary one is timed, trained in the
    paper's way. A run of a published method is timed with its own neurons and method, unless that starts from another
    run; what it does once an epoch, or before the first, is not in it.

    Attributes:
        options: of the method, the neuron and the rest of the network, as JSON; empty in the paper's way.
    """

    architecture: str
    timesteps: int
    channels: int
    image_size: int
    precision: str
    batch_size: int
    neuron: str = "ternary"
    method: str = PAPERS_WAY
    options: str = ""

    @property
    def in_the_papers_way(self) -> "Step":
        """The same network with the paper's neurons, trained in its way."""
        return replace(self, neuron="ternary", method=PAPERS_WAY, options="")


def estimate(plan: Iterable[Run], device: torch.device, cache: Path, limit: float) -> dict:
    """The costs of runs.

    Args:
        plan: the runs, whether they can run here or not.
        device: where the steps are measured.
        cache: JSON file of earlier measurements, which are not repeated; a damaged one is replaced.
        limit: seconds after which no further measurement is begun.

    Returns:
        A :class:`Cost` by run id. A step that the limit left no time for is taken from the same network with another T,
        as T times as long, and that of a method from the paper's way; runs whose network was not measured at all are
        left out, and runs on data of unknown size.
    """
    measured = _read(cache)
    machine = _machine(device)

    def key_of(step: Step) -> str:
        return json.dumps(machine | asdict(step), sort_keys=True)

    end = time.monotonic() + limit
    wanted = {run.id: (run, *step_of(run)) for run in plan}
    steps = {step for _, step, _ in wanted.values()}
    steps = sorted(steps | {step.in_the_papers_way for step in steps}, key=_order)
    for step in watched([step for step in steps if key_of(step) not in measured], "measuring training steps", "step"):
        if time.monotonic() >= end:
            break
        try:
            measured[key_of(step)] = measure(step, device)
        except Exception as error:  # whatever a method may raise that needs the data, which are not here yet
            if step == step.in_the_papers_way:
                raise
            logger.warning("a step of %s is taken to be as long as the paper's: %s", step.method, error)
            continue
        write_json(cache, measured)
    costs = {}
    for name, (run, step, recipe) in wanted.items():
        known = [other for other in steps if key_of(other) in measured]
        alike = [other for other in known if replace(other, timesteps=step.timesteps) == step] or [
            other for other in known if replace(other, timesteps=step.timesteps) == step.in_the_papers_way
        ]
        samples = recipe.train_samples or registry.describe(run.dataset).train_samples
        if alike and samples:
            nearest = min(alike, key=lambda other: abs(other.timesteps - step.timesteps))
            found = measured[key_of(nearest)]
            images = recipe.epochs * samples
            speed = found["images_per_second"] * nearest.timesteps / step.timesteps
            costs[name] = Cost(speed, images / speed / 3600, COPIES * 4 * found["parameters"] / 1e6)
    return costs


def measure(step: Step, device: torch.device) -> dict:
    """Time of a training step on random pictures: ``images_per_second`` and the network's ``parameters``.

    The batch grows towards the recipe's as long as a step is short, since small batches make small networks look slow.
    The fastest step counts: what slows the others is what else the machine does.
    """
    options = json.loads(step.options or "{}")
    model = make_network(
        step.architecture,
        step.neuron,
        step.timesteps,
        **options.get("network", {}),
        in_channels=step.channels,
        image_size=step.image_size,
    )
    model = model.to(device, memory_format=torch.channels_last)
    recipe = recipes.Recipe("measured", 1, step.batch_size, 0.01, 0.9, 1e-4, precision=step.precision)
    method = make_method(step.method, **options.get("method", {}))
    update = TrainingStep(model, method, recipe)
    method.epoch(0.5)  # a loss may grow from nothing, and what has no weight yet takes no time
    batch = min(SMALLEST_BATCH, step.batch_size)
    while True:
        shape = (batch, step.channels, step.image_size, step.image_size)
        images = torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)
        labels = torch.zeros(batch, dtype=torch.int64, device=device)
        # the first step also makes buffers, and on a GPU chooses algorithms
        times = [_timed(update, images, labels) for _ in range(1 + TIMED_STEPS)][1:]
        if min(times) > LONG_STEP_SECONDS or batch == step.batch_size:
            break
        batch = min(4 * batch, step.batch_size)
    parameters = sum(p.numel() for p in model.parameters())
    return {"images_per_second": batch / min(times), "parameters": parameters}


def _timed(update: TrainingStep, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Seconds of one training step."""
    start = time.perf_counter()
    update(images, labels, update.recipe.learning_rate)
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
    return time.perf_counter() - start


def step_of(run: Run) -> tuple[Step, recipes.Recipe]:
    """The step whose time is the run's; of a run that trains nothing, one timestep, which says how large it is."""
    recipe = recipes.from_dict(run.values, f"recipe {run.recipe}")
    known = registry.describe(run.dataset)
    return Step(
        run.architecture,
        run.timesteps if recipe.epochs else 1,
        known.channels,
        known.prepared_size(run.data.options),
        recipe.precision,
        recipe.batch_size,
        **_published(run),
    ), recipe


def _published(run: Run) -> dict[str, str]:
    """The fields of a :class:`Step` for a run of a published method that can be timed; none for the others."""
    if run.method is None or METHODS[run.training].from_run:
        return {}
    neuron_options = NEURONS.options(run.neuron, run.given_options, text=True)
    options = {
        "network": {"neuron_options": neuron_options, **network_arguments(run.network_options)},
        "method": METHODS.options(run.training, run.method.training_options, text=True),
    }
    return {"neuron": run.neuron, "method": run.training, "options": json.dumps(options, sort_keys=True)}


def _order(step: Step) -> tuple:
    """The paper's way and small steps are measured first: the limit then costs the fewest runs their estimate."""
    return step != step.in_the_papers_way, step.image_size**2 * step.timesteps, step.method


def _machine(device: torch.device) -> dict:
    found = hardware(device)
    return {key: found[key] for key in ("cpu", "gpu", "device") if key in found} | {"threads": torch.get_num_threads()}


def _read(cache: Path) -> dict:
    try:
        content = read_json(cache)
    except UserError:
        return {}
    return content if isinstance(content, dict) else {}
