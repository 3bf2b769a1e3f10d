"""The verb ``energy``."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ternary_spike.cli._options import add_folded_run, add_machine, picojoule, samples

HELP = (
    "count a folded network's operations on the test set, or one's that is not foldable on itself, and estimate its "
    "energy, the paper's way and exactly"
)


def arguments(parser: ArgumentParser) -> None:
    add_folded_run(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for energy.csv and energy.json")
    parser.add_argument("--samples", type=samples, default=1000, help="test samples to count on (default 1000)")
    parser.add_argument(
        "--flop-picojoule", type=picojoule, default=12.5, help="energy of an operation of the encoder (12.5)"
    )
    parser.add_argument("--synop-picojoule", type=picojoule, default=0.077, help="energy of an addition (0.077)")
    parser.add_argument("--sign-picojoule", type=picojoule, default=3.7, help="energy of a comparison (3.7)")
    add_machine(parser)


def run(args: Namespace) -> None:
    import torch

    from ternary_spike.cli._made_by import made_by
    from ternary_spike.cli._stages import not_foldable, of_run, open_folded, open_run
    from ternary_spike.cli._streamed import how_it_runs
    from ternary_spike.reparam.energy import COLUMNS, Constants, measure, measure_itself
    from ternary_spike.reparam.network import NOT_FOLDABLE
    from ternary_spike.system.files import csv_text, replaced_together, sha256_of, write_json, write_text
    from ternary_spike.system.progress import watched
    from ternary_spike.system.provenance import now

    started = now()
    record, model, batches, device = open_run(args, args.samples)
    constants = Constants(args.flop_picojoule, args.synop_picojoule, args.sign_picojoule)
    inputs = (x for x, _ in watched(batches, f"{record['id']}: counting", "batch"))
    if reason := not_foldable(args, record):
        rows, totals = measure_itself(model.to(device), inputs, constants, **how_it_runs(record, args.run))
        totals = {NOT_FOLDABLE: reason, "counted_on": "the network itself", **totals}
    else:
        rows, totals = measure(open_folded(args, record).to(torch.float32).to(device), inputs, constants)
    with replaced_together(args.out, "energy.json") as folder:
        write_text(folder / "energy.csv", csv_text(rows, COLUMNS))
        files = {"energy.csv": sha256_of(folder / "energy.csv")}
        content = {**of_run(record), **totals, "files": files, "provenance": made_by("energy", record, device, started)}
        write_json(folder / "energy.json", content)
    print(f"{record['id']}: {_outcome(totals)}, in {args.out}")


def _outcome(totals: dict) -> str:
    """What was counted, in words."""
    if "not_counted" in totals:
        return f"not counted: {totals['not_counted']}"
    exact = next(m for m in totals["methods"] if m["method"] == "exact count")
    where = f", counted on {totals['counted_on']}" if "counted_on" in totals else ""
    return f"{exact['synops']:.0f} synaptic operations an image{where}, {exact['energy_microjoule']:.3f} µJ"
