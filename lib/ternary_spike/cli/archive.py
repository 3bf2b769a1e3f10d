"""The verb ``archive``."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

HELP = "pack a preset's results with their code, environment and metadata (RO-Crate) into one zip file, or check one"


def arguments(parser: ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("results", type=Path, nargs="?", help="folder of a preset: results/paper")
    what.add_argument("--check", type=Path, metavar="FILE", help="verify every file of an archive")
    parser.add_argument("--out", type=Path, help="the archive, <preset>.zip by default; never overwritten")
    parser.add_argument(
        "--weights",
        choices=("none", "trained", "all"),
        default="trained",
        help="which networks to pack: none, the trained ones, or also the folded ones and their ONNX files",
    )
    parser.add_argument("--repository", type=Path, help="the clone that has the code; by default this one")


def run(args: Namespace) -> None:
    from ternary_spike.archiving import check

    if args.check:
        print(check.said(args.check, check.check(args.check)))
        return
    from ternary_spike.archiving.packing import pack
    from ternary_spike.archiving.preset import name_of

    out = args.out or Path(f"{name_of(args.results).replace('/', '-')}.zip")
    packed = pack(args.results, out, args.weights, args.repository)
    print(check.said(packed.path, packed.whole))
    print(packed.weights)
    for line in packed.warnings:
        print(f"note: {line}")
