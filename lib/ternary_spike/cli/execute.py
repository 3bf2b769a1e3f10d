"""The verb ``execute``."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ternary_spike.cli._options import add_folded_run, add_machine, samples

HELP = "run a folded network spike by spike with additions alone, compare it with the dense one, count what it does"


def arguments(parser: ArgumentParser) -> None:
    add_folded_run(parser)
    parser.add_argument("--out", type=Path, required=True, help="execution.json to write")
    parser.add_argument("--samples", type=samples, default=20, help="test samples to run (default 20)")
    add_machine(parser, device=False)


def run(args: Namespace) -> None:
    from dataclasses import asdict

    from ternary_spike.cli._made_by import made_by
    from ternary_spike.cli._stages import not_foldable, of_run, open_folded, open_run, pass_on
    from ternary_spike.reparam.executor import compare_with_dense
    from ternary_spike.system.files import write_json
    from ternary_spike.system.progress import watched
    from ternary_spike.system.provenance import now

    started = now()
    args.device = "cpu"
    record, _, batches, device = open_run(args, args.samples)
    if reason := not_foldable(args, record):
        pass_on("execute", reason, args.out, record, device, started)
        return
    network = open_folded(args, record)
    images = watched([image for x, _ in batches for image in x], f"{record['id']}: executing", "image")
    result, operations = compare_with_dense(network, images)
    content = {**of_run(record), **result, "operations": asdict(operations)}
    write_json(args.out, {**content, "provenance": made_by("execute", record, device, started)})
    print(
        f"{record['id']}: {result['differing_spikes']} of {result['spikes']} spikes differ between additions and the "
        f"dense network, {sum(operations.additions.values()) / result['samples']:.0f} additions an image, in {args.out}"
    )
