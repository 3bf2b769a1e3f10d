"""Ternary spiking neurons and a reproduction of "Ternary Spike" (Guo et al., AAAI 2024).

Importing this package needs torch and nothing of the workflow; torch itself is imported only when a neuron or a network
is asked for, so that the stages that read small files start at once.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "LIF": "neurons",
    "BinaryLIF": "neurons",
    "SpikingResNet": "models",
    "TernaryLIF": "neurons",
    "TrainableTernaryLIF": "neurons",
    "UserError": "errors",
    "make_neuron": "neurons",
}
__all__ = ["LIF", "BinaryLIF", "SpikingResNet", "TernaryLIF", "TrainableTernaryLIF", "UserError", "make_neuron"]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
