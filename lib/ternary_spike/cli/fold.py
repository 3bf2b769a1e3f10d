"""The verb ``fold``."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

HELP = "fold amplitudes and batch norm into the weights (Eqs. 15-17)"


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="folder of a trained run")
    parser.add_argument("--out", type=Path, required=True, help="folder for folded.safetensors and folded.json")


def run(args: Namespace) -> None:
    from ternary_spike.reparam.folding import fold
    from ternary_spike.training.record import WEIGHTS, load_model

    record, model = load_model(args.run)
    folded = fold(model)
    folded.trained_weights = record["files"][WEIGHTS]
    folded.save(args.out)
    print(f"{record['id']}: {len(folded.spike_layers())} neuron layers without amplitude, in {args.out}")
