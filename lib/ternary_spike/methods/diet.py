"""DIET-SNN (Rathi and Roy, IEEE TNNLS 2023): a trained network without spikes becomes a spiking one that goes on.

Its weights are taken over, thresholds are calibrated layer by layer, and then weights, thresholds and leaks are trained
by back-propagation through time. Pixels are the input current of the first convolution at every timestep.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ternary_spike.methods.base import Membranes, Method, Run
from ternary_spike.methods.calibration import percentile, pictures, trial
from ternary_spike.methods.sources import take_over_weights
from ternary_spike.models.base import named_neurons
from ternary_spike.models.chain_units import Dropout
from ternary_spike.neurons.diet import LOWEST_THRESHOLD, Diet
from ternary_spike.system.errors import UserError

# decay of every layer while thresholds are calibrated
NO_LEAK = 1.0


class DietSNN(Method):
    """Cross-entropy of the class scores' sum over time, from the source's weights and calibrated thresholds.

    A layer's threshold becomes ``scaling`` times a percentile of its input current on training pictures, the largest
    of the timesteps', without leak and in the order of computation: the layers before it have their thresholds by then,
    not scaled yet. Batch norm, which the authors' networks do not have, takes the statistics of these pictures
    meanwhile, as it will in training. A spike is 1 whatever the threshold of its layer. Where a shortcut adds spikes of
    layers with different thresholds, their sum does not stand for the source's sum, so a network with shortcuts has to
    be trained before it classifies anything.

    Filled in: all layers are calibrated, while in the authors' ResNets only those of the stem are and the others start
    at a threshold of 0.4; the classifier has a bias here.

    Args:
        scaling: factor of the percentiles.
        percent: the percentile.
        pictures: how many pictures, of each process that trains.
        timesteps: for how many timesteps each is shown; event frames have as many as they have.
        dropout: share of the spikes that training drops between convolutions of the stem and within a block: drawn
            once for a batch, the same at all of its timesteps; the others are scaled up. Networks that have dropout
            themselves keep theirs and get no more.
    """

    def __init__(
        self,
        scaling: float = 0.2,
        percent: float = 99.7,
        pictures: int = 512,
        timesteps: int = 100,
        dropout: float = 0.2,
    ) -> None:
        self.scaling, self.percent, self.pictures = scaling, percent, pictures
        self.timesteps, self.dropout = timesteps, dropout

    def begin(self, run: Run) -> None:
        """Convert the source.

        Raises:
            UserError: if a layer's neurons are of another kind; or as :func:`take_over_weights`.
        """
        self.sum_over = run.model.timesteps  # times the scores' mean over time it is their sum
        for name, layer in named_neurons(run.model).items():
            if not isinstance(layer, Diet):
                raise UserError(
                    f"method diet calibrates and trains thresholds, and {type(layer).__name__} of layer {name} has "
                    "none that it knows; choose neuron diet"
                )
        take_over_weights(run)
        if run.batches is not None:
            self.calibrate(run)
        if self.dropout and not any(isinstance(module, Dropout) for module in run.model.modules()):
            for layer in before_a_convolution(run.model):
                layer.register_forward_hook(self.drop)

    def calibrate(self, run: Run) -> None:
        """Give each layer its threshold."""
        shown = self.timesteps if run.batches.manifest.frames is None else None
        layers, x = named_neurons(run.model), pictures(run, self.pictures)
        leaks = {name: layer.decay.item() for name, layer in layers.items()}
        with trial(run.model, shown, batch_statistics=True):
            for name, layer in layers.items():
                found = percentile(run.model, name, x, self.percent)
                layer.threshold.data.fill_(max(found, LOWEST_THRESHOLD))
                layer.decay.data.fill_(NO_LEAK)
        for name, layer in layers.items():
            layer.threshold.data.mul_(self.scaling)
            layer.decay.data.fill_(leaks[name])

    def drop(self, layer: nn.Module, _inputs: tuple, spikes: Tensor) -> Tensor:
        """Spikes [T, B, C, H, W] with the same of them missing at each timestep."""
        return spikes * F.dropout(torch.ones_like(spikes[0]), self.dropout, training=layer.training)

    def loss(self, scores: Tensor, labels: Tensor, membranes: Membranes, x: Tensor) -> Tensor:
        """Of scores [B, K], the means over time."""
        return self.cross_entropy(self.sum_over * scores, labels)


def before_a_convolution(network: nn.Module) -> list[nn.Module]:
    """Neuron layers of the stem with another convolution of it behind them, and those within a block."""
    units = [(name, [*unit.neurons(name).values()]) for name, unit in network.units() if hasattr(unit, "neurons")]
    stem = [layer for name, layers in units if name.startswith("stem") for layer in layers]
    within = [layer for name, layers in units if not name.startswith("stem") for layer in layers[:-1]]
    return [*stem[:-1], *within]
