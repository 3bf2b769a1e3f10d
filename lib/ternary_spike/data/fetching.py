"""Downloads: a library's own, with its progress bar and checksums, and one line for whatever goes wrong."""

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from ternary_spike.errors import UserError


@contextmanager
def fetching(dataset: str, url: str, root: Path) -> Iterator[None]:
    """Around a library's download: whatever goes wrong on the network or the disk becomes one UserError."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        yield
    # libraries raise RuntimeError for a wrong checksum, BadZipFile and TarError for a cut-off archive, EOFError and
    # zlib.error for one damaged inside; URLError and time-outs are OSErrors
    except (OSError, RuntimeError, EOFError, HTTPException, zipfile.BadZipFile, tarfile.TarError, zlib.error) as error:
        problem = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{dataset} could not be downloaded from {url} to {root} ({problem}); run `download` again, on a machine "
            "with network access and room on its disk"
        ) from None
