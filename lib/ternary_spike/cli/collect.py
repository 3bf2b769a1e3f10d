"""Run files and plan to tables and the claims ledger."""

import argparse
from pathlib import Path

HELP = "gather every run's small files into tables, and judge the paper's claims by them"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plan", type=Path, required=True, help="plan.csv, a row a run and seed")
    parser.add_argument("--results", type=Path, required=True, help="results folder of a preset, results/<preset>")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables, results/<preset>/tables")


def run(args: argparse.Namespace) -> None:
    from ternary_spike import claims
    from ternary_spike.planning import made_from
    from ternary_spike.tables import collect

    plan = collect.read_plan(args.plan)
    # before anything is read: what is replaced meanwhile makes the tables older than it, never newer
    made_of = made_from.of_tables(args.results, zip(plan["id"], plan["seed"].tolist(), strict=True))
    found = collect.tables(plan, args.results)
    found["claims"] = claims.judge(found)
    for path in collect.write_tables(found, args.out, made_of):
        print(path)
