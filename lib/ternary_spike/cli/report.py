"""Tables and executed notebooks to the report."""

import argparse
from pathlib import Path

from ternary_spike.system.shipped import located

HELP = "assemble the report from tables, figures and executed notebooks"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, required=True, help="results folder of a preset, results/<preset>")
    parser.add_argument(
        "--kept",
        type=located,
        default="results/reference",
        help="results that are kept with the repository, or with the package",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the report, results/<preset>/report")


def run(args: argparse.Namespace) -> None:
    from ternary_spike.planning import made_from
    from ternary_spike.report.site import build
    from ternary_spike.system.files import remove, write_json

    made_of = made_from.of_report(args.results, args.kept)
    remove(args.out / made_from.RECORD)
    page = build(args.results, args.out, args.kept)
    write_json(args.out / made_from.RECORD, made_of)
    print(page)
