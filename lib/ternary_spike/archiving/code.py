"""What git has: the repository that the running code belongs to, its commit, and the files of any commit of it."""

import io
import re
import subprocess
import tarfile
from pathlib import Path

from ternary_spike.system.errors import UserError

#: what every commit's folder would repeat: results that are kept with the repository lie with the newest one's code
REPEATED = "results"


def repository(folder: Path | None = None) -> Path:
    """The checkout that holds a folder, by default the running code's, or else the working directory's.

    Raises:
        UserError: if there is none, or it is none of this project's.
    """
    for place in [Path(__file__).parent, Path.cwd()] if folder is None else [Path(folder)]:
        try:
            found = Path(_git(place, "rev-parse", "--show-toplevel").decode().rstrip("\n"))
        except UserError:
            continue
        if (found / "lib" / "ternary_spike").is_dir() and (found / "workflow" / "Snakefile").exists():
            return found
    raise UserError(
        f"{folder or Path.cwd()} is no clone of this repository, so the code cannot be packed; "
        "name one by --repository PATH"
    )


def clean_commit(folder: Path) -> str:
    """The commit of a checkout.

    Raises:
        UserError: if tracked files differ from it: what is packed would not be what made the results.
    """
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no").decode().splitlines()
    if changed:
        raise UserError(
            f"{folder}: {changed[0][3:]}{f' and {len(changed) - 1} more' if len(changed) > 1 else ''} differ from the "
            "commit, and an archive has the code of commits alone; commit them or `git stash` them first"
        )
    return _git(folder, "rev-parse", "HEAD").decode().strip()


def date(folder: Path, commit: str) -> str:
    """When a commit was made, ISO 8601."""
    return _git(folder, "show", "--no-patch", "--format=%cI", commit).decode().strip()


def tracked(folder: Path, path: Path) -> bool:
    """Whether all of a file or folder belongs to a checkout."""
    try:
        path = path.resolve().relative_to(folder.resolve())
    except ValueError:
        return False
    others = _git(folder, "ls-files", "--others", "--exclude=__pycache__", "--", str(path))
    return bool(_git(folder, "ls-files", "--", str(path))) and not others


def tree(folder: Path, commit: str, whole: bool) -> dict[str, bytes]:
    """The files of a commit by their path; without ``whole``, without the results that came with it.

    Raises:
        UserError: if the checkout does not have that commit, or it is none.
    """
    if not re.fullmatch("[0-9a-f]{7,64}", commit):  # git would take a name that begins with - for an option
        raise UserError(f"a run of this preset names {commit!r} as its commit, which is none; train it again")
    without = [] if whole else ["--", ".", f":(exclude){REPEATED}"]
    try:
        packed = _git(folder, "archive", "--format=tar", commit, *without)
    except UserError:
        raise UserError(
            f"commit {commit}, whose code made runs of this preset, is not in {folder}; "
            "fetch it (`git fetch --unshallow`, or from the clone that trained), then archive again"
        ) from None
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}


def _git(folder: Path, *arguments: str) -> bytes:
    """What git answers in a folder. Raises UserError with its own words."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=False)
    except OSError as error:
        raise UserError(f"git cannot be run ({error.strerror}); the code is packed by it") from None
    if done.returncode:
        raise UserError(f"{folder}: {done.stderr.decode(errors='replace').strip() or 'git failed'}")
    return done.stdout
