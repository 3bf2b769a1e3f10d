"""``python -m ternary_spike``, and the script ``ternary-spike``."""

import os
import sys

from ternary_spike.cli import SERVED, main
from ternary_spike.system import warm


def start() -> None:
    """Run the command line of this process, by the warm interpreter where there is one for its verb.

    One of several processes that share a training does its work itself: torchrun has an eye on it.
    """
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    served = verb in SERVED and "RANK" not in os.environ
    status = warm.call(sys.argv[1:], SERVED[verb]) if served else None
    if status is None:
        main()
    else:
        sys.exit(status)


if __name__ == "__main__":
    start()
