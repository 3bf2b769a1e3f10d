from argparse import ArgumentParser, Namespace
from pathlib import Path

HELP = "check a dataset's own files and write them in the form that training reads"


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, help="digits, cifar10, cifar100, cifar10dvs or imagenet")
    parser.add_argument("--source", help="kind of source, such as jpeg-npz for cifar10; by default the original")
    parser.add_argument("--root", type=Path, help="folder of the dataset's own files")
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="setting of the preparation: split=random"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")


def run(args: Namespace) -> None:
    from ternary_spike.cli._options import key_values
    from ternary_spike.data import registry

    options = key_values(args.option, "--option")
    manifest = registry.prepare(args.dataset, args.source, args.root, options, args.out)
    sizes = " + ".join(f"{split['samples']:,} {name}" for name, split in manifest.splits.items())
    print(f"{manifest.label}: {sizes} samples in {args.out}")
