"""Batch normalisation through time, over one process or several."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ternary_spike.models.layers import over_time


def shared_moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [C], variance [C] and number of values a channel of the parts of all processes; gradients flow through.

    Args:
        x: this process's part of the batch, [N, C, H, W].
    """
    from torch.distributed.nn.functional import all_reduce

    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    size = wide.new_full((1,), wide.numel() // wide.shape[1])  # made on the device, not copied there
    summed = all_reduce(torch.cat([wide.sum((0, 2, 3)), size]))
    n = summed[-1].detach()
    mean = summed[:-1] / n
    return mean, all_reduce((wide - mean.view(1, -1, 1, 1)).square().sum((0, 2, 3))) / n, n


@torch.no_grad()
def _move(running_mean: Tensor, running_var: Tensor, mean: Tensor, variance: Tensor, n: Tensor, momentum: float):
    """Move running statistics as torch's batch norm does."""
    running_mean.lerp_(mean.to(running_mean.dtype), momentum)
    running_var.lerp_((variance * n / (n - 1)).to(running_var.dtype), momentum)


def synchronised_batch_norm(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor,
    bias: Tensor,
    momentum: float,
    eps: float,
) -> Tensor:
    """Batch normalisation in training with the statistics of all processes, which may hold parts of unequal size.

    Args:
        x: this process's part of the batch, [N, C, H, W].
        running_mean, running_var: [C], moved alike in every process.
        weight, bias: [C].
        momentum, eps: as of torch's batch norm.

    Returns:
        The normalised part [N, C, H, W]; gradients flow to every process's part.
    """
    mean, variance, n = shared_moments(x)
    _move(running_mean, running_var, mean, variance, n, momentum)
    scale = weight * torch.rsqrt(variance + eps)
    return ((x - mean.view(1, -1, 1, 1)) * scale.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)).to(x.dtype)


def synchronised_batch_norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, mean: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`synchronised_batch_norm`, written out by hand.

    Args:
        grad: of this process's part of the output, [N, C, H, W].
        x: its part of the input.
        weight: [C].
        mean, inverse: [C], of all processes' parts, and 1 / sqrt(variance + eps).

    Returns:
        The gradients of x, in its dtype and order in memory, and of weight and bias, this process's share [C].
    """
    grad = grad.to(mean.dtype)
    normalised = (x - mean.view(1, -1, 1, 1)) * inverse.view(1, -1, 1, 1)
    of_bias, of_weight = grad.sum((0, 2, 3)), (grad * normalised).sum((0, 2, 3))
    summed = torch.cat([of_bias, of_weight, mean.new_full((1,), x.numel() // x.shape[1])])
    torch.distributed.all_reduce(summed)
    shift, slope = (summed[:-1] / summed[-1]).view(2, 1, -1, 1, 1)
    grad_x = (grad - shift - normalised * slope) * (weight.to(mean.dtype) * inverse).view(1, -1, 1, 1)
    return grad_x.to(x.dtype), of_weight.to(weight.dtype), of_bias.to(weight.dtype)


def _over_processes(n: int, device: torch.device) -> Tensor:
    """The sum of every process's n."""
    # float64 counts exactly; on the device from which the processes exchange tensors
    total = torch.full((), float(n), dtype=torch.float64, device=device)
    torch.distributed.all_reduce(total)
    return total


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation on [T, B, C, H, W].

    Args:
        channels: C.
        per_step: if True each timestep is normalised with statistics of its own and moves the running statistics in
            turn (the authors' stem); if False time, batch and space are one population (the authors' blocks).
        branches: what is added up in front of the neuron layer, for those who scale by it.

    Attributes:
        synchronised: whether training takes its statistics over all processes of a distributed run.
    """

    def __init__(self, channels: int, per_step: bool = False, branches: int = 1) -> None:
        super().__init__(channels)
        self.per_step = per_step
        self.synchronised = False

    def forward(self, x: Tensor, timesteps: int | None = None) -> Tensor:
        """The normalised input, in its shape: [T, B, C, H, W], or with ``timesteps`` as of :meth:`repeated`."""
        if timesteps is not None:
            return self.repeated(x, timesteps)
        if self.per_step and self.training:
            return torch.stack([self._normalise(step) for step in x.unbind(0)])
        return over_time(self._normalise, x)

    @property
    def gain(self) -> Tensor:
        """gamma: what a normalised value is multiplied by, [C]; gradients flow through.

        A normalisation that scales in another way overrides this alone; the fused pass and the fold ask it too.
        """
        return self.weight

    @torch.no_grad()
    def gain_in_float64(self) -> Tensor | None:
        """The gain that this module has once it is in float64, [C]; None where there is none.

        A gain that is computed, as a factor times a weight, is rounded to the weight's dtype. To convert the result
        would keep that rounding, which a network in float64 does not have: enough for a spike in some millions.
        """
        return deepcopy(self).double().gain

    @property
    def plain(self) -> bool:
        """Whether it has all that our constructor gives it: without, it is computed by torch's own method alone."""
        parts = (self.weight, self.bias, self.running_mean, self.running_var, self.momentum)
        return self.track_running_stats and all(part is not None for part in parts)

    def _normalise(self, x: Tensor) -> Tensor:
        """One population [N, C, H, W]."""
        if not (self.training and self.synchronised):
            return self._own(x)
        self.num_batches_tracked += 1
        return self._trained(x, self.running_mean, self.running_var, self.momentum, self.eps)

    def _own(self, x: Tensor) -> Tensor:
        """One population [N, C, H, W] as torch's own method computes it, with :attr:`gain`."""
        gain = self.gain
        if gain is self.weight:
            return super().forward(x)
        if self.training:
            self.num_batches_tracked += 1
        running = self.running_mean, self.running_var
        return F.batch_norm(x, *running, gain, self.bias, self.training, self.momentum, self.eps)

    def _trained(self, x: Tensor, mean: Tensor, variance: Tensor, momentum: float, eps: float) -> Tensor:
        if self.synchronised:
            return synchronised_batch_norm(x, mean, variance, self.gain, self.bias, momentum, eps)
        return F.batch_norm(x, mean, variance, self.gain, self.bias, True, momentum, eps)

    def repeated(self, x: Tensor, timesteps: int) -> Tensor:
        """What :meth:`forward` does to a static input repeated at each timestep, computed once.

        Args:
            x: [B, C, H, W], the same at each timestep.
            timesteps: T.

        Returns:
            One timestep's output [B, C, H, W]; every timestep's is the same. Running statistics move exactly as they
            would for the repeated input.
        """
        if not self.training:
            return self._own(x)
        if not self.plain:
            return self.forward(x.expand(timesteps, *x.shape))[0]
        return self._moving_repeated(x, timesteps, lambda *running: self._trained(x, *running))

    @torch.no_grad()
    def statistics(self, x: Tensor, timesteps: int) -> tuple[Tensor, Tensor]:
        """Batch mean and 1 / sqrt(variance + eps) as :meth:`forward` uses them in training; moves running statistics.

        Args:
            x: [T, B, C, H, W], or [B, C, H, W] for an input that is the same at each of the timesteps.
            timesteps: T.

        Returns:
            Two tensors [P, C], P populations: T if each step is one of x's and normalised on its own, else 1.

        Raises:
            ValueError: if a population has one value a channel, which has no variance.
        """
        values = x.numel() // x.shape[-3] // (len(x) if x.dim() == 5 and self.per_step else 1)
        if values == 1 and not self.synchronised:
            raise ValueError(
                f"batch norm needs more than one value a channel in training, but its input is {tuple(x.shape)}: "
                "use a larger batch"
            )
        if x.dim() == 4:
            parts = [self._moving_repeated(x, timesteps, lambda *running: self._moments(x, *running[:3]))]
        else:
            populations = x.unbind(0) if self.per_step else [x.flatten(0, 1)]
            parts = [self._moments(p, self.running_mean, self.running_var, self.momentum) for p in populations]
            self.num_batches_tracked += len(parts)
        if len(parts) == 1:
            mean, variance = (statistic.unsqueeze(0) for statistic in parts[0])
        else:
            mean, variance = (torch.stack(statistic) for statistic in zip(*parts, strict=True))
        return mean, (variance + self.eps).rsqrt()

    def _moments(self, x: Tensor, running_mean: Tensor, running_var: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
        """Mean and variance of one population [N, C, H, W], towards which the running statistics move."""
        if not self.synchronised:
            return torch.batch_norm_update_stats(x, running_mean, running_var, momentum)
        mean, variance, n = shared_moments(x)
        _move(running_mean, running_var, mean, variance, n, momentum)
        return mean, variance

    def _moving_repeated(self, x: Tensor, timesteps: int, normalise: Callable):
        """Call normalise(running mean, running variance, momentum, eps) so that they move as by T repetitions of x."""
        mean, variance = self.running_mean.clone(), self.running_var.clone()
        # T updates towards the same statistics are one update with a larger momentum
        momentum = 1 - (1 - self.momentum) ** timesteps if self.per_step else self.momentum
        result = normalise(mean, variance, momentum, self.eps)
        if self.per_step:
            self.num_batches_tracked += timesteps
        else:
            # the unbiased variance of T copies divides by n T - 1, that of one copy by n - 1
            n = x.numel() // x.shape[1]
            if self.synchronised:
                n = _over_processes(n, x.device)
            kept = (1 - momentum) * self.running_var
            variance = kept + (variance - kept) * ((n - 1) / n * (n * timesteps) / (n * timesteps - 1))
            self.num_batches_tracked += 1
        self.running_mean.copy_(mean)
        self.running_var.copy_(variance)
        return result
