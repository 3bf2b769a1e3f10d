"""What a network, trained or folded, can be given: the checks that both have in common."""

from torch import Tensor


def check_input(x: Tensor, in_channels: int, timesteps: int) -> None:
    """Raise ValueError unless x is [B, C, H, W] or [B, T, C, H, W] with the network's C and T, in floating point."""
    if x.dim() not in (4, 5):
        raise ValueError(f"the input must be [B, C, H, W] or [B, T, C, H, W], but its shape is {tuple(x.shape)}")
    if x.shape[-3] != in_channels:
        raise ValueError(f"the network takes {in_channels} channels, but the input has {x.shape[-3]}")
    if x.dim() == 5 and x.shape[1] != timesteps:
        raise ValueError(f"the network has {timesteps} timesteps, but the input has {x.shape[1]} frames")
    if not x.is_floating_point():
        name = str(x.dtype).removeprefix("torch.")
        raise ValueError(f"the input must be floating-point numbers, not {name}; give x.float(), normalised")


def require_finite(x: Tensor) -> None:
    """Raise ValueError if a number is infinite or NaN, where comparisons would take NaN for a silent neuron."""
    if not x.isfinite().all():
        raise ValueError("the input is not finite: it holds NaN or infinite numbers; prepare the data again")
