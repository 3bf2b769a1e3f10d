"""Batch norm, shortcut and neuron as one operation in training: it keeps the convolution's output and nothing else.

    x[t] = gamma (y[t] - mean) / sqrt(variance + eps) + beta (+ shortcut[t]),   then the neuron of dynamics.py

The backward pass computes the normalised current, its sum with the shortcut and the membrane potential again. What a
loss takes of the potentials (potential_terms.py) is added up in the same passes, and pulls in them. The batch
statistics and the gradient through them are torch's own kernels. Everything in between is done to an element at once,
in one pass over memory.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from ternary_spike.membrane import backends
from ternary_spike.membrane.dynamics import Dynamics, membrane_dtype
from ternary_spike.membrane.kernel import Kernel
from ternary_spike.membrane.multi_step import shared_curve
from ternary_spike.membrane.potential_terms import slope, value
from ternary_spike.membrane.spelling import equations
from ternary_spike.membrane.surrogate import Curve
from ternary_spike.models.batch_norm import BatchNorm2d, synchronised_batch_norm_backward
from ternary_spike.models.known_modules import computes_as, has_forward_of
from ternary_spike.neurons.base import SpikingNeuron


def normalise_and_fire(bn: BatchNorm2d, neuron, y: Tensor, shortcut: Tensor | None = None) -> Tensor:
    """Spikes of ``neuron(bn(y) + shortcut)``, as one operation where that changes nothing that anybody could see.

    In evaluation, or where a hook waits for a layer's input or output, the modules are called one by one. The current
    between them stays in batch norm's dtype, so that the spikes are the same either way.

    Args:
        bn: batch norm of C channels.
        neuron: the neuron layer (or what stands in for it).
        y: convolution's output [T, B, C, H, W].
        shortcut: what is added to the normalised output [T, B, C, H, W], or None.

    Returns:
        Spikes [T, B, C, H, W].
    """
    if _fusible(bn, neuron):
        return _fused(bn, neuron, y, shortcut, y.shape[0])
    current = bn(_as_wide_as(bn, y))
    return neuron(current if shortcut is None else current + shortcut).to(y.dtype)


def normalise_and_fire_static(bn: BatchNorm2d, neuron, y: Tensor, timesteps: int) -> Tensor:
    """The same for an output y [B, C, H, W] that is the same at each of the timesteps; spikes [T, B, C, H, W]."""
    if _fusible(bn, neuron):
        return _fused(bn, neuron, y, None, timesteps)
    current = _as_wide_as(bn, y)
    if has_forward_of(bn, BatchNorm2d):
        current = bn(current, timesteps=timesteps)
        current = current.expand(timesteps, *current.shape)
    else:
        current = bn(current.expand(timesteps, *current.shape))
    return neuron(current).to(y.dtype)


def _as_wide_as(bn: nn.Module, y: Tensor) -> Tensor:
    """y in the dtype of batch norm's parameters: autocast would round the normalised current to the convolution's."""
    wide = next(bn.parameters(), y).dtype  # what stands in for a batch norm may have none
    return y.to(wide)


def _fusible(bn, neuron) -> bool:
    """Whether the fused operation computes what these two modules do, and nobody waits for what is in between."""
    channels = bn.num_features if isinstance(bn, nn.BatchNorm2d) else None
    return (
        not torch.compiler.is_compiling()  # under a user's torch.compile the compiler does the fusing
        and computes_as(bn, BatchNorm2d)
        and bn.plain
        and bn.training
        and isinstance(neuron, SpikingNeuron)
        and has_forward_of(neuron, SpikingNeuron)
        and neuron.kernel is not None
        and neuron.observer is None
        and neuron.training
        and (neuron.amplitude is None or neuron.amplitude.numel() == 1 or neuron.amplitude.shape == (channels, 1, 1))
        and not _has_any_global_hook()
        and not any(
            m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks for m in (bn, neuron)
        )
    )


def _fused(bn: BatchNorm2d, neuron: SpikingNeuron, y: Tensor, shortcut: Tensor | None, timesteps: int) -> Tensor:
    mean, inverse = bn.statistics(y.detach(), timesteps)
    gauge = neuron.gauge
    spikes, *means = _NormalisedMultiStep.apply(
        y,
        shortcut,
        bn.gain,
        bn.bias,
        neuron.amplitude,
        mean,
        inverse,
        bn.eps,
        neuron.kernel,
        timesteps,
        bn.synchronised,
        neuron.temperature,
        gauge.terms if gauge else (),
    )
    if gauge:
        gauge.tell(dict(zip(gauge.terms, means, strict=True)))
    return spikes


def _currents(
    y: Sequence[Tensor],
    shortcut: Sequence[Tensor] | None,
    scale: Tensor,
    shift: Tensor,
    has_shortcut: Tensor | None,
) -> list[Tensor]:
    """The neuron's input current of each timestep. Where has_shortcut says False, the shortcut is a stand-in."""
    dtype = membrane_dtype(y[0])
    currents = [step.to(dtype) * scale[t] + shift[t] for t, step in enumerate(y)]
    if shortcut is None:
        return currents
    added = [step.to(dtype) for step in shortcut]
    if has_shortcut is not None:
        added = [torch.where(has_shortcut, step, 0.0) for step in added]
    return [current + step for current, step in zip(currents, added, strict=True)]


def normalised_forward(
    dynamics: Dynamics, terms: tuple[str, ...] = (), *, y, shortcut, scale, shift, amplitude, has_shortcut=None
) -> tuple[dict, dict]:
    """The kernel of the forward pass: output ``spikes``, and of each term its sum over time, with one timestep."""
    currents = _currents(y, shortcut, scale, shift, has_shortcut)
    potentials: list[Tensor] | None = [] if terms else None
    emitted, _ = equations().spikes(currents, None, amplitude, dynamics, keep_state=False, potentials=potentials)
    outputs = {"spikes": [b.to(y[0].dtype) for b in emitted]}
    for name in terms:
        outputs[name] = [functools.reduce(torch.add, [value(name, u, dynamics.signed) for u in potentials or ()])]
    return outputs, {}


def normalised_backward(
    dynamics: Dynamics,
    terms: tuple[str, ...] = (),
    amplitude_by_channel: bool = False,
    *,
    y,
    grad_spikes,
    shortcut,
    scale,
    shift,
    amplitude,
    has_shortcut=None,
    **shared: Tensor,
) -> tuple[dict, dict]:
    """The kernel of the backward pass: output ``current``, and ``amplitude`` where there is one.

    An amplitude for the layer has a sum. That of channels is an output of one timestep, which is left to be added up
    over the rows: a kernel's sums know no channels. ``shared`` are each term's gradient, and the surrogate's curve.
    """
    dtype = membrane_dtype(y[0])
    pulls = {name: shared.pop(name) for name in terms}

    def pull(u: Tensor) -> Tensor:
        return functools.reduce(torch.add, [g * slope(name, u, dynamics.signed) for name, g in pulls.items()])

    currents = _currents(y, shortcut, scale, shift, has_shortcut)
    grads, _, grad_a = equations().gradients(
        currents,
        None,
        amplitude,
        [g.to(dtype) for g in grad_spikes],
        None,
        dynamics,
        Curve(**shared) if shared else None,
        pull if terms else None,
    )
    outputs = {"current": [g.to(y[0].dtype) for g in grads]}
    if amplitude is None:
        return outputs, {}
    return (outputs | {"amplitude": [grad_a]}, {}) if amplitude_by_channel else (outputs, {"amplitude": grad_a})


class _Rows:
    """How y [T, B, C, H, W] becomes [T, rows, ...] in the order of memory, with the channel where it lies."""

    def __init__(self, y: Tensor) -> None:
        self.shape = y.shape
        self.channels_last = y[0].is_contiguous(memory_format=torch.channels_last) and not y[0].is_contiguous()

    def to_rows(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] to [T, B H W, C] or [T, B, C, H W]."""
        t, b, c, h, w = self.shape
        if self.channels_last:
            return x.permute(0, 1, 3, 4, 2).reshape(t, b * h * w, c)
        return x.reshape(t, b, c, h * w)

    def from_rows(self, rows: Tensor) -> Tensor:
        """The inverse: a view [T, B, C, H, W]."""
        t, b, c, h, w = self.shape
        if self.channels_last:
            return rows.view(t, b, h, w, c).permute(0, 1, 4, 2, 3)
        return rows.view(self.shape)

    def per_timestep(self, values: Tensor) -> Tensor:
        """A value a channel [1, C] or [T, C] as one for each timestep, which broadcasts against its rows."""
        return self.broadcasting(values.expand(self.shape[0], -1).contiguous())

    def broadcasting(self, values: Tensor) -> Tensor:
        """Values [S, C] as what broadcasts against the rows of S timesteps."""
        return values if self.channels_last else values.unsqueeze(-1)

    def channel_sums(self, rows: Tensor) -> Tensor:
        """The sum over everything else, [C]."""
        return rows.sum((0, 1)) if self.channels_last else rows.sum((0, 1, 3))

    def amplitude(self, amplitude: Tensor | None) -> Tensor | None:
        """The layer's one amplitude, [1], or its channels', which broadcast against the rows; None for None."""
        if amplitude is None:
            return None
        if amplitude.numel() == 1:
            return amplitude.reshape(1)
        return self.broadcasting(amplitude.reshape(1, -1))

    @property
    def elements(self) -> int:
        """Of a channel, through all timesteps."""
        return self.shape.numel() // self.shape[2]


class _NormalisedMultiStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx,
        y,
        shortcut,
        weight,
        bias,
        amplitude,
        mean,
        inverse,
        eps: float,
        dynamics: Dynamics,
        timesteps: int,
        shared: bool,
        temperature,
        terms: tuple[str, ...],
    ):
        scale = weight.to(mean.dtype) * inverse
        shift = bias.to(mean.dtype) - mean * scale
        ctx.save_for_backward(y, shortcut, weight, amplitude, mean, inverse, scale, shift, temperature)
        ctx.set_materialize_grads(False)
        ctx.dynamics, ctx.timesteps, ctx.eps, ctx.shared, ctx.terms = dynamics, timesteps, eps, shared, terms
        y = y if y.dim() == 5 else y.expand(timesteps, *y.shape)
        rows = _Rows(y)
        outputs, _ = backends.compute(
            Kernel(normalised_forward, (dynamics, terms), optional="shortcut"),
            {"y": rows.to_rows(y), "shortcut": None if shortcut is None else rows.to_rows(shortcut)},
            {
                "scale": rows.per_timestep(scale),
                "shift": rows.per_timestep(shift),
                "amplitude": rows.amplitude(amplitude),
            },
        )
        return rows.from_rows(outputs["spikes"]), *(rows.channel_sums(outputs[name]) / rows.elements for name in terms)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_spikes: Tensor | None, *grad_means: Tensor | None):
        y, _, weight, _, mean, inverse, *_ = ctx.saved_tensors
        static = y.dim() == 4
        grad_current, grad_amplitude = _NormalisedMultiStep._of_neuron(ctx, grad_spikes, grad_means)
        grad_shortcut = grad_current if ctx.needs_input_grad[1] else None
        if static:
            # timestep by timestep: torch's sum would give another order in memory, with which batch norm is slow
            grad_current = functools.reduce(torch.add, grad_current.unbind(0)).unsqueeze(0)
            y = y.unsqueeze(0)
        # mean and inverse have a row for each population: one over all timesteps, or one a timestep
        parts = [
            synchronised_batch_norm_backward(g, x, weight, m, i)
            if ctx.shared
            else torch.ops.aten.native_batch_norm_backward(g, x, weight, None, None, m, i, True, ctx.eps, [True] * 3)
            for g, x, m, i in zip(_split(grad_current, mean), _split(y, mean), mean, inverse, strict=True)
        ]
        if len(parts) == 1:
            grad_y, grad_weight, grad_bias = parts[0]
        else:
            grads_y, grads_weight, grads_bias = zip(*parts, strict=True)
            grad_y, grad_weight, grad_bias = torch.cat(grads_y), sum(grads_weight), sum(grads_bias)
        grad_y = grad_y if static else grad_y.unflatten(0, y.shape[:2])
        return grad_y, grad_shortcut, grad_weight, grad_bias, grad_amplitude, *[None] * 8

    @staticmethod
    def _of_neuron(
        ctx, grad_spikes: Tensor | None, grad_means: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor | None]:
        """Gradients of the neuron's input current [T, B, C, H, W], and of its amplitude where there is one."""
        y, shortcut, _, amplitude, _, _, scale, shift, temperature = ctx.saved_tensors
        steps = y if y.dim() == 5 else y.expand(ctx.timesteps, *y.shape)
        rows = _Rows(steps)
        grad_spikes = torch.zeros_like(steps) if grad_spikes is None else grad_spikes
        pulls = {name: g / rows.elements for name, g in zip(ctx.terms, grad_means, strict=True) if g is not None}
        by_channel = amplitude is not None and amplitude.numel() > 1
        grads, sums = backends.compute(
            Kernel(normalised_backward, (ctx.dynamics, tuple(pulls), by_channel), optional="shortcut"),
            {
                "y": rows.to_rows(steps),
                "grad_spikes": rows.to_rows(grad_spikes),
                "shortcut": None if shortcut is None else rows.to_rows(shortcut),
            },
            {
                "scale": rows.per_timestep(scale),
                "shift": rows.per_timestep(shift),
                "amplitude": rows.amplitude(amplitude),
                **{name: rows.broadcasting(g.unsqueeze(0)) for name, g in pulls.items()},
                **shared_curve(ctx.dynamics, temperature),
            },
        )
        grad_current = rows.from_rows(grads["current"])
        if amplitude is None:
            return grad_current, None
        total = rows.channel_sums(grads["amplitude"]) if by_channel else sums["amplitude"]
        return grad_current, total.to(amplitude.dtype).reshape(amplitude.shape)


def _split(x: Tensor, populations: Tensor) -> list[Tensor]:
    """[T, B, C, H, W] as one [N, C, H, W] for each population."""
    return [x.flatten(0, 1)] if len(populations) == 1 else list(x.unbind(0))
