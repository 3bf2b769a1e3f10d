"""The neuron through time as one autograd function that keeps nothing but its input."""

import torch
from torch import Tensor

from ternary_spike.membrane import backends
from ternary_spike.membrane.dynamics import Dynamics, membrane_dtype, surrogate_curve
from ternary_spike.membrane.kernel import Kernel
from ternary_spike.membrane.spelling import equations
from ternary_spike.membrane.surrogate import Curve

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def neuron_forward(
    dynamics: Dynamics, keep_state: bool, *, x: list[Tensor], v: list[Tensor] | None, amplitude: Tensor | None
) -> tuple[dict, dict]:
    """The kernel of the forward pass: output ``y``, and with ``keep_state`` also ``v`` with one timestep."""
    dtype = membrane_dtype(x[0])
    emitted, last = equations().spikes(
        [c.to(dtype) for c in x], None if v is None else v[0], amplitude, dynamics, keep_state
    )
    return {"y": [b.to(x[0].dtype) for b in emitted]} | ({"v": [last]} if keep_state else {}), {}


def neuron_backward(
    dynamics: Dynamics,
    *,
    x: list[Tensor],
    grad_y: list[Tensor],
    v: list[Tensor] | None,
    grad_last: list[Tensor] | None,
    amplitude: Tensor | None,
    **curve: Tensor,
) -> tuple[dict, dict]:
    """The kernel of the backward pass: outputs ``x`` and, where there is one, ``v``; the sum ``amplitude`` likewise."""
    dtype = membrane_dtype(x[0])
    grad_x, grad_v, grad_a = equations().gradients(
        [c.to(dtype) for c in x],
        None if v is None else v[0],
        amplitude,
        [g.to(dtype) for g in grad_y],
        None if grad_last is None else grad_last[0],
        dynamics,
        Curve(**curve) if curve else None,
    )
    outputs = {"x": [g.to(x[0].dtype) for g in grad_x]} | ({} if v is None else {"v": [grad_v]})
    return outputs, {} if amplitude is None else {"amplitude": grad_a}


def shared_curve(dynamics: Dynamics, temperature: Tensor | None) -> dict[str, Tensor]:
    """The surrogate's curve as shared tensors of a kernel's backward pass, by name; none without a temperature."""
    curve = surrogate_curve(dynamics, temperature)
    return {} if curve is None else {name: x.reshape(1) for name, x in curve._asdict().items()}


def storage_order(x: Tensor) -> tuple[int, ...]:
    """Axes of x [T, ...] behind the first, from the slowest to the fastest in memory."""
    order: list[int] = []
    for axis in range(1, x.dim()):  # by comparisons one by one: torch.compile cannot sort by strides that vary
        order.insert(len([other for other in order if x.stride(other) >= x.stride(axis)]), axis)
    return tuple(order)


def flat(x: Tensor, order: tuple[int, ...]) -> Tensor:
    """x [T, ...] as [T, N] in the given order of axes: a view wherever memory has that order and no gaps."""
    return x.permute(0, *order).reshape(x.shape[0], -1)


def unflat(y: Tensor, shape: torch.Size, order: tuple[int, ...]) -> Tensor:
    """The inverse of :func:`flat` for [T', N] and the shape [T, ...]: a view [T', ...] in the same memory."""
    inverse = [0] * (len(order) + 1)
    for place, axis in enumerate((0, *order)):
        inverse[axis] = place
    return y.view(y.shape[0], *(shape[axis] for axis in order)).permute(inverse)


class _MultiStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx,
        x: Tensor,
        amplitude: Tensor | None,
        v: Tensor | None,
        dynamics: Dynamics,
        keep_state: bool,
        temperature: Tensor | None,
    ):
        ctx.save_for_backward(x, amplitude, v, temperature)
        ctx.set_materialize_grads(False)
        ctx.dynamics = dynamics
        y, last = _emit(x, v, dynamics, keep_state, amplitude if _has_one_value(amplitude) else None)
        if amplitude is not None and not _has_one_value(amplitude):
            y = (y * amplitude).to(x.dtype)
        return (y, last) if keep_state else y  # torch.compile cannot follow a None among the outputs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_y: Tensor | None, grad_last: Tensor | None = None):
        x, amplitude, v, temperature = ctx.saved_tensors
        if grad_y is None:
            grad_y = torch.zeros_like(x)
        dynamics = ctx.dynamics
        grad_amplitude = None
        # the kernel sees no channels, so amplitudes for each channel are multiplied here and not inside of it
        inside = amplitude if _has_one_value(amplitude) else None
        if amplitude is not None and inside is None:
            if ctx.needs_input_grad[1]:
                b, _ = _emit(x, v, dynamics, False, None)
                grad_amplitude = (grad_y * b.to(amplitude.dtype)).sum_to_size(amplitude.shape).to(amplitude.dtype)
            grad_y = grad_y * amplitude
        order = storage_order(x)
        wide = membrane_dtype(x)
        grads, sums = backends.compute(
            Kernel(neuron_backward, (dynamics,)),
            {
                "x": flat(x, order),
                "grad_y": flat(grad_y, order),
                "v": None if v is None else flat(v.to(wide).unsqueeze(0), order),
                "grad_last": None if grad_last is None else flat(grad_last.to(wide).unsqueeze(0), order),
            },
            {"amplitude": None if inside is None else inside.reshape(1)} | shared_curve(dynamics, temperature),
        )
        if inside is not None and ctx.needs_input_grad[1]:
            grad_amplitude = sums["amplitude"].to(amplitude.dtype).reshape(amplitude.shape)
        grad_v = unflat(grads["v"], x.shape, order)[0].to(v.dtype) if ctx.needs_input_grad[2] else None
        return unflat(grads["x"], x.shape, order), grad_amplitude, grad_v, None, None, None


def _broadcasts(shape: torch.Size, target: torch.Size) -> bool:
    """Whether a tensor of a shape broadcasts to a target, adding no axis to it."""
    return len(shape) <= len(target) and all(
        a in (1, b) for a, b in zip(reversed(shape), reversed(target), strict=False)
    )


def _has_one_value(amplitude: Tensor | None) -> bool:
    """Whether there is an amplitude, and one for the whole layer."""
    return amplitude is not None and amplitude.numel() == 1


def _emit(
    x: Tensor, v: Tensor | None, dynamics: Dynamics, keep_state: bool, amplitude: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Spikes, and with ``keep_state`` the membrane potential kept at the end; for at most one amplitude."""
    order = storage_order(x)
    outputs, _ = backends.compute(
        Kernel(neuron_forward, (dynamics, keep_state)),
        {"x": flat(x, order), "v": None if v is None else flat(v.to(membrane_dtype(x)).unsqueeze(0), order)},
        {"amplitude": None if amplitude is None else amplitude.reshape(1)},
    )
    return unflat(outputs["y"], x.shape, order), unflat(outputs["v"], x.shape, order)[0] if keep_state else None


def multi_step(
    x: Tensor,
    dynamics: Dynamics,
    amplitude: Tensor | None = None,
    v: Tensor | None = None,
    keep_state: bool = True,
    temperature: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """A neuron layer through all its timesteps, differentiable once (Eqs. 4-5, 7-8, 13-14).

    Args:
        x: input current [T, ...], T >= 1. It is not copied if each timestep lies without gaps in memory, in whatever
            order of axes.
        dynamics: the layer's constants.
        amplitude: a of Eq. 14, a scalar tensor or one that broadcasts against x[t]; None means 1.
        v: membrane potential kept from before the first timestep, [...]; None means 0.
        keep_state: whether the membrane potential after the last timestep is wanted.
        temperature: of a surrogate that has one, a scalar tensor.

    Returns:
        The spikes y = a b [T, ...] in x's dtype, each timestep in x's order in memory, and the membrane potential [...]
        kept after the last timestep (float32 for half-precision input), or None.

    Raises:
        ValueError: if x has no timestep or is not of :data:`DTYPES`, v's shape is not x[0]'s, or the amplitude does
            not broadcast to it.
    """
    if x.dim() == 0 or x.shape[0] < 1:
        raise ValueError(f"the input needs at least one timestep on its first axis, but its shape is {tuple(x.shape)}")
    if x.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise ValueError(f"the input current must be one of {names}, not {str(x.dtype).removeprefix('torch.')}")
    if v is not None and v.shape != x.shape[1:]:
        raise ValueError(f"the membrane potential's shape is {tuple(v.shape)}, a timestep's is {tuple(x.shape[1:])}")
    if amplitude is not None and not _has_one_value(amplitude) and not _broadcasts(amplitude.shape, x.shape[1:]):
        raise ValueError(
            f"the amplitude's shape {tuple(amplitude.shape)} does not broadcast to a timestep's {tuple(x.shape[1:])}"
        )
    result = _MultiStep.apply(x, amplitude, v, dynamics, keep_state, temperature)
    return result if keep_state else (result, None)
