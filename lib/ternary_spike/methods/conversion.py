"""Conversion: the weights of a network without spikes, and thresholds at which spikes do what its activations did.

A network with ReLUs becomes one of integrate-and-fire neurons (:mod:`ternary_spike.neurons.integrate_and_fire`) of the
same architecture. Over many timesteps the mean of what a layer emits comes close to the ReLU's activation, as long as
that is no larger than the threshold: one spike a timestep is the most. So thresholds are calibrated on training
pictures, one a layer. Batch norm keeps the source's running statistics, with which it is linear at each timestep.

    Spike-Norm (Sengupta et al., Front. Neurosci. 2019): layer after layer the largest current that the spiking network,
        with the thresholds it has so far, gives to any neuron of the layer in one timestep; hard reset
    RMP-SNN (Han et al., CVPR 2020): the same with a soft reset
    Hybrid-Train (Rathi et al., ICLR 2020): the same with a soft reset and thresholds times a factor; then training by
        back-propagation through time, which a recipe with epochs above 0 adds
    data-based (Diehl et al., IJCNN 2015): the largest activations of the source itself

The classifier accumulates and does not fire. The mean of its scores over time is that sum divided by T, so that both
name the same class.
"""

import torch
from torch import Tensor

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.methods.base import Membranes, Run
from ternary_spike.methods.calibration import percentile, pictures
from ternary_spike.methods.sources import take_over_weights
from ternary_spike.methods.streamed import Streamed
from ternary_spike.models.base import SpikingNetwork, named_neurons
from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.poisson_input import PoissonInput, largest_pixel
from ternary_spike.models.streaming import Encoder, evaluates_by_timestep, streaming
from ternary_spike.neurons.base import SpikingNeuron
from ternary_spike.neurons.integrate_and_fire import IntegrateAndFire
from ternary_spike.system.errors import UserError

CALIBRATION_SEED = 1  # of the random spikes that thresholds are calibrated on; an evaluation draws others


class Conversion(Streamed):
    """The source's weights and calibrated thresholds; after that whatever training the recipe has epochs for.

    A source that was converted itself keeps its thresholds, and nothing is calibrated: then this is the second part of
    Hybrid-Train alone.

    Trained are all weights, batch norm's too, but not its running statistics, which stay the source's, nor thresholds.
    Where a spike is 1 the loss is on the scores' sum over time, as published. Where it is V_th the loss is on their
    mean, since the mean of such spikes already stands for the source's activation. Gradients go through all timesteps
    at once, which needs memory for each of them; evaluation does not.

    Args:
        balance: what thresholds are taken from, the currents of the spiking network ("spiking") or of the source's own
            activations ("source").
        percentile: of a layer's currents at one timestep, over pictures, channels and places; the largest of the
            timesteps counts. 100 is the maximum.
        factor: what thresholds are multiplied by in the end, all of them calibrated.
        pictures: how many of the training pictures of the first epoch, as augmented, are calibrated on.
        calibration_timesteps: for how long each of them is shown; None for the network's T.
        input: "direct", the pictures at each timestep, or "poisson", random spikes in their place, in calibration,
            training and evaluation (:class:`ternary_spike.models.poisson_input.PoissonInput`).
    """

    one_process = True  # which pictures a process calibrates on is its own part of them

    def __init__(
        self,
        balance: str = "spiking",
        percentile: float = 100.0,
        factor: float = 1.0,
        pictures: int = 512,
        calibration_timesteps: int | None = None,
        input: str = "direct",
    ) -> None:
        self.balance, self.percentile, self.factor = balance, percentile, factor
        self.pictures, self.calibration_timesteps, self.input = pictures, calibration_timesteps, input

    def encoder(self, recipe: Recipe) -> Encoder | None:
        """Random spikes whose mean is the picture, if the input is Poisson's.

        Raises:
            UserError: if the recipe does not normalise pixels, so that nobody knows how large they are.
        """
        if self.input == "direct":
            return None
        if recipe.mean is None or recipe.std is None:
            raise UserError(
                f"recipe {recipe.name}: input is poisson, for which pixels must be normalised by mean and std; "
                "give them, or set the method's input to direct"
            )
        return PoissonInput(largest_pixel(recipe.mean, recipe.std))

    def begin(self, run: Run) -> None:
        """Take over the source's weights, and its thresholds or calibrated ones.

        Raises:
            UserError: if a layer of the network is not integrate-and-fire, or one of the source neither that nor
                without spikes; if the source does not fit; or if spikes of 1 cannot stand for its activations.
        """
        layers = _integrate_and_fire(run.model)
        if layers is None:
            raise UserError(
                "conversion takes integrate-and-fire neurons, whose thresholds it calibrates; set neuron to if"
            )
        encode = self.encoder(run.recipe)
        take_over_weights(run)
        _require_no_constants(run, layers)
        source, name = run.source.network, run.source.record["id"]
        if (converted := _integrate_and_fire(source)) is not None:
            for where, layer in layers.items():
                layer.threshold.copy_(converted[where].threshold)
        elif any(isinstance(module, SpikingNeuron) for module in source.modules()):
            raise UserError(f"source {name} has spiking neurons, which are not converted; choose one with neuron relu")
        elif run.batches is not None:
            self._calibrate(run, layers, encode)
        worth_threshold = any(layer.spike_value == "threshold" for layer in layers.values())
        self.sum_over = 1 if worth_threshold else run.model.timesteps  # the loss takes the scores' mean, or their sum
        self.norms = [module for module in run.model.modules() if isinstance(module, BatchNorm2d)]
        evaluates_by_timestep(run.model, encode)

    def epoch(self, share: float) -> None:
        """Batch norm keeps its statistics in training, too: those of batches of spikes would be others."""
        for norm in self.norms:
            norm.eval()

    def loss(self, scores: Tensor, labels: Tensor, membranes: Membranes, x: Tensor) -> Tensor:
        """Of scores [B, K], the means over time."""
        return self.cross_entropy(self.sum_over * scores, labels)

    @torch.no_grad()
    def _calibrate(self, run: Run, layers: dict[str, IntegrateAndFire], encode: Encoder | None) -> None:
        x = pictures(run, self.pictures)
        was_training = run.model.training
        run.model.eval()
        for name, layer in layers.items():
            if self.balance == "source":
                found = percentile(run.source.network, name, x, self.percentile)
            else:
                found = self._largest_current(run.model, name, x, encode)
            if found > 0:  # else the layer never fires, whatever its threshold
                layer.threshold.fill_(found)
        for layer in layers.values():
            layer.threshold.mul_(self.factor)
        run.model.train(was_training)

    def _largest_current(self, model: SpikingNetwork, name: str, x: Tensor, encode: Encoder | None) -> float:
        """What flows into a layer of the spiking network at most, as :attr:`percentile` says, over all timesteps."""
        generator = None if encode is None else torch.Generator(x.device).manual_seed(CALIBRATION_SEED)
        timesteps = x.shape[1] if x.dim() == 5 else self.calibration_timesteps or model.timesteps
        found = []
        with streaming(model):
            for t in range(timesteps):
                now = x[:, t : t + 1] if x.dim() == 5 else x
                now = now if encode is None else encode(now, generator)
                found.append(percentile(model, name, now, self.percentile, at_once=len(x)))
        return max(found)


def _integrate_and_fire(network: SpikingNetwork) -> dict[str, IntegrateAndFire] | None:
    """A network's neuron layers by name, None unless all are integrate-and-fire."""
    layers = named_neurons(network)
    return layers if all(isinstance(layer, IntegrateAndFire) for layer in layers.values()) else None


def _require_no_constants(run: Run, layers: dict[str, IntegrateAndFire]) -> None:
    """Raise UserError where a spike is 1 and a layer adds constants, which are in units of the source's activations."""
    if not any(layer.spike_value == "one" for layer in layers.values()):
        return
    for name, tensor in run.model.state_dict().items():
        if name.endswith(("bias", "running_mean")) and tensor.any():
            raise UserError(
                f"spike_value is one, but {name} adds a constant in units of the source's activations; such a network "
                "keeps what it computes with spike_value=threshold"
            )
