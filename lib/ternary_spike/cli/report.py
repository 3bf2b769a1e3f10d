"""Tables and executed notebooks to the report."""

import argparse
from pathlib import Path

HELP = "assemble the report from tables, figures and executed notebooks"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, required=True, help="results folder of a preset, results/<preset>")
    parser.add_argument(
        "--kept", type=Path, default=Path("results/reference"), help="results that are kept with the repository"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the report, results/<preset>/report")


def run(args: argparse.Namespace) -> None:
    from ternary_spike.report.site import build

    print(build(args.results, args.out, args.kept))
