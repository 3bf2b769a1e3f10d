"""What a trained network does on the test set: accuracy, firing rates, entropy, membrane potentials."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from ternary_spike.models.base import SpikingNetwork, named_neurons
from ternary_spike.models.recording import recording
from ternary_spike.neurons.base import SpikingNeuron
from ternary_spike.training.accuracy import accuracy

MEMBRANE_RANGE = 4.0  # the histogram spans [-4, 4], in units of the membrane potential
MEMBRANE_BINS = 160


class _LayerStatistics:
    """Running statistics of one neuron layer over a test set."""

    def __init__(self, u: Tensor) -> None:
        timesteps, shape, device = u.shape[0], u.shape[2:], u.device
        # counts of +1 and -1 by timestep and site: everything about the spikes follows from them
        self.positive = torch.zeros((timesteps, *shape), dtype=torch.float64, device=device)
        self.negative = torch.zeros_like(self.positive)
        self.samples = 0
        self.histogram = torch.zeros(MEMBRANE_BINS, dtype=torch.float64, device=device)
        self.below = torch.zeros((), dtype=torch.float64, device=device)
        self.above = torch.zeros_like(self.below)
        self.sum = torch.zeros_like(self.below)
        self.sum_of_squares = torch.zeros_like(self.below)

    def add(self, u: Tensor, b: Tensor) -> None:
        self.samples += u.shape[1]
        self.positive += (b > 0).sum(dim=1)
        self.negative += (b < 0).sum(dim=1)
        values = u.float().flatten()
        self.histogram += torch.histc(values, MEMBRANE_BINS, -MEMBRANE_RANGE, MEMBRANE_RANGE)
        self.below += (values < -MEMBRANE_RANGE).sum()
        self.above += (values > MEMBRANE_RANGE).sum()
        self.sum += values.sum(dtype=torch.float64)
        self.sum_of_squares += values.double().square().sum()

    def result(self) -> dict:
        timesteps, neurons = self.positive.shape[0], self.positive[0].numel()
        events = timesteps * neurons * self.samples
        positive, negative = self.positive.sum().item() / events, self.negative.sum().item() / events
        pooled = torch.tensor([negative, 1 - positive - negative, positive], dtype=torch.float64)
        per_neuron = torch.stack([self.negative.sum(0), self.positive.sum(0)], -1) / (timesteps * self.samples)
        silent = 1 - per_neuron.sum(-1, keepdim=True)
        mean = self.sum.item() / events
        edges = torch.linspace(-MEMBRANE_RANGE, MEMBRANE_RANGE, MEMBRANE_BINS + 1, dtype=torch.float64)
        return {
            "neurons": neurons,
            "rate": positive + negative,
            "rate_positive": positive,
            "rate_negative": negative,
            "rate_by_timestep": ((self.positive + self.negative).flatten(1).sum(1) / (neurons * self.samples)).tolist(),
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


@torch.no_grad()
def evaluate(model: SpikingNetwork, batches: Iterable[tuple[Tensor, Tensor]]) -> dict:
    """Accuracy and per-layer statistics of a network on a test set.

    Args:
        model: the network; put into evaluation mode.
        batches: pairs of inputs [B, C, H, W] or [B, T, C, H, W] and labels [B].

    Returns:
        "samples", "accuracy_percent", "loss" (nats) and "layers", one entry a neuron layer in the order of
        computation: layer, amplitude (a number, a list by channel, or None where there is none), neurons, rate and its
        two signs as shares of neuron-timesteps, rate by timestep, entropy in bits of a neuron-timestep (of the layer's
        pooled shares, and as the mean over neurons of their own), and the membrane potential before the reset as a
        histogram with mean and standard deviation. A network without spiking neurons has no layers.
    """
    statistics: dict[str, _LayerStatistics] = {}
    samples = 0

    def observe(name: str, u: Tensor, b: Tensor) -> None:
        if name not in statistics:
            statistics[name] = _LayerStatistics(u)
        statistics[name].add(u, b)

    def counted():
        nonlocal samples
        for x, labels in batches:
            samples += len(labels)
            yield x, labels

    with recording(model.eval(), observe):
        percent, loss = accuracy(model, counted())
    layers = []
    for name, neuron in named_neurons(model).items():
        if isinstance(neuron, SpikingNeuron):
            layers.append({"layer": name, "amplitude": _amplitude(neuron), **statistics[name].result()})
    return {"samples": samples, "accuracy_percent": percent, "loss": loss, "layers": layers}


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
