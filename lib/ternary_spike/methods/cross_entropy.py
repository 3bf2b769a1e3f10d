"""The paper's way to train."""

from ternary_spike.methods.base import Method


class CrossEntropy(Method):
    """Cross-entropy of the class scores' mean over time, by back-propagation through time: every hook's default."""
