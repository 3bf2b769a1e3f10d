"""The verb ``download``."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

HELP = "fetch a public dataset; the only verb that touches the network"


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, help="cifar10, cifar100 or cifar10dvs")
    parser.add_argument("--root", type=Path, required=True, help="folder to download to")


def run(args: Namespace) -> None:
    from ternary_spike.data import registry

    registry.download(args.dataset, args.root)
    print(f"{args.dataset}: whole and verified in {args.root}")
