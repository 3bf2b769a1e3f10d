"""The verb ``watch``."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ternary_spike.cli._options import real

HELP = "show where every run of a plan is: waiting, training, finished or failed; again and again on a terminal"


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("results", type=Path, help="folder of a preset: results/paper")
    parser.add_argument("--once", action="store_true", help="print once and end, as into a pipe or file")
    parser.add_argument(
        "--every", type=real(0.1, 86400), default=2.0, metavar="SECONDS", help="how often to look; 2 by default"
    )


def run(args: Namespace) -> None:
    import sys

    from ternary_spike.cli._watched import printed, shown
    from ternary_spike.planning.watching import Watched

    watched = Watched(args.results)
    if args.once or not sys.stdout.isatty():
        print(printed(watched.look()))
    else:
        shown(watched, args.every)
