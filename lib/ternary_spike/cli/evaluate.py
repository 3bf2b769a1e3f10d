"""The verb ``evaluate``."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ternary_spike.cli._options import add_machine, add_run

HELP = "measure a trained run on the test set: accuracy, firing rates, entropy, membrane potentials"


def arguments(parser: ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--out", type=Path, required=True, help="evaluation.json to write")
    add_machine(parser)


def run(args: Namespace) -> None:
    from ternary_spike.cli._made_by import made_by
    from ternary_spike.cli._stages import of_run, open_run
    from ternary_spike.cli._streamed import how_it_runs
    from ternary_spike.data.loading import evaluation_batch_size
    from ternary_spike.measuring.evaluation import evaluate
    from ternary_spike.system.files import write_json
    from ternary_spike.system.progress import watched
    from ternary_spike.system.provenance import now
    from ternary_spike.training.record import read_record

    started = now()
    record = read_record(args.run)
    how = how_it_runs(record, args.run)
    at_once = evaluation_batch_size(record["model"]["image_size"], timesteps=1) if how else None
    record, model, batches, device = open_run(args, batch_size=at_once)
    result = evaluate(model.to(device), watched(batches, f"{record['id']}: evaluating", "batch"), **how)
    data = {"label": record["data"]["label"], "checksum": record["data"]["checksum"]}
    write_json(
        args.out, {**of_run(record), "data": data, **result, "provenance": made_by("evaluate", record, device, started)}
    )
    print(f"{record['id']}: {result['accuracy_percent']:.2f} % of {result['samples']} test samples, in {args.out}")
