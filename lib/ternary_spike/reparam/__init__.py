"""Folding a trained network (Eqs. 15-17), running it on its own, comparing, executing, counting and exporting it."""
