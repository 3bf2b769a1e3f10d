# Before the configuration is read: the repository and its library within reach, and what would otherwise end in a
# traceback or in silence.
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.sourcecache import LocalSourceFile
from snakemake.utils import update_config


def repository():
    """The folder that holds workflow/ and lib/, also where another workflow imports this one."""
    rules = workflow.current_basedir
    if isinstance(rules, LocalSourceFile):
        return str(Path(str(rules.path)).parents[1])
    # of a git host, Snakemake has a clone without files, and takes single ones out of it; jobs need the whole library
    hosted = getattr(rules, "hosted_repo", None)
    clone = rules.repo_path if hosted is None else hosted.repo_clone
    return str(checked_out(Path(clone).absolute(), rules.ref))


def checked_out(clone, ref):
    """The files of a clone at a tag, branch or commit, in the folder where Snakemake keeps others' sources."""

    def git(*words):
        done = subprocess.run(["git", *map(str, words)], capture_output=True, text=True)
        if done.returncode:
            said = " ".join(done.stderr.split()) or f"status {done.returncode}"
            stop(f"{clone} at {ref}: git could not check it out: {said}")
        return done.stdout.strip()

    commit = git("-C", clone, "rev-parse", f"{ref}^{{commit}}")
    folder = Path(workflow.sourcecache.cache_path) / "ternary-spike" / commit
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            made = Path(temporary) / commit
            git("clone", "--quiet", "--shared", "--no-checkout", clone, made)
            git("-C", made, "checkout", "--quiet", "--detach", commit)
            with suppress(OSError):  # another call was first
                made.rename(folder)
    return folder


def stop(message):
    """End the workflow before any work with one line."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def over_defaults(given):
    """A configuration laid over the defaults: to a module, Snakemake gives its importer's and reads no file."""
    laid = load_configfile(DEFAULTS)
    update_config(laid, given)
    return laid


REPOSITORY = repository()
LIBRARY = f"{REPOSITORY}/lib"
sys.path.insert(0, LIBRARY)

from ternary_spike.planning import settings
from ternary_spike.system import room
from ternary_spike.system.errors import UserError


def require_room_in(folder):
    """End a call on a full disk with a line that names it: Snakemake would end in a traceback that does not."""
    if workflow.is_main_process:
        try:
            room.require_room(Path(folder))
        except UserError as error:
            stop(error)


# before Snakemake has anything to write into its log
require_room_in(".snakemake")

# whether another workflow imports this one as a module
IN_MODULE = not workflow.modifier.is_main_snakefile()
DEFAULTS = f"{REPOSITORY}/config/config.yaml"
try:
    settings.require_plain_folder(REPOSITORY)
    settings.require_plain_file(DEFAULTS)
except UserError as error:
    stop(error)
