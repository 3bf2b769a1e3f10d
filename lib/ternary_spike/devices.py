"""Which device a stage runs on."""

import torch

from ternary_spike.errors import UserError


def choose(name: str) -> torch.device:
    """The device behind ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.

    Raises:
        UserError: if a GPU is asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; use --device auto or cpu")
    return torch.device(name)
