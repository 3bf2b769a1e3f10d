"""Folding a trained network (Eqs. 15-17), running it on its own, comparing, executing, counting and exporting it."""

from ternary_spike.system.lazily import offered

__all__ = ["FoldedNetwork", "fold", "verify"]
__getattr__, __dir__ = offered(__name__, {"FoldedNetwork": "network", "fold": "folding", "verify": "equivalence"})
