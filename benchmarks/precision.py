"""What bfloat16 does to accuracy: ``python benchmarks/precision.py --out results/bench``.

Trains the demo's networks on scikit-learn's digits in float32 and in bfloat16 (convolutions and linear layers; the
membrane stays in float32) with the same seeds, by the command line's own verbs. Writes precision.csv, a row a training.
What a processor without bfloat16 instructions computes is the same, only slower.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "lib"))

from ternary_spike.system.files import csv_text, write_listed  # noqa: E402

ARCHITECTURE, TIMESTEPS = "resnet6w8", 2
NEURONS = ("binary", "ternary", "trainable")
PRECISIONS = ("float32", "bfloat16")


def call(*words: object) -> None:
    """A verb of the command line, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "lib")}
    subprocess.run([sys.executable, "-m", "ternary_spike", *map(str, words)], check=True, env=environment)


def train(folder: Path, neuron: str, precision: str, seed: int) -> dict:
    """The record of one training."""
    out = folder / f"{neuron}-{precision}-{seed}"
    call(
        *("train", "--data", folder / "digits", "--architecture", ARCHITECTURE, "--neuron", neuron),
        *("--timesteps", TIMESTEPS, "--recipe", ROOT / "config/recipes/digits.yaml", "--set", f"precision={precision}"),
        *("--seed", seed, "--threads", 1, "--checkpoints", folder / "checkpoints", "--out", out),
    )
    return json.loads((out / "run.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the table")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds (default 5)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        call("prepare", "--dataset", "digits", "--source", "scikit-learn", "--out", folder / "digits")
        for seed in range(arguments.seeds):
            for neuron in NEURONS:
                for precision in PRECISIONS:
                    record = train(folder, neuron, precision, seed)
                    rows.append(
                        {
                            "neuron": neuron,
                            "precision": precision,
                            "seed": seed,
                            "last_epoch_percent": record["accuracy"]["last_epoch_percent"],
                            "commit": record["provenance"]["commit"],
                            "dirty": record["provenance"]["dirty"],
                            "torch": record["provenance"]["versions"]["torch"],
                            "cpu": record["provenance"]["hardware"]["cpu"],
                            "device": record["provenance"]["hardware"]["device"],
                        }
                    )
                    write_listed(arguments.out / "precision.csv", csv_text(rows))


if __name__ == "__main__":
    main()
