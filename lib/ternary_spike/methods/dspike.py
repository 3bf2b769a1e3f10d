"""Dspike (Li, Guo, Zhang, Deng, Hai and Gu, NeurIPS 2021): how steep surrogate gradients are is chosen every epoch.

Spikes stay hard; their derivative is that of a tanh at a temperature b (the surrogate ``tanh`` with ``window=0.5``):

    g_b(u) = b sech^2(b (u - V_th)) / (2 tanh(b/2))  where |u - V_th| <= 1/2, else 0

With w the first convolution's weights, e_i a unit vector and L the loss of one batch, the difference quotients

    FDG_i = (L(w + eps e_i) - L(w - eps e_i)) / (2 eps)

say in which direction the loss really falls. Of b, b + db and b - db the epoch is trained with the one whose surrogate
gradient dL/dw has the largest cosine with FDG (Algorithm 1). Cosines do not see how large a gradient is.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ternary_spike.data.loading import derived_seed
from ternary_spike.methods.base import Method, Run
from ternary_spike.methods.calibration import trial
from ternary_spike.methods.temperature import layers_with_temperature
from ternary_spike.system.errors import UserError

ROUNDING = 1e-6  # of a cosine of float32 gradients: no temperature is better by less
DIGITS = 9  # of a temperature, so that steps of 0.2 downwards end at 0 and not just above it


def difference_quotients(loss: Callable[[], Tensor], weights: Tensor, places: Tensor, epsilon: float) -> Tensor:
    """The finite-difference gradient at some of the weights: two evaluations of the loss for each.

    Args:
        loss: of the weights as they are, a scalar.
        weights: any shape; changed for each evaluation, and in the end what they were to the bit.
        places: int64 [n], numbers of weights in the order of :meth:`torch.Tensor.flatten`.
        epsilon: eps.

    Returns:
        FDG at these places, float64 [n], on the processor.
    """
    found = []
    with torch.no_grad():
        for where in zip(*(axis.tolist() for axis in torch.unravel_index(places, weights.shape)), strict=True):
            before = weights[where].clone()
            sides = []
            for change in (epsilon, -epsilon):
                weights[where] = before + change
                sides.append(loss().double().item())
            weights[where] = before
            found.append((sides[0] - sides[1]) / (2 * epsilon))
    return torch.tensor(found, dtype=torch.float64)


def cosine(a: Tensor, b: Tensor) -> float:
    """Of two vectors [n]; 0 if one of them is zero."""
    a, b = a.double().cpu(), b.double().cpu()
    lengths = (a.norm() * b.norm()).item()
    return (a @ b).item() / lengths if lengths > 0 else 0.0


def best_temperature(temperature: float, step: float, agreement: Callable[[float], float]) -> float:
    """Of b, b + db and b - db the one with the largest agreement; b where none is larger, and none of 0 or less."""
    best, chosen = agreement(temperature), temperature
    for candidate in (round(temperature + step, DIGITS), round(temperature - step, DIGITS)):
        if candidate > 0 and (found := agreement(candidate)) > best + ROUNDING:
            best, chosen = found, candidate
    return chosen


class Dspike(Method):
    """Cross-entropy, with a temperature that is chosen at the beginning of each epoch, near that of the epoch before.

    Before the first it is the neurons' option.

    The paper's text and code could not be had: how large both steps are, on which batch the loss is, and how batch norm
    computes meanwhile is filled in. Here it is the epoch's first batch, with that batch's statistics, and running
    statistics do not move. The paper takes all weights of the first layer, two passes through the network for each; the
    default takes some, drawn anew for each seed and epoch, and compares the gradients there.

    Args:
        temperature_step: db.
        weight_step: eps; it has to be large enough to make neurons fire, or stop, now and then.
        weights: how many weights of the first convolution are taken; 0 for all.
    """

    one_process = True

    def __init__(self, temperature_step: float = 0.2, weight_step: float = 0.05, weights: int = 32) -> None:
        self.temperature_step, self.weight_step, self.weights = temperature_step, weight_step, weights

    def begin(self, run: Run) -> None:
        """Find the first convolution and the neurons.

        Raises:
            UserError: if the network has no convolution, or a neuron layer no temperature.
        """
        self.run, self.layers = run, layers_with_temperature(run.model, "Dspike")
        layers = (module for _, unit in run.model.units() for module in unit.modules())
        first_conv = next((module for module in layers if isinstance(module, nn.Conv2d)), None)
        if first_conv is None:
            raise UserError("Dspike compares gradients of the first convolution, and this network has none")
        self.first_weight = first_conv.weight
        # the weights are as the run's seed initialised them, and are again when a cut-off training is taken up
        self.seed = derived_seed("dspike", *self.first_weight.flatten().tolist())
        # chosen: the epoch that the temperature was chosen for
        self.temperature, self.chosen = self.layers[0].temperature.item(), -1

    def epoch(self, share: float) -> None:
        """Choose the epoch's temperature, unless it was chosen before the training was cut off."""
        epoch = round(share * self.run.recipe.epochs)
        if self.run.batches is not None and epoch > self.chosen:
            self.temperature, self.chosen = self.choose(epoch), epoch
        self._set(self.temperature)

    def choose(self, epoch: int) -> float:
        """The temperature of an epoch, which counts from 0, by its first batch."""
        x, labels = next(iter(self.run.batches.epoch(epoch)))
        places = self.compared_places(epoch)

        def loss() -> Tensor:
            scores, membranes = self.run.scores(x)
            return self.loss(scores, labels, membranes, x)

        def agreement(temperature: float) -> float:
            self._set(temperature)
            (gradient,) = torch.autograd.grad(loss(), self.first_weight)
            return cosine(gradient.flatten()[places.to(gradient.device)], wanted)

        with trial(self.run.model, training=True):
            wanted = difference_quotients(loss, self.first_weight, places, self.weight_step)
            return best_temperature(self.temperature, self.temperature_step, agreement)

    def compared_places(self, epoch: int) -> Tensor:
        """Numbers of the weights that are taken in an epoch, int64 [n], in the order of ``flatten``."""
        count = self.first_weight.numel()
        if not 0 < self.weights < count:
            return torch.arange(count)
        generator = torch.Generator().manual_seed(derived_seed(self.seed, epoch))
        return torch.randperm(count, generator=generator)[: self.weights]

    def _set(self, temperature: float) -> None:
        for layer in self.layers:
            layer.set_temperature(temperature)

    def tensors(self) -> dict[str, Tensor]:
        """The temperature, and the epoch that it was chosen for."""
        return {"temperature": torch.tensor(self.temperature, dtype=torch.float64), "chosen": torch.tensor(self.chosen)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on with both."""
        self.temperature, self.chosen = tensors["temperature"].item(), int(tensors["chosen"])
