"""Reading and writing the project's small files so that a reader never meets half of one."""

import csv
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ternary_spike.errors import UserError

if TYPE_CHECKING:  # the stages that read small files only must not wait for torch
    from torch import Tensor


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name once the block is done, or is removed when it fails.

    Raises:
        UserError: if the folder cannot be written or the disk is full; what stood at ``path`` is left as it was.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes private files; results are for everyone whom the umask lets in
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; make room or use another folder") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Make a folder and try to write into it, so that long work does not end at a folder that takes no results.

    Raises:
        UserError: if it cannot be made or written.
    """
    with replaced(Path(folder) / ".writable"):
        pass
    (Path(folder) / ".writable").unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically. Raises UserError as :func:`replaced` does."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, without NaN or infinity (they are not JSON)."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write rows with the same keys as CSV, atomically; None becomes an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: if it is missing, unreadable or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the stage that writes it first") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}); delete it and run its stage again") from None


def write_tensors(path: Path, tensors: "dict[str, Tensor]", metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically."""
    from safetensors.torch import save

    # serialised in memory first: a full disk then shows as an OSError of the plain write
    content = save({name: t.detach().contiguous().cpu() for name, t in tensors.items()}, metadata)
    with replaced(path) as temporary:
        temporary.write_bytes(content)


def read_tensors(path: Path, sha256: str | None = None) -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Read a safetensors file; no pickled code is ever run.

    Args:
        path: the file.
        sha256: expected checksum, verified if given.

    Returns:
        The tensors and the metadata.

    Raises:
        UserError: if the file is missing, corrupt, or its checksum is another one.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if sha256 is not None:
        require_sha256(path, sha256)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the stage that writes it first") from None
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is no whole safetensors file ({error}); delete it and run its stage again") from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises UserError if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def require_sha256(path: Path, expected: str) -> None:
    """Raise UserError if a file's checksum is not the expected one."""
    actual = sha256_of(path)
    if actual != expected:
        raise UserError(
            f"{path} is not the file that was recorded: its sha256 is {actual[:16]}…, expected {expected[:16]}…; "
            "delete it and run its stage again"
        )
