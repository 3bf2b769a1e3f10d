"""The verb ``prepare``."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from ternary_spike.data import registry
from ternary_spike.data.dataset import Dataset

HELP = "check a dataset's own files and write them in the form that training reads"


def arguments(parser: ArgumentParser) -> None:
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.epilog = "datasets:\n" + "\n".join(_listed(registry.describe(name)) for name in registry.names())
    parser.add_argument("--dataset", required=True, help=", ".join(registry.names()))
    parser.add_argument("--source", help="kind of source, see below; by default the original, which is named first")
    parser.add_argument("--root", type=Path, help="folder of the dataset's own files")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="setting of the preparation, see below, such as split=random-tenth",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")


def run(args: Namespace) -> None:
    from ternary_spike.cli._options import key_values

    options = key_values(args.option, "--option")
    manifest = registry.prepare(args.dataset, args.source, args.root, options, args.out)
    sizes = " + ".join(f"{split['samples']:,} {name}" for name, split in manifest.splits.items())
    print(f"{manifest.label}: {sizes} samples in {args.out}")


def _listed(dataset: Dataset) -> str:
    """A dataset's kinds of source and options, a line each."""
    lines = [f"  {dataset.name}: {', '.join(dataset.sources)}"]
    lines += [f"      {name}={option.default}: {option.meaning}" for name, option in dataset.options.items()]
    return "\n".join(lines)
