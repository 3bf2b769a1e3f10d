"""One notebook, executed and rendered."""

import argparse
from pathlib import Path

from ternary_spike.system.shipped import located

HELP = "execute one notebook on a preset's results and render it for the report"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--notebook", type=located, required=True, help="the notebook, notebooks/<name>.py")
    parser.add_argument("--results", type=Path, required=True, help="results folder of a preset, results/<preset>")
    parser.add_argument(
        "--kept",
        type=located,
        default="results/reference",
        help="results that are kept with the repository, or with the package",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for <name>.ipynb and <name>.html")


def run(args: argparse.Namespace) -> None:
    from ternary_spike.report.notebooks import execute

    print(execute(args.notebook, args.results, args.out, args.kept))
