"""``python -m ternary_spike``."""

import sys

from ternary_spike.cli import SHORT, main
from ternary_spike.system import warm

status = warm.call(sys.argv[1:]) if len(sys.argv) > 1 and sys.argv[1] in SHORT else None
if status is None:
    main()
else:
    sys.exit(status)
