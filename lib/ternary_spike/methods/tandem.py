"""Tandem learning and progressive tandem learning: spikes go forward, a network without spikes has the gradients.

J. Wu et al., "A Tandem Learning Rule for Effective Training and Rapid Inference of Deep Spiking Neural Networks", IEEE
TNNLS 2021 (arXiv 1907.01167), and J. Wu et al., "Progressive Tandem Learning for Pattern Recognition with Deep Spiking
Neural Networks", IEEE TPAMI 2022 (arXiv 2007.01204), after their authors' code; the papers' texts could not be had.

A layer is a pair with shared weights. The authors write it with the counts of spikes c = sum_t b[t]; here stand rates
r = c / T, which changes no bit of what a layer means: their threshold of 1 is T for currents that are T times as large.

    a    = ReLU(BN(W r_below))              without spikes: batch norm takes the statistics of this batch of rates
    x[t] = BN'(W b_below[t])                batch norm as in inference, its running statistics moved by this batch
    b[t] = the neurons' spikes of x[t]
    r    = a / V_th + (mean_t b[t] - a / V_th).detach()

so that rates of spikes are what the next layer's a is made of, and the gradient takes the way through a alone: none
flows through time, spikes or thresholds. A network's parts say by their ``fold`` what they compute; pairs follow that.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ternary_spike.methods.base import Method, Run
from ternary_spike.methods.calibration import percentile_of
from ternary_spike.methods.sources import network_of, take_over_weights
from ternary_spike.models.base import SpikingNetwork, named_neurons
from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.chain_units import Dropout, Stretch
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.models.residual_variants import BasicBlockWithDropout
from ternary_spike.neurons.base import SpikingNeuron
from ternary_spike.neurons.integrate_and_fire import IntegrateAndFire
from ternary_spike.system.errors import UserError

MOMENTUM = 0.9  # of running statistics: they nearly are those of the last batch
LOWEST_THRESHOLD = 1e-6  # of a layer that is silent on its calibration batch
INPUT = "the input"


class Pair(NamedTuple):
    """What a place in the network carries.

    Attributes:
        rate: [B, C, H, W], which gradients flow through: the mean over time of the train, or a current of the network
            without spikes.
        train: spikes or currents [T, B, C, H, W], without gradients; [1, B, C, H, W] where all timesteps are alike, and
            None where there are no spikes.
    """

    rate: Tensor
    train: Tensor | None


class TandemLearning(Method):
    """Cross-entropy of the class scores of rates; each layer of spiking neurons in tandem with one without spikes.

    The thresholds of neurons ``if`` are those of counts: they are multiplied by T. Other neurons keep theirs, which is
    our own reading; those whose spikes have a sign are in tandem with a = BN(W r_below), without the ReLU. A block adds
    what its shortcut carries to a's argument as well as to x[t].

    Filled in: the classifier sees rates, not counts, and nothing is dropped out in front of it; the fold of batch norm
    does not leave its epsilon out, and that is 1e-5 of the variance of rates, not 1e-4 of that of counts.

    Args:
        gain_std: batch norm's weights are drawn anew from N(0, gain_std^2), as the authors do; 0 leaves them.
    """

    def __init__(self, gain_std: float = 2.0) -> None:
        self.gain_std = gain_std

    def begin(self, run: Run) -> None:
        """Prepare batch norm and thresholds.

        Raises:
            UserError: if a layer has no spiking neurons, or no threshold that is known.
        """
        for name, neuron in named_neurons(run.model).items():
            if not isinstance(neuron, SpikingNeuron) or not hasattr(neuron, "threshold"):
                raise UserError(
                    f"tandem learning needs the threshold of spiking neurons, and {type(neuron).__name__} of layer "
                    f"{name} has none; choose neuron if"
                )
            if isinstance(neuron, IntegrateAndFire):
                neuron.threshold.mul_(run.model.timesteps)
        for bn in follow_last_batch(run.model):
            if self.gain_std:
                nn.init.normal_(bn.weight, 0.0, self.gain_std)

    def gradients(self, run: Run, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Through the network without spikes, at the rates of spikes."""
        with run.autocast():
            scores = Walk(run.model, x, self.fire).scores().float()
        loss = self.cross_entropy(scores, labels) * run.weight
        loss.backward()
        return loss, scores

    def fire(self, neuron: SpikingNeuron, current: Pair) -> Pair:
        """A neuron layer: r and b[t] of a's argument and x[t]."""
        with torch.no_grad():
            spikes = neuron(current.train)
        a = current.rate if neuron.signed else current.rate.relu()
        return Pair(coupled(spikes.mean(0), neuron.emit(a / neuron.threshold)), spikes)


class ProgressiveTandemLearning(TandemLearning):
    """The source, a network without spikes, becomes spiking layer by layer from the input on; the rest adapts to it.

    In stage k = 1, 2, ... the layers 1 to k are in tandem, and those behind them have no spikes. When a layer's stage
    begins, its threshold becomes a percentile of its activations ReLU(BN(W r_below)) on the stage's first batch, for
    currents that are means over time: the authors' P / T for counts. Layers that spike do not learn any more, but for
    the first one in its stage; in the last stage the classifier alone does. The gradient does not see the
    threshold: dr/da = 1/T, as in the authors' code, where counts stand for rates.

    Filled in: all stages have equally many epochs, and with fewer epochs than layers several layers begin to spike at
    once. The authors begin the next stage when accuracy on pictures kept apart has not risen for six epochs, go back to
    the best weights, and start their optimiser anew. The threshold is of a layer's own activations, while their code
    gives it those of the layer before. Pictures are shown at every timestep, not at the first alone, which makes the
    same counts where nothing inhibits: min(T, floor(a T / V_th)).

    Args:
        percent: the percentile.
    """

    one_process = True

    def __init__(self, percent: float = 99.9) -> None:
        super().__init__(gain_std=0.0)
        self.percent = percent
        self.converted = 0  # layers that have their threshold

    def begin(self, run: Run) -> None:
        """Take the source's weights over.

        Raises:
            UserError: if the source spikes or has other layers, a layer's threshold cannot be set, or there are no
                epochs.
        """
        source, layers = network_of(run), named_neurons(run.model)
        if any(isinstance(neuron, SpikingNeuron) for neuron in source.modules()):
            raise UserError(
                f"a network without spikes is converted, and source {run.source.record['id']} has spiking neurons; "
                "choose a run of neuron relu"
            )
        for name, neuron in layers.items():
            if not isinstance(neuron, IntegrateAndFire):
                raise UserError(
                    f"thresholds are set layer by layer, and that of {type(neuron).__name__} in layer {name} is not to "
                    "be set; choose neuron if"
                )
        self.layers, self.epochs = len(layers), run.recipe.epochs
        if self.epochs == 0:
            raise UserError(
                "layers are converted while the others learn; set epochs to at least 1, better one for each"
            )
        take_over_weights(run)
        follow_last_batch(run.model)

    def epoch(self, share: float) -> None:
        """The stage of an epoch: in the last one all layers spike."""
        to_come = self.epochs - 1 - round(share * self.epochs)
        self.stage = self.layers - to_come * self.layers // self.epochs

    def gradients(self, run: Run, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """As of tandem learning; layers count from the input."""
        self.layer = 0
        return super().gradients(run, x, labels)

    def fire(self, neuron: IntegrateAndFire, current: Pair) -> Pair:
        """A neuron layer: with spikes if its stage has come."""
        self.layer += 1
        a = current.rate.relu()
        if self.layer > self.stage:
            return Pair(a, None)
        if self.layer > self.converted:
            neuron.threshold.fill_(percentile_of(a.detach(), self.percent).clamp(min=LOWEST_THRESHOLD))
            self.converted = self.layer
        with torch.no_grad():
            spikes = neuron(current.train)
        rate = spikes.mean(0)
        return Pair(coupled(rate, a / len(spikes)) if self.stage == 1 else rate, spikes)

    def tensors(self) -> dict[str, Tensor]:
        """How many layers have their threshold."""
        return {"converted": torch.tensor(self.converted)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take it from a checkpoint."""
        self.converted = int(tensors["converted"])


class Walk:
    """A network's operations on pairs, in the order of computation.

    Its methods are what a unit's ``fold`` can say, see :mod:`ternary_spike.models.blocks`; ``values`` are pairs by the
    operation that made them.

    Args:
        network: in training mode.
        x: [B, C, H, W], or frames [B, T, C, H, W].
        fire: called with a neuron layer and the pair of currents into it; gives the pair that it emits.
    """

    def __init__(self, network: SpikingNetwork, x: Tensor, fire) -> None:
        self.network, self.fire = network, fire
        self.dropouts: dict[str, nn.Module] = {}  # of neuron layers within a block
        frames = x.dim() == 5
        self.values = {INPUT: Pair(x.mean(1) if frames else x, x.transpose(0, 1) if frames else x.unsqueeze(0))}

    def scores(self) -> Tensor:
        """Class scores [B, K] of rates.

        Raises:
            UserError: if a unit does not say what it computes.
        """
        return self.values[self.unit("the network", self.network, INPUT)].rate

    def unit(self, name: str, unit: nn.Module, source: str) -> str:
        """Run a part of the network as its ``fold`` says, and give the name of its output in :attr:`values`.

        Dropout and pooling to a size, which a folded network does not have, are run here.

        Raises:
            UserError: if the part does not say what it computes.
        """
        if isinstance(unit, Stretch):
            return self.pool(name, unit, source)
        if isinstance(unit, Dropout):
            return self.keep(name, *dropped(self.values[source], unit))
        if isinstance(unit, BasicBlockWithDropout):
            self.dropouts[f"{name}.1"] = unit.dropout
        try:
            if hasattr(unit, "fold"):
                return unit.fold(self, name, source)
        except NotFoldable:
            pass
        raise UserError(
            f"tandem learning follows what a network's parts say in their fold, and {name}, {type(unit).__name__}, "
            "says nothing that it knows; choose another architecture"
        )

    def conv(self, name: str, conv: nn.Module, bn: nn.Module, source: str) -> str:
        """BN(W r) and BN'(W b[t])."""
        rate, train = self.values[source]
        current = bn(conv(rate.unsqueeze(0)).to(rate.dtype)).squeeze(0)
        if train is not None:
            bn.eval()
            with torch.no_grad():
                train = bn(conv(train).to(rate.dtype))
            bn.train()
        return self.keep(name, current, train)

    def fully_connected(self, name: str, linear: nn.Module, bn: nn.Module, source: str) -> str:
        """The same of a linear layer."""
        return self.conv(name, linear, bn, source)

    def pool(self, name: str, pool: nn.Module, source: str) -> str:
        """Average pooling of both."""
        rate, train = self.values[source]
        return self.keep(name, pool(rate.unsqueeze(0)).squeeze(0), None if train is None else pool(train))

    def max_pool(self, name: str, pool: nn.Module, source: str) -> str:
        """Of spikes timestep by timestep; the gradient goes to the highest rates."""
        rate, train = self.values[source]
        expected = pool(rate.unsqueeze(0)).squeeze(0)
        if train is None:
            return self.keep(name, expected, None)
        spikes = pool(train)
        return self.keep(name, coupled(spikes.mean(0), expected), spikes)

    def add(self, name: str, current: str, other: str) -> str:
        """The shortcut is added to both."""
        (rate, train), (more, others) = self.values[current], self.values[other]
        return self.keep(name, rate + more, None if train is None or others is None else train + others)

    def add_normalised(self, name: str, current: str, spikes: str, shortcut: nn.Module, shortcut_name: str) -> str:
        """The same with a batch norm of the shortcut's own."""
        return self.add(name, current, self.conv(shortcut_name, nn.Identity(), shortcut.bn, spikes))

    def spikes(self, name: str, neuron: nn.Module, source: str) -> str:
        """A neuron layer."""
        rate, train = self.values[source]
        if train is not None:
            train = train.expand(self.network.timesteps, *rate.shape)
        fired = self.fire(neuron, Pair(rate, train))
        return self.keep(name, *(dropped(fired, self.dropouts[name]) if name in self.dropouts else fired))

    def classifier(self, name: str, linear: nn.Module, source: str) -> str:
        """Class scores of globally pooled rates, or of those of every place, as the classifier takes them."""
        rate = self.values[source].rate
        pooled = linear.in_features == rate.shape[1]
        return self.keep(name, linear(rate.mean((2, 3)) if pooled else rate.flatten(1)), None)

    def keep(self, name: str, rate: Tensor, train: Tensor | None) -> str:
        """Remember the pair of an operation."""
        self.values[name] = Pair(rate, train)
        return name


def dropped(pair: Pair, dropout: nn.Module) -> Pair:
    """A pair with the same neurons missing in both."""
    kept = dropout(torch.ones_like(pair.rate).unsqueeze(0)).squeeze(0)
    return Pair(pair.rate * kept, None if pair.train is None else pair.train * kept)


def coupled(rate: Tensor, expected: Tensor) -> Tensor:
    """The rate, to the bit, with the gradient of the expected one."""
    return rate + (expected - expected.detach())


def follow_last_batch(network: nn.Module) -> list[BatchNorm2d]:
    """The batch norms of a network, whose running statistics from now on are mostly the last batch's."""
    found = [module for module in network.modules() if isinstance(module, BatchNorm2d)]
    for bn in found:
        bn.momentum = MOMENTUM
    return found
