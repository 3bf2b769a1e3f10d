"""The verb ``list``."""

from argparse import ArgumentParser, Namespace

HELP = "list what is registered: neurons, normalisations, architectures, methods, surrogates, datasets, their options"


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--markdown", action="store_true", help="as the tables of docs/parts.md")


def run(args: Namespace) -> None:
    from ternary_spike.cli._parts import kinds, lines, page

    print(
        page() if args.markdown else "\n".join(line for kind, found in kinds().items() for line in lines(kind, found))
    )
