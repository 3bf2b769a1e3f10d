"""Other libraries' parts as oracles and as hosts of our neurons, where the bench extra is installed."""

from types import ModuleType

import pytest


def spikingjelly(name: str) -> ModuleType:
    """A module of its activation-based half, such as "neuron"; the test is skipped where SpikingJelly is absent."""
    return pytest.importorskip(f"spikingjelly.activation_based.{name}", reason="spikingjelly (bench extra) is absent")


def snntorch(name: str = "snntorch") -> ModuleType:
    """snnTorch, or one of its modules, such as "snntorch.utils"; the test is skipped where it is absent."""
    return pytest.importorskip(name, reason="snntorch (bench extra) is absent")


def norse() -> ModuleType:
    """Norse's torch half; the test is skipped where it is absent."""
    return pytest.importorskip("norse.torch", reason="norse (bench extra) is absent")
