"""SpikingJelly's parts as oracles: what others wrote of the same papers, where the bench extra is installed."""

from types import ModuleType

import pytest


def spikingjelly(name: str) -> ModuleType:
    """A module of its activation-based half, such as "neuron"; the test is skipped where SpikingJelly is absent."""
    return pytest.importorskip(f"spikingjelly.activation_based.{name}", reason="spikingjelly (bench extra) is absent")
