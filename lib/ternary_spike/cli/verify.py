"""The verb ``verify``."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ternary_spike.cli._options import add_folded_run, add_machine, samples

HELP = "check that the folded network computes what the trained one does; exit status 1 if it does not"


def arguments(parser: ArgumentParser) -> None:
    add_folded_run(parser)
    parser.add_argument("--out", type=Path, required=True, help="equivalence.json to write")
    parser.add_argument("--samples", type=samples, default=256, help="test samples to compare on (default 256)")
    add_machine(parser)


def run(args: Namespace) -> None:
    import sys

    import torch

    from ternary_spike.cli._made_by import made_by
    from ternary_spike.cli._stages import COMPARED, not_foldable, of_run, open_folded, open_run, pass_on
    from ternary_spike.reparam.equivalence import verify
    from ternary_spike.system.files import write_json
    from ternary_spike.system.provenance import now

    started = now()
    record, model, batches, device = open_run(args, args.samples, COMPARED)
    if reason := not_foldable(args, record):
        pass_on("verify", reason, args.out, record, device, started)
        return
    folded = open_folded(args, record).to(device)
    torch.backends.cudnn.allow_tf32 = False  # or a GPU's convolutions in float32 would round to 10 bits
    result = verify(model.to(device), folded, [x for x, _ in batches])
    write_json(args.out, {**of_run(record), **result, "provenance": made_by("verify", record, device, started)})
    exact = result["float64"]
    line = (
        f"{record['id']}: {exact['differing_spikes']} of {exact['spikes']} spikes differ in float64, class scores by "
        f"{exact['largest_relative_logit_difference']:.1e} relative (bound {result['bound']:.0e})"
    )
    if not result["passed"]:
        print(f"error: the folded network is not equivalent. {line}; see {args.out}", file=sys.stderr)
        sys.exit(1)
    print(line)
