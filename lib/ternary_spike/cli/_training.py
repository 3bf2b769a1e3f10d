"""What the verbs that train have in common: their options, and the plan of a training that these make."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path

from ternary_spike.cli._options import add_machine, identifier, key_values, seed, timesteps
from ternary_spike.methods.registry import METHODS, PAPERS_WAY
from ternary_spike.models.normalisations import BATCH_NORM, NORMALISATIONS
from ternary_spike.models.registry import ARCHITECTURES
from ternary_spike.neurons.registry import NEURONS
from ternary_spike.planning.network_options import NORMALISATION, OF_NORMALISATION, network_arguments
from ternary_spike.system.errors import UserError
from ternary_spike.system.shipped import located


def require_whole_group(environment: Mapping[str, str]) -> None:
    """Raise UserError if the environment names one of several processes that nothing has started together.

    torch would wait for the others, half an hour by default, or speak of a variable that no user has to know.
    """
    given = {name: environment[name] for name in ("WORLD_SIZE", "RANK") if name in environment}
    said = " and ".join(f"{name}={value}" for name, value in given.items())
    cure = f"start a training of several processes by torchrun, or unset {' and '.join(given)}"
    try:
        count, rank = int(given.get("WORLD_SIZE", 1)), int(given.get("RANK", 0))
    except ValueError:
        raise UserError(f"the environment has {said}, which are no numbers of processes; {cure}") from None
    if not 0 <= rank < count:
        raise UserError(f"the environment has {said}, but ranks go from 0 to below WORLD_SIZE; {cure}")
    absent = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not environment.get(name)]
    if count > 1 and absent:
        raise UserError(f"the environment has {said} without {' and '.join(absent)}, as torchrun sets them; {cure}")


def add_arguments(parser: ArgumentParser) -> None:
    """The options that say what to train and how."""
    parser.add_argument("--data", type=Path, required=True, help="folder of prepared data")
    own = "or module:Name of your own"
    architectures = f"{', '.join(ARCHITECTURES)} (resnet20w16 for width 16), {own}"
    parser.add_argument("--architecture", required=True, help=architectures)
    parser.add_argument("--neuron", help=f"{', '.join(NEURONS)}, {own}; by default the method sheet's")
    parser.add_argument("--timesteps", type=timesteps, required=True, help="T; must be the frames of event data")
    parser.add_argument("--recipe", type=located, required=True, help="YAML file with the schedule and augmentation")
    parser.add_argument("--seed", type=seed, required=True, help="decides initialisation, order and augmentation")
    parser.add_argument(
        "--neuron-option", action="append", default=[], metavar="KEY=VALUE", help="option of the neurons: threshold=1.0"
    )
    normalisations = f"{', '.join(NORMALISATIONS)}, {own}; by default the method sheet's, or {BATCH_NORM}"
    parser.add_argument("--normalisation", help=normalisations)
    parser.add_argument(
        "--normalisation-option", action="append", default=[], metavar="KEY=VALUE", help="option of the normalisation"
    )
    parser.add_argument(
        "--method-sheet",
        type=located,
        help="YAML file of a published method: its neuron, way to train, options and changes of the recipe",
    )
    parser.add_argument(
        "--keep-recipe",
        action="store_true",
        help="keep the recipe as its file has it: what the method sheet changes in it does not count",
    )
    methods = f"{', '.join(METHODS)}, {own}"
    parser.add_argument("--method", help=f"how to train: {methods}; by default the method sheet's, or {PAPERS_WAY}")
    parser.add_argument(
        "--method-option", action="append", default=[], metavar="KEY=VALUE", help="option of the method"
    )
    parser.add_argument(
        "--source", type=Path, help="folder of the finished run that the method starts from: its teacher, for one"
    )
    parser.add_argument(
        "--stem-batch-norm", choices=("per_step", "over_time"), help="statistics of the stem's BN; per_step by default"
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


def training_plan(args: Namespace, threshold_found: bool = False):
    """The TrainingPlan of a command line; torch's threads and the allocator are set.

    Args:
        args: the command line.
        threshold_found: whether a threshold is found by measuring; that of a method sheet then does not count.

    Raises:
        UserError: if an option, the method sheet, the recipe or the data is unusable, or the environment names one of
            several processes that nothing has started together.
    """
    require_whole_group(os.environ)
    import torch

    from ternary_spike.configuration import recipe
    from ternary_spike.configuration.run_table import file_part
    from ternary_spike.data.prepared import read_manifest
    from ternary_spike.system import allocator, devices
    from ternary_spike.training.state import TrainingPlan

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    if args.device == "cpu" or not torch.cuda.is_available():
        allocator.keep_freed_memory()
    if args.deterministic:
        devices.make_deterministic()
    manifest = read_manifest(args.data)
    changes = key_values(args.set, "--set")
    sheet = _sheet(args)
    chosen = recipe.load(args.recipe, {**(sheet.recipe if sheet else {}), **changes})
    model = _network(args, sheet, manifest, threshold_found)
    method = args.method or (sheet.training if sheet else "") or PAPERS_WAY
    options = sheet.training_options if sheet else key_values(args.method_option, "--method-option")
    name = [manifest.dataset, args.architecture, f"T{args.timesteps}", model["neuron"], *_way(args, sheet)]
    return TrainingPlan(
        args.id or "-".join(map(file_part, name)),
        args.data,
        model,
        chosen,
        {key: chosen.as_dict()[key] for key in changes},
        args.seed,
        method,
        METHODS.options(method, options, text=True),
        args.source,
        sheet.record() if sheet else None,
    )


def _network(args: Namespace, sheet, manifest, threshold_found: bool) -> dict:
    """The arguments of the network that a command line asks for, with those that a method sheet has for it."""
    if manifest.frames is not None and manifest.frames != args.timesteps:
        raise UserError(
            f"--timesteps {args.timesteps}: the event data in {args.data} has {manifest.frames} frames; "
            f"set --timesteps {manifest.frames} or prepare the data with {args.timesteps}"
        )
    given = key_values(args.neuron_option, "--neuron-option")
    neuron, options = sheet.neuron_of(args.neuron or "", given) if sheet else (args.neuron, given)
    if not neuron:
        raise UserError("--neuron is missing; name one, or a --method-sheet that names one")
    if threshold_found and "threshold" not in given:
        options.pop("threshold", None)
    return {
        "architecture": args.architecture,
        "neuron": neuron,
        "timesteps": args.timesteps,
        "num_classes": manifest.num_classes,
        "in_channels": manifest.channels,
        "image_size": manifest.image_size,
        "neuron_options": NEURONS.options(neuron, options, text=True),
        **network_arguments(_network_options(args, sheet)),
    }


def _network_options(args: Namespace, sheet) -> dict[str, str]:
    """The network's options as text, as a run table has them: the method sheet's, unless the command line has other."""
    given = {"stem_batch_norm": args.stem_batch_norm, NORMALISATION: args.normalisation}
    options = key_values(args.normalisation_option, "--normalisation-option")
    return {
        **(sheet.network_options if sheet else {}),
        **{key: text for key, text in given.items() if text is not None},
        **{f"{OF_NORMALISATION}{key}": text for key, text in options.items()},
    }


def _sheet(args: Namespace):
    """The method sheet of a command line; None where it names none."""
    from ternary_spike.configuration import method_sheet
    from ternary_spike.planning.parts import require_parts

    if args.method_sheet is None:
        if args.keep_recipe:
            raise UserError("--keep-recipe: there is no --method-sheet whose recipe would be left out; leave it out")
        return None
    if args.method is not None:
        raise UserError(f"--method {args.method}: --method-sheet says how to train; leave one of them out")
    sheet = method_sheet.load(args.method_sheet)
    require_parts(sheet)
    sheet = sheet.with_options(key_values(args.method_option, "--method-option"))
    return sheet.without_recipe() if args.keep_recipe else sheet


def _way(args: Namespace, sheet) -> list[str]:
    """What a run's name says of how it is trained; a method of one's own goes by its class."""
    if sheet:
        return [sheet.id_part]
    return [args.method.rpartition(":")[2]] if args.method not in (None, PAPERS_WAY) else []
