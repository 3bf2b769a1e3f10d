"""The three neurons on one input, step by step."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ternary_spike.cli._options import real, timesteps

HELP = "run binary, ternary and trainable neurons on one input current and write their membrane potentials and spikes"


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="CSV file to write, a row a neuron and timestep")
    parser.add_argument("--timesteps", type=timesteps, default=24, help="length of the input (default 24)")
    parser.add_argument(
        "--amplitude", type=real(1e-3, 1e3), default=1.5, help="amplitude of the trainable neuron (default 1.5)"
    )


def run(args: Namespace) -> None:
    from ternary_spike.measuring.trace import input_current, trace
    from ternary_spike.neurons.lif import BinaryLIF, TernaryLIF, TrainableTernaryLIF
    from ternary_spike.planning import made_from
    from ternary_spike.system.files import csv_text, write_listed

    neurons = {
        "binary": BinaryLIF(),
        "ternary": TernaryLIF(),
        "trainable": TrainableTernaryLIF(initial_amplitude=args.amplitude),
    }
    current = input_current(args.timesteps)
    rows = [row for name, neuron in neurons.items() for row in trace(name, neuron, current)]
    write_listed(args.out, csv_text(rows))
    made_from.write_code(args.out, "trace.csv")
    print(f"{len(rows)} steps in {args.out}")
