"""Downloads: a library's own, with its progress bar and checksums, and one line for whatever goes wrong."""

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from ternary_spike.system.errors import UserError


@contextmanager
def _confined() -> Iterator[None]:
    """Python's own filter for archives of data, which is the default from Python 3.14 on; zipfile needs none."""
    before = getattr(tarfile.TarFile, "extraction_filter", None)
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before


@contextmanager
def fetching(dataset: str, url: str, root: Path) -> Iterator[None]:
    """Around a library's download: whatever goes wrong on the network or the disk becomes one UserError.

    Libraries unpack archives as they are; here no member of one may leave its folder, by its name or by a link.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _confined():
            yield
    # libraries raise RuntimeError for a wrong checksum, BadZipFile and TarError for a cut-off archive, EOFError and
    # zlib.error for one damaged inside; URLError and time-outs are OSErrors
    except (OSError, RuntimeError, EOFError, HTTPException, zipfile.BadZipFile, tarfile.TarError, zlib.error) as error:
        problem = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{dataset} could not be downloaded from {url} to {root} ({problem}); run `download` again, on a machine "
            "with network access and room on its disk"
        ) from None
