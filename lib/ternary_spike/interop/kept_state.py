"""What a neuron keeps between timesteps, whatever its form: a tensor, or a tuple of tensors and numbers."""

from collections.abc import Callable

import torch
from torch import Tensor


def each_tensor(kept: object, change: Callable[[Tensor], Tensor]) -> object:
    """The same with every tensor changed; numbers and None stay."""
    if isinstance(kept, Tensor):
        return change(kept)
    if isinstance(kept, tuple):
        parts = [each_tensor(part, change) for part in kept]
        return type(kept)(*parts) if hasattr(kept, "_fields") else tuple(parts)
    return kept


def must_fit(kept: object, timestep: torch.Size, remedy: str) -> None:
    """Refuse a state that was kept from other inputs, the batch before it in most cases.

    Args:
        kept: what the neuron keeps, of any form; a neuron with several membranes has an axis in front. None is at rest.
        timestep: shape of one timestep of the input.
        remedy: what to do, the end of the error's sentence.

    Raises:
        ValueError: if a tensor of more than one element does not end in the timestep's shape.
    """

    def check(part: Tensor) -> Tensor:
        if part.numel() != 1 and part.shape[max(part.dim() - len(timestep), 0) :] != timestep:
            raise ValueError(
                f"the membrane potential kept from before has the shape {tuple(part.shape)}, a timestep of the input "
                f"{tuple(timestep)}: {remedy}"
            )
        return part

    each_tensor(kept, check)
