"""``python -m ternary_spike``, and the script ``ternary-spike``."""

import sys

from ternary_spike.cli import SHORT, main
from ternary_spike.system import warm


def start() -> None:
    """Run the command line of this process, by the warm interpreter where there is one for its verb."""
    status = warm.call(sys.argv[1:]) if len(sys.argv) > 1 and sys.argv[1] in SHORT else None
    if status is None:
        main()
    else:
        sys.exit(status)


if __name__ == "__main__":
    start()
