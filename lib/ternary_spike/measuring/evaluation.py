"""What a trained network does on the test set: accuracy, firing rates, entropy, membrane potentials."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from ternary_spike.membrane.in_place import holds
from ternary_spike.models.base import SpikingNetwork, named_neurons
from ternary_spike.models.recording import recording
from ternary_spike.models.streaming import Encoder, scores_by_timestep
from ternary_spike.neurons.base import SpikingNeuron
from ternary_spike.training.accuracy import accuracy

Batches = Iterable[tuple[Tensor, Tensor]]
MEMBRANE_RANGE = 4.0  # the histogram spans [-4, 4], in units of the membrane potential
MEMBRANE_BINS = 160


class LayerStatistics:
    """Running statistics of one neuron layer over a test set."""

    def __init__(self, u: Tensor, timesteps: int) -> None:
        shape, device = u.shape[2:], u.device
        # counts of +1 and -1 by site, over all timesteps, and of both by timestep: whole numbers, exact in float64
        self.positive = torch.zeros(shape, dtype=torch.float64, device=device)
        self.negative = torch.zeros_like(self.positive)
        self.by_timestep = torch.zeros(timesteps, dtype=torch.float64, device=device)
        self.histogram = torch.zeros(MEMBRANE_BINS, dtype=torch.float64, device=device)
        self.below = torch.zeros((), dtype=torch.float64, device=device)
        self.above = torch.zeros_like(self.below)
        self.sum = torch.zeros_like(self.below)
        self.sum_of_squares = torch.zeros_like(self.below)

    def add(self, u: Tensor, b: Tensor, first_timestep: int = 0) -> None:
        """Take in potentials and spikes [T', B, ...] of T' timesteps, the network's from ``first_timestep`` on."""
        low, high = b.aminmax()
        for beyond, compare, counts in ((high > 0, torch.gt, self.positive), (low < 0, torch.lt, self.negative)):
            if beyond:  # most neurons emit one sign only, and most of the time here is spent on counting
                by_site = holds(compare, b, 0.0).sum(1, dtype=torch.float32)  # whole numbers, exact up to 2^24 samples
                counts += by_site.sum(0, dtype=torch.float64)
                by_timestep = by_site.flatten(1).sum(1, dtype=torch.float64)
                self.by_timestep[first_timestep : first_timestep + len(b)] += by_timestep
        values = u.float().flatten()
        for total, found in zip((self.below, self.histogram, self.above), _histogram(values), strict=True):
            total += found
        self.sum += values.sum(dtype=torch.float64)
        self.sum_of_squares += values.double().square_().sum()

    def result(self, samples: int) -> dict:
        """What :func:`evaluate` says of a layer, after so many samples."""
        timesteps, neurons = len(self.by_timestep), self.positive.numel()
        events = timesteps * neurons * samples
        positive, negative = self.positive.sum().item() / events, self.negative.sum().item() / events
        pooled = torch.tensor([negative, 1 - positive - negative, positive], dtype=torch.float64)
        per_neuron = torch.stack([self.negative, self.positive], -1) / (timesteps * samples)
        silent = 1 - per_neuron.sum(-1, keepdim=True)
        mean = self.sum.item() / events
        edges = torch.linspace(-MEMBRANE_RANGE, MEMBRANE_RANGE, MEMBRANE_BINS + 1, dtype=torch.float64)
        return {
            "neurons": neurons,
            "rate": positive + negative,
            "rate_positive": positive,
            "rate_negative": negative,
            "rate_by_timestep": (self.by_timestep / (neurons * samples)).tolist(),
            "entropy_bits": entropy_bits(pooled).item(),
            "entropy_per_neuron_bits": entropy_bits(torch.cat([silent, per_neuron], -1)).mean().item(),
            "membrane": {
                "edges": [round(edge, 6) for edge in edges.tolist()],
                "counts": [int(count) for count in self.histogram.tolist()],
                "below": int(self.below.item()),
                "above": int(self.above.item()),
                "mean": mean,
                "std": max(self.sum_of_squares.item() / events - mean * mean, 0.0) ** 0.5,
            },
        }


def _histogram(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How many of the values [N] lie below the histogram's range, in each of its bins, above its range."""
    above = holds(torch.gt, values, MEMBRANE_RANGE).sum(dtype=torch.float64)
    if values.device.type != "cpu":
        below = holds(torch.lt, values, -MEMBRANE_RANGE).sum(dtype=torch.float64)
        return below, torch.histc(values, MEMBRANE_BINS, -MEMBRANE_RANGE, MEMBRANE_RANGE), above
    # the bins of torch.histc to the bit, and 3 times as fast: one pass counts, with a bin more at either end, and one
    # for what is no number
    bins = (values + MEMBRANE_RANGE).mul_(MEMBRANE_BINS / (2 * MEMBRANE_RANGE)).floor_().clamp_(-1, MEMBRANE_BINS)
    places = bins.add_(1).nan_to_num_(MEMBRANE_BINS + 2).to(torch.int32)
    counts = torch.bincount(places, minlength=MEMBRANE_BINS + 3).double()
    below, inside, beyond = counts[0], counts[1:-2], counts[-2]
    inside[-1] += beyond - above  # the upper end of the range is in the last bin
    return below, inside, above


@torch.no_grad()
def evaluate(model: SpikingNetwork, batches: Batches, by_timestep: bool = False, encode: Encoder | None = None) -> dict:
    """Accuracy and per-layer statistics of a network on a test set.

    Args:
        model: the network; put into evaluation mode.
        batches: pairs of inputs [B, C, H, W] or [B, T, C, H, W] and labels [B].
        by_timestep: whether the network runs timestep by timestep, so that memory does not grow with T, and the
            accuracy at each number of timesteps is measured on the way.
        encode: what is then shown of static images; None for the images themselves.

    Returns:
        "samples", "accuracy_percent", "loss" (nats) and "layers", one entry a neuron layer in the order of
        computation: layer, amplitude (a number, a list by channel, or None where there is none), neurons, rate and its
        two signs as shares of neuron-timesteps, rate by timestep, entropy in bits of a neuron-timestep (of the layer's
        pooled shares, and as the mean over neurons of their own), and the membrane potential before the reset as a
        histogram with mean and standard deviation. A network without spiking neurons has no layers. With
        ``by_timestep`` also "accuracy_percent_by_timestep": of the class scores' mean over the first 1, 2, ..., T
        timesteps.
    """
    statistics: dict[str, LayerStatistics] = {}
    timesteps, samples, now = model.timesteps, 0, 0

    def observe(name: str, u: Tensor, b: Tensor) -> None:
        if name not in statistics:
            statistics[name] = LayerStatistics(u, timesteps)
        statistics[name].add(u, b, now)

    def counted() -> Batches:
        nonlocal samples
        for x, labels in batches:
            samples += len(labels)
            yield x, labels

    def begins(timestep: int) -> None:
        nonlocal now
        now = timestep

    with recording(model.eval(), observe):
        if by_timestep:
            curve, loss = accuracy_by_timestep(model, counted(), encode, begins)
            found = {"accuracy_percent": curve[-1], "loss": loss, "accuracy_percent_by_timestep": curve}
        else:
            percent, loss = accuracy(model, counted())
            found = {"accuracy_percent": percent, "loss": loss}
    layers = []
    for name, neuron in named_neurons(model).items():
        if isinstance(neuron, SpikingNeuron):
            layers.append({"layer": name, "amplitude": _amplitude(neuron), **statistics[name].result(samples)})
    return {"samples": samples, **found, "layers": layers}


@torch.no_grad()
def accuracy_by_timestep(
    model: SpikingNetwork,
    batches: Batches,
    encode: Encoder | None = None,
    begins: Callable[[int], None] = lambda timestep: None,
) -> tuple[list[float], float]:
    """Accuracy in percent of the class scores' mean over the first 1, 2, ..., T timesteps; the loss in nats at T.

    The mean and the sum, which an accumulating output layer holds, name the same class; the loss is the mean's.

    Args:
        model: in evaluation mode; it runs timestep by timestep.
        batches: pairs of inputs and labels.
        encode: what is shown of static images; None for the images themselves.
        begins: told the number of each timestep, from 0, before it runs.
    """
    timesteps, samples = model.timesteps, 0
    correct: list[Tensor | int] = [0] * timesteps
    summed_loss: Tensor | float = 0.0
    for x, labels in batches:
        scores, summed = scores_by_timestep(model, x, encode), 0.0
        for t in range(timesteps):
            begins(t)
            summed = summed + next(scores).float()
            correct[t] = correct[t] + (summed.argmax(1) == labels).sum()
        scores.close()
        summed_loss = summed_loss + F.cross_entropy(summed / timesteps, labels, reduction="sum").double()
        samples += len(labels)
    return [100 * hits.item() / samples for hits in correct], summed_loss.item() / samples


def _amplitude(neuron: SpikingNeuron) -> float | list[float] | None:
    """A layer's amplitude, or one for each channel: the mean over its places where each has its own."""
    if neuron.amplitude is None:
        return None
    a = neuron.amplitude.detach()
    values = (a.mean(dim=(1, 2)) if a.dim() == 3 else a).flatten().tolist()
    return values[0] if len(values) == 1 else values


def entropy_bits(probabilities: Tensor) -> Tensor:
    """Shannon entropy in bits along the last axis; 0 log 0 is 0. Shape [..., K] to [...]."""
    return torch.special.entr(probabilities).sum(-1) / math.log(2)
