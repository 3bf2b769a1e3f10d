"""``python -m ternary_spike``."""

from ternary_spike.cli import main

main()
