"""Neurons of a user's own, for tests: what cannot be folded, and what cannot be trained."""

from ternary_spike import TernaryLIF, TrainableTernaryLIF


class SoftReset(TernaryLIF):
    """A ternary neuron whose reset subtracts the threshold."""

    def update(self, x, v):
        u, b, _ = super().update(x, v)
        return u, b, u - self.threshold * b


class Scaled(TrainableTernaryLIF):
    """Emits ternary spikes times an amplitude; it has an equation of its own and no fold."""

    def update(self, x, v):
        return super().update(x, v)


class Graded(TernaryLIF):
    """Emits a number of its own where it fires: no spikes."""

    def emit(self, b):
        count = b.detach().abs().flatten().cumsum(0).view_as(b)
        return b * (1 + 0.1 * (count % 3))


class WithoutSurrogate(TernaryLIF):
    """The paper's ternary neuron with the true derivative of its spikes, 0: what is in front of it learns nothing."""

    def emit(self, b):
        return b.detach() + 0 * b
