"""Which spelling of the membrane's equations is computed: the one place that decides."""

from types import ModuleType

import torch

from ternary_spike.membrane import dynamics, in_place


def equations() -> ModuleType:
    """The paper's spelling (dynamics.py) for a compiler, ours or a user's; the one in place where there is none.

    Both have ``fire``, ``integrate``, ``spike_derivative``, ``spikes`` and ``gradients``, which take and give the same.
    """
    return dynamics if torch.compiler.is_compiling() else in_place
