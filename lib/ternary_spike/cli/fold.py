"""The verb ``fold``."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

HELP = "fold amplitudes and batch norm into the weights (Eqs. 15-17)"


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="folder of a trained run")
    parser.add_argument("--out", type=Path, required=True, help="folder for folded.safetensors and folded.json")


def run(args: Namespace) -> None:
    import torch

    from ternary_spike.cli._made_by import made_by
    from ternary_spike.cli._streamed import how_it_runs
    from ternary_spike.models.known_modules import NotFoldable
    from ternary_spike.reparam.folding import fold
    from ternary_spike.reparam.refusal import save_refusal
    from ternary_spike.system.provenance import now
    from ternary_spike.training.record import WEIGHTS, load_model

    started = now()
    record, model = load_model(args.run)
    try:
        if how_it_runs(record, args.run).get("encode") is not None:
            raise NotFoldable("its input is drawn at random at each timestep, which a folded network does not do")
        folded = fold(model)
    except NotFoldable as refused:
        origin = made_by("fold", record, torch.device("cpu"), started)
        save_refusal(args.out, str(refused), record["files"][WEIGHTS], origin)
        print(f"{record['id']}: not foldable: {refused}")
        return
    folded.trained_weights = record["files"][WEIGHTS]
    folded.save(args.out, made_by("fold", record, torch.device("cpu"), started))
    print(f"{record['id']}: {len(folded.spike_layers())} neuron layers without amplitude, in {args.out}")
