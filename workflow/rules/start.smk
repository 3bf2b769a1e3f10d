# Before the configuration is read: the library within reach, and what would otherwise end in a traceback or in silence.
import sys

LIBRARY = f"{workflow.basedir}/lib"
sys.path.insert(0, LIBRARY)

from ternary_spike.planning import settings
from ternary_spike.system.errors import UserError


def stop(message):
    """End the workflow before any work with one line."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


DEFAULTS = f"{workflow.basedir}/config/config.yaml"
try:
    settings.require_plain_folder(workflow.basedir)
    settings.require_plain_file(DEFAULTS)
except UserError as error:
    stop(error)
