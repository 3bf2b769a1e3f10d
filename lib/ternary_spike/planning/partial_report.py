"""After a failure: what failed is said and recorded, and the report is made anew of all that is finished.

A report that cannot be made anew would pass for one of what the user has just seen fail. So its front page then says
that it is older, or is taken away where not even that can be written.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from ternary_spike.planning import failures
from ternary_spike.planning.run import Run
from ternary_spike.system.errors import UserError

FRONT_PAGE = "report/index.html"
ASIDE = "report/index-of-an-earlier-call.html"
CONTENT = '<main id="content">'
NOTICE = '<p role="alert" class="outdated"><strong>{}</strong></p>'


def after_failure(plan: Iterable[Run], results: Path, settings: str, command: Sequence[str]) -> bool:
    """Say what failed, record it, and run the command that makes the report; whatever goes wrong is said in one line.

    Args:
        plan: all runs.
        results: results/<preset>.
        settings: the configuration as text, written to config.json for the command.
        command: makes the report of what is finished.

    Returns:
        Whether the report is that of what is finished.
    """
    plan = list(plan)
    for line in failures.described(plan, results):
        print(line, file=sys.stderr)
    try:
        failures.record(plan, results)
        if (results / "plan.csv").exists():
            (results / "config.json").write_text(settings + "\n", encoding="utf-8")
            print("Some runs failed; the report of what is finished is being made.", file=sys.stderr)
            status = subprocess.run(command, check=False).returncode
            why = f"the call that makes it ended with status {status}" if status else ""
        else:
            why = f"there is no {results / 'plan.csv'}"
    except UserError as error:
        why = str(error)
    except OSError as error:
        why = f"{error.filename or results}: {error.strerror or error}"
    if not why:
        return True
    older = mark_outdated(results, why)
    print(
        f"error: the report of what is finished could not be made: {why}{f'; {older}' if older else ''}",
        file=sys.stderr,
    )
    return False


def mark_outdated(results: Path, why: str) -> str:
    """Make sure that nobody takes an earlier report for the present one.

    Args:
        results: results/<preset>.
        why: there is no newer one.

    Returns:
        What was done, in words; empty if there is no report.
    """
    page = results / FRONT_PAGE
    if not page.exists():
        return ""
    said = f"This report is of an earlier call. Runs have failed since then, and it could not be made anew: {why}."
    pattern = re.escape(CONTENT) + "(?:" + re.escape(NOTICE).replace(r"\{\}", ".*?") + ")?"
    notice = CONTENT + NOTICE.format(escape(said))
    try:
        times = page.stat()
        before = page.read_text(encoding="utf-8")
        text = re.sub(pattern, lambda _: notice, before, count=1)
        if notice not in text:
            raise OSError("no front page of a report")
        # room for the notice is taken before a byte of the page is touched
        with page.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, len(text.encode()))
            file.write(text.encode())
            file.truncate()
        # the workflow goes by its age, which says that it is of the earlier call
        os.utime(page, ns=(times.st_atime_ns, times.st_mtime_ns))
        return f"{page} is of an earlier call, and says so"
    except OSError:
        page.replace(results / ASIDE)
        return f"that of an earlier call is now {results / ASIDE}"
