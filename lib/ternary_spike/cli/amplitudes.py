"""Where a layer-wise amplitude can act, ResNet by ResNet: the paper's networks and those of the demo."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ternary_spike.cli._options import seed

HELP = "list the neuron layers of every ResNet whose amplitude can act, and the gradient that it sees at the start"
# small and quick: which layers are live depends on none of these
WIDTH, SIDE, SAMPLES, BATCHES = 4, 32, 4, 3


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="CSV file to write, a row an architecture and layer")
    parser.add_argument("--seed", type=seed, default=0, help="of the weights, inputs and labels (default 0)")


def run(args: Namespace) -> None:
    import torch

    from ternary_spike.measuring.amplitudes import gradient_shares, live_layers
    from ternary_spike.models.registry import ARCHITECTURES, Architecture
    from ternary_spike.models.resnet import SpikingResNet
    from ternary_spike.planning import made_from
    from ternary_spike.reparam.folding import fold
    from ternary_spike.system.files import csv_text, write_listed

    rows = []
    for architecture in (name for name, part in ARCHITECTURES.items() if isinstance(part.data, Architecture)):
        torch.manual_seed(args.seed)
        model = SpikingResNet(f"{architecture}w{WIDTH}", "trainable", 2, image_size=SIDE).double()
        live = live_layers(fold(model))
        # on one batch a live layer's contributions may happen to cancel: the largest share of a few
        shares = [
            gradient_shares(model, torch.randn(SAMPLES, 3, SIDE, SIDE).double(), torch.randint(0, 10, (SAMPLES,)))
            for _ in range(BATCHES)
        ]
        for position, layer in enumerate(shares[0], start=1):
            row = {"architecture": architecture, "position": position, "layer": layer, "live": layer in live}
            rows.append({**row, "gradient_share": max(share[layer] for share in shares)})
    write_listed(args.out, csv_text(rows))
    made_from.write_code(args.out, "amplitudes.csv")
    print(f"{sum(row['live'] for row in rows)} of {len(rows)} neuron layers can use an amplitude, in {args.out}")
