"""Static images as random spikes: the input of the first converted networks."""

import torch
from torch import Generator, Tensor


class PoissonInput:
    """A spike of the pixel's sign with a probability in proportion to the pixel, drawn anew at each timestep.

        s[t] = P sign(p) 1[r <= |p| / P],   r uniform in [0, 1)

    Spikes have the size P, so that their mean over time is the pixel p; with pixels in [-1, 1] and P = 1 they are the
    {-1, 0, 1} of the published networks. P can be folded into the weights behind.

    Args:
        peak: P, the largest |p| there is; a larger pixel would count as P.

    Raises:
        ValueError: if the peak is not above 0.
    """

    def __init__(self, peak: float) -> None:
        if not peak > 0:
            raise ValueError(f"peak must be above 0, not {peak}")
        self.peak = peak

    def __call__(self, x: Tensor, generator: Generator | None) -> Tensor:
        """One timestep's spikes [B, C, H, W] of images x [B, C, H, W]; without a generator torch's global one draws."""
        r = torch.rand(x.shape, dtype=x.dtype, device=x.device, generator=generator)
        # not <= : r may be 0, and a pixel of 0 never spikes by its sign
        return torch.where(r * self.peak < x.abs(), self.peak * x.sign(), 0)


def largest_pixel(mean: tuple[float, ...], std: tuple[float, ...]) -> float:
    """The largest |p| of pixels from 0 to 1 that are normalised to (p - mean) / std, over all channels."""
    return max(max(m, 1 - m) / s for m, s in zip(mean, std, strict=True))
