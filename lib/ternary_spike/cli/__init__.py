"""The command line, ``ternary-spike VERB``: a verb for each stage of the workflow and for use by hand.

Every module in this folder is a verb, with ``HELP``, ``arguments(parser)`` and ``run(args)``; only the chosen verb's
packages are imported.
"""

import argparse
import ast
import importlib
import importlib.util
import os
import pkgutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import ternary_spike
from ternary_spike.system import mistakes
from ternary_spike.system.errors import UserError

#: what computing imports of others' packages, and what pages do: seconds, which a warm interpreter has spent already
COMPUTING = ("torch", "numpy", "yaml", "safetensors.torch", "tqdm")
PAGES = (
    "pandas",
    "seaborn",
    "matplotlib.backends.backend_pdf",
    "matplotlib.backends.backend_svg",
    "jupytext",
    "nbformat",
    "papermill",
    "black",  # papermill writes the parameters with it
    "jupyter_client.manager",
    "ipykernel.kernelapp",
    "IPython.extensions.storemagic",
    "jinja2",
    "markdown_it",
    "mdit_py_plugins.anchors",
    "mdit_py_plugins.dollarmath",
    "latex2mathml.converter",
    "pygments.formatters",
    "pygments.lexers.python",
)
#: verbs of which a warm interpreter does the work, with what it imports for them
SERVED = {
    **dict.fromkeys(
        ("amplitudes", "energy", "evaluate", "execute", "export", "fold", "trace", "train", "verify"), COMPUTING
    ),
    **dict.fromkeys(("collect", "notebook", "report"), PAGES),
}
SCRIPT = "ternary-spike"  # what an installed package is called by
MISTAKE = 2  # exit status of a user's mistake
INTERRUPTED = 130


def verbs() -> list[str]:
    """The verbs' names, alphabetically."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def _help_of(verb: str) -> str:
    """The HELP string of a verb, without importing the module and its heavy packages."""
    tree = ast.parse((Path(__file__).parent / f"{verb}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "HELP":
            return ast.literal_eval(node.value)
    return ""


def _called() -> str:
    """How the command line was called, for its help."""
    return SCRIPT if Path(sys.argv[0]).stem == SCRIPT else "python -m ternary_spike"


class _Parser(argparse.ArgumentParser):
    """Ends with one line and the usual status where an option is wrong."""

    def error(self, message: str) -> NoReturn:
        sys.exit(_mistake(f"{message}; see {self.prog} --help"))


def main(argv: list[str] | None = None) -> None:
    """Run one verb; a user's mistake ends in one line on standard error and status 2, never in a traceback."""
    argv = sys.argv[1:] if argv is None else argv
    parser = _Parser(prog=_called(), description="Ternary spiking neurons and the reproduction of their paper.")
    parser.add_argument("--version", action="version", version=f"{SCRIPT} {ternary_spike.__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    subparsers = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    chosen = next((word for word in argv if not word.startswith("-")), None)
    debug = "--debug" in argv
    module = None
    if said := mistakes.told_before(argv):
        sys.exit(_mistake(said))
    try:
        for verb in verbs():
            text = _help_of(verb)
            sub = subparsers.add_parser(verb, help=text, description=text)
            if verb == chosen:
                module = importlib.import_module(f"{__name__}.{verb}")
                module.arguments(sub)
        args = parser.parse_args(argv)
        module.run(args)
    except (UserError, ValueError) as error:
        if debug:
            raise
        mistakes.remember(argv, str(error), error)
        sys.exit(_mistake(str(error)))
    except OSError as error:
        if debug:
            raise
        sys.exit(_mistake(f"{error.filename or 'the system'}: {error.strerror or error}"))
    except ModuleNotFoundError as error:
        if debug or (error.name or "").startswith("ternary_spike"):
            raise
        cure = f"install what `{chosen}` needs, {SCRIPT}[stages], or in a checkout what envs/ has"
        sys.exit(_mistake(f"the package {error.name!r} is missing here; {cure}"))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _mistake(message: str) -> int:
    # what a message quotes may come from anywhere, and a terminal would obey it
    line = "error: " + "".join(letter if letter.isprintable() else " " for letter in " ".join(message.split()))
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:  # a log on a full disk; the workflow leaves its terminal open for that
        with suppress(OSError, ValueError):
            os.write(int(os.environ.get("WORKFLOW_TERMINAL", "")), f"{line}\n".encode())
    return MISTAKE
