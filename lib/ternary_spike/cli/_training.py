"""What the verbs that train have in common: their options, and the plan of a training that these make."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ternary_spike.cli._options import add_machine, identifier, key_values, seed, timesteps
from ternary_spike.methods.registry import METHODS, PAPERS_WAY


def add_arguments(parser: ArgumentParser) -> None:
    """The options that say what to train and how."""
    parser.add_argument("--data", type=Path, required=True, help="folder of prepared data")
    parser.add_argument("--architecture", required=True, help="resnet18, 19, 20, 34, 6 or 8; resnet20w16 for width 16")
    parser.add_argument("--neuron", required=True, help="binary, ternary, trainable, plif, glif; relu is a reference")
    parser.add_argument("--timesteps", type=timesteps, required=True, help="T; must be the frames of event data")
    parser.add_argument("--recipe", type=Path, required=True, help="YAML file with the schedule and augmentation")
    parser.add_argument("--seed", type=seed, required=True, help="decides initialisation, order and augmentation")
    parser.add_argument(
        "--neuron-option", action="append", default=[], metavar="KEY=VALUE", help="option of the neurons: threshold=1.0"
    )
    methods = f"{', '.join(METHODS)}, or module:Class of your own"
    parser.add_argument("--method", default=PAPERS_WAY, help=f"how to train: {methods}; by default %(default)s")
    parser.add_argument(
        "--method-option", action="append", default=[], metavar="KEY=VALUE", help="option of the method"
    )
    parser.add_argument(
        "--source", type=Path, help="folder of the finished run that the method starts from: its teacher, for one"
    )
    parser.add_argument(
        "--stem-batch-norm", choices=("per_step", "over_time"), default="per_step", help="statistics of the stem's BN"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a value of the recipe: epochs=3"
    )
    parser.add_argument(
        "--id", type=identifier, help="name of the run; by default made of data, architecture, timesteps and neuron"
    )
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder for resumable state")
    add_machine(parser)
    parser.add_argument(
        "--deterministic", action="store_true", help="the same bits again on a GPU too, where that costs time"
    )


def training_plan(args: Namespace):
    """The TrainingPlan of a command line; torch's threads and the allocator are set.

    Raises:
        UserError: if an option, the recipe or the data is unusable.
    """
    import torch

    from ternary_spike.configuration import recipe
    from ternary_spike.data.prepared import read_manifest
    from ternary_spike.planning.settings import neuron_options
    from ternary_spike.system import allocator, devices
    from ternary_spike.system.errors import UserError
    from ternary_spike.training.state import TrainingPlan

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    if args.device == "cpu" or not torch.cuda.is_available():
        allocator.keep_freed_memory()
    if args.deterministic:
        devices.make_deterministic()
    manifest = read_manifest(args.data)
    if manifest.frames is not None and manifest.frames != args.timesteps:
        raise UserError(
            f"--timesteps {args.timesteps}: the event data in {args.data} has {manifest.frames} frames; "
            f"set --timesteps {manifest.frames} or prepare the data with {args.timesteps}"
        )
    changes = key_values(args.set, "--set")
    chosen = recipe.load(args.recipe, changes)
    model = {
        "architecture": args.architecture,
        "neuron": args.neuron,
        "timesteps": args.timesteps,
        "num_classes": manifest.num_classes,
        "in_channels": manifest.channels,
        "image_size": manifest.image_size,
        "neuron_options": neuron_options(args.neuron, key_values(args.neuron_option, "--neuron-option")),
        "stem_batch_norm": args.stem_batch_norm,
    }
    method_options = METHODS.options(args.method, key_values(args.method_option, "--method-option"), text=True)
    name = args.id or _name(manifest.dataset, args)
    changed = {key: chosen.as_dict()[key] for key in changes}
    return TrainingPlan(name, args.data, model, chosen, changed, args.seed, args.method, method_options, args.source)


def _name(dataset: str, args: Namespace) -> str:
    """A run's name where none is given; a method of one's own goes by its class."""
    method = "" if args.method == PAPERS_WAY else f"-{args.method.rpartition(':')[2]}"
    return f"{dataset}-{args.architecture}-T{args.timesteps}-{args.neuron}{method}"
