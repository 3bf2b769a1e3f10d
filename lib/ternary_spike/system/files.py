"""Reading and writing the project's small files so that a reader never meets half of one, or a damaged one.

A JSON record is sealed: its last key is the SHA-256 of every byte before it, and its first key says so, so that no
change in one place can take the seal away unnoticed. Binary files and CSV have theirs in a record beside them, or in a
list as ``sha256sum`` writes and checks it. Files without any, as earlier versions wrote them, are read as they are.
"""

import csv
import errno
import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ternary_spike.system.errors import UserError

SEAL, SEALED_BY = "seal", "the last key is the SHA-256 of every byte before it"
CHECKSUM = "sha256"
SUMS = "SHA256SUMS"
#: what disks say that lack a feature
LACKING = frozenset(
    {errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.EACCES, errno.EISDIR, errno.EBADF}
)

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
        with temporary.open("rb") as written, _where_the_disk_can():
            os.fsync(written.fileno())
        # mkstemp makes private files; results are for everyone whom the umask lets in
        umask = os.umask(0)
        os.umask(umask)
        with _where_the_disk_can():
            temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
        _settle(path.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; make room or use another folder") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _settle(folder: Path) -> None:
    """Wait until the names in a folder are on the disk: what they replace may be deleted elsewhere right after."""
    with _where_the_disk_can():
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _where_the_disk_can() -> Iterator[None]:
    """Leave out what makes files safer or more open, where their disk does not have it.

    Network disks and those of other systems may keep no permissions, open no folders, or flush neither.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in LACKING:
            raise


@contextmanager
def replaced_together(folder: Path, last: str) -> Iterator[Path]:
    """A temporary folder whose files take their places in ``folder`` once the block is done; none does when it fails.

    Args:
        folder: of the files.
        last: name of the one that vouches for the others. It goes first and comes last, so that it never stands beside
            files that it does not know.

    Raises:
        UserError: if the folder cannot be written or the disk is full; what stood there is left as it was.
    """
    folder = Path(folder)
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{last}.", suffix=".partial", dir=folder))
        yield temporary
        names = sorted(path.name for path in temporary.iterdir() if path.name != last)
        (folder / last).unlink(missing_ok=True)
        for name in [*names, last]:
            (temporary / name).replace(folder / name)
        _settle(folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}; make room or use another folder") from error
    except UserError as error:
        raise UserError(str(error).replace(str(temporary), str(folder))) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Remove what killed processes left of these files unfinished; nobody else may be writing them."""
    for name in names:
        for left in Path(folder).glob(f".{name}.*.partial"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                remove(left)


def require_writable(folder: Path) -> None:
    """Make a folder and try to write into it, so that long work does not end at a folder that takes no results.

    Raises:
        UserError: if it cannot be made or written.
    """
    with replaced(Path(folder) / ".writable"):
        pass
    (Path(folder) / ".writable").unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file if it is there. Raises UserError if it cannot be removed."""
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot replace {path}: {error.strerror}; make its folder writable or use another") from None


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically. Raises UserError as :func:`replaced` does."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, without NaN or infinity (they are not JSON); a mapping is sealed."""
    if not isinstance(content, dict):
        write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
        return
    if taken := content.keys() & {SEAL, CHECKSUM}:
        raise ValueError(f"{path}: the key {min(taken)!r} is the seal's")
    text = json.dumps({SEAL: SEALED_BY, **content}, indent=1, allow_nan=False).removesuffix("\n}")
    write_text(path, text + _seal_of(text.encode()))


def _seal_of(content: bytes) -> str:
    """What closes a sealed record whose other bytes are these."""
    return f',\n "{CHECKSUM}": "{hashlib.sha256(content).hexdigest()}"\n}}\n'


def csv_text(rows: list[dict], columns: Iterable[str] | None = None) -> str:
    """Rows as CSV with these columns, by default the first row's keys; None and a missing value are empty cells."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0] if columns is None else columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_csv(path: Path, rows: list[dict], columns: Iterable[str] | None = None) -> None:
    """Write rows as :func:`csv_text` has them, atomically, where a record beside them will hold their checksum."""
    write_text(path, csv_text(rows, columns))


def write_listed(path: Path, text: str) -> None:
    """Write a text file that no record belongs to, and its checksum beside it: ``sha256sum -c plan.csv.sha256``."""
    path = Path(path)
    with replaced_together(path.parent, own_sums(path).name) as folder:
        write_text(folder / path.name, text)
        write_sums(folder / own_sums(path).name, [folder / path.name])


def require_no_pipe(path: Path) -> None:
    """Raise OSError for what is no file on a disk: opening a pipe would wait for a writer that may never come."""
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "a pipe, a socket or a device, not a file", str(path))


def read_json(path: Path) -> Any:
    """Read a JSON file; of a sealed one every byte is verified, and the seal is left out.

    Raises:
        UserError: if it is missing, unreadable, not JSON, or sealed and no longer what was written.
    """
    try:
        require_no_pipe(path)
        written = Path(path).read_bytes()
        content = json.loads(written.decode("utf-8"), parse_constant=_no_number)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the stage that writes it first") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}); delete it and run its stage again") from None
    if isinstance(content, dict) and content.keys() & {SEAL, CHECKSUM}:
        others = written[: -len(_seal_of(b""))]
        if written != others + _seal_of(others).encode():
            raise UserError(f"{path} was changed after it was written; delete it and run its stage again")
        content = {key: value for key, value in content.items() if key not in (SEAL, CHECKSUM)}
    return content


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


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
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(path)
    if sha256 is not None:
        require_sha256(path, sha256)
    try:
        content = path.read_bytes()  # safetensors itself would map the file into memory, which not every disk can
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return tensors, header.get("__metadata__", {})
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the stage that writes it first") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is no whole safetensors file ({error}); delete it and run its stage again") from None


def write_sums(path: Path, files: Iterable[Path]) -> None:
    """List the checksums of files in the folder of ``path``, as ``sha256sum`` does. Raises UserError as files do."""
    write_text(path, "".join(f"{sha256_of(file)}  {file.name}\n" for file in files))


def require_listed(path: Path, sums: Path | None = None) -> None:
    """Raise UserError if a file is not the one that its list of checksums names, by default the one of its own.

    A file without a list, as earlier versions left it, is taken as it is.
    """
    path = Path(path)
    sums = own_sums(path) if sums is None else sums
    if not sums.exists():
        return
    try:
        require_no_pipe(sums)
        lines = sums.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{sums} cannot be read ({error}); delete it and run its stage again") from None
    if f"{sha256_of(path)}  {path.name}" not in lines:
        raise UserError(f"{path} is not the file that {sums.name} lists; delete both and run their stage again")


def own_sums(path: Path) -> Path:
    """The list of checksums of a file that has one of its own."""
    return path.with_name(f"{path.name}.{CHECKSUM}")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises UserError if it cannot be read."""
    try:
        require_no_pipe(path)
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
