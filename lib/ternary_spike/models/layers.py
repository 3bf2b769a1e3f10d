"""Layers that act on every timestep alike, with time folded into the batch.

Tensors through time are [T, B, C, H, W]; folding them to [T*B, C, H, W] is a view and lets one kernel do all timesteps.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from ternary_spike.models.convolution import conv2d


def over_time(operation: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply an operation on [N, ...] to [T, B, ...] by folding time into the batch; returns [T, B, ...]."""
    return operation(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Conv2d(nn.Conv2d):
    """A convolution without bias (batch norm follows) on [T, B, C, H, W], or on a static [B, C, H, W]."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.dim() == 4 else over_time(super().forward, x)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """What torch's forward calls with a batch [N, C, H, W]."""
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = F.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode), (0, 0)
        return conv2d(x, weight, bias, self.stride, padding, self.dilation, self.groups)


class AvgPool2d(nn.AvgPool2d):
    """Average pooling on [T, B, C, H, W]. Its output is an average of spikes: linear, but not ternary."""

    def forward(self, x: Tensor) -> Tensor:
        return over_time(super().forward, x)

    def fold(self, folder, name: str, source: str) -> str:
        """Pooling passes an amplitude through to what is behind it: pool(a b) = a pool(b)."""
        return folder.pool(name, self, source)
