"""The one place through which every convolution goes: around a fault of the library that torch computes them with.

oneDNN, in torch 2.10 to 2.14, writes outside of its memory in the backward pass of a strided 1x1 convolution in
channels-last whose input has fewer channels than a vector register holds floats (docs/known-faults.md). The process
dies, or goes on with damaged numbers. Such a convolution is computed here from every s-th pixel, without a stride.
"""

import os

import torch
from torch import Tensor
from torch.nn import functional as F

# 8 with AVX2 and 16 with AVX-512. Also 16 where ATEN_CPU_CAPABILITY keeps torch from using all of the processor: oneDNN
# does not read that variable, so the processor may be one with AVX-512 although torch says AVX2
_is_avx2 = torch.backends.cpu.get_cpu_capability() == "AVX2" and "ATEN_CPU_CAPABILITY" not in os.environ
FLOATS_IN_A_REGISTER = 8 if _is_avx2 else 16


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | str = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    """What :func:`torch.nn.functional.conv2d` computes, on every processor.

    Args:
        x: [N, C, H, W].
        weight: [C', C / groups, k, k'].
        bias: [C'], or None.
        stride, padding, dilation, groups: as torch's.

    Returns:
        [N, C', H', W'], bit for bit torch's wherever that is safe.
    """
    if _is_unsafe(x, weight, stride, padding):
        down, right = (stride, stride) if isinstance(stride, int) else stride
        x, stride = x[..., ::down, ::right], 1
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)


def _is_unsafe(x: Tensor, weight: Tensor, stride: int | tuple[int, int], padding: int | tuple[int, int] | str) -> bool:
    """Whether this is a convolution with the fault; to change the others too would move the last bits of some."""
    return (
        x.device.type == "cpu"
        and tuple(weight.shape[2:]) == (1, 1)
        and stride not in (1, (1, 1))
        and padding in (0, (0, 0), "valid")
        and weight.shape[1] < FLOATS_IN_A_REGISTER
        and not _is_plain(x, weight)
    )


def _is_plain(x: Tensor, weight: Tensor) -> bool:
    """Whether both lie in memory channel by channel for certain, so that torch will not take them as channels-last.

    Strides tell the two orders apart where sizes of one let ``is_contiguous`` say yes to both.
    """
    return x.is_contiguous() and x.stride(1) != 1 and weight.is_contiguous() and weight.stride(3) == 1
