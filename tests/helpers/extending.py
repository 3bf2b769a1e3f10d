"""The worked examples of docs/extending.md, taken from the page as they stand there."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "extending.md"


def blocks(kind: str) -> list[str]:
    """The page's blocks of code in one language."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def write_files(folder: Path) -> None:
    """Write every block whose first line names a file, and the package's __init__.py."""
    for block in [block for kind in ("python", "yaml", "csv") for block in blocks(kind)]:
        path = folder / re.match(r"# (\S+)\n", block)[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
    (folder / "plugins" / "mypackage" / "__init__.py").touch()


def commands() -> list[list[str]]:
    """The words behind ``python -m ternary_spike`` in the page's commands."""
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[3:] for line in lines if line.startswith("python -m ternary_spike")]
