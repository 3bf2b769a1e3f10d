"""Local tandem learning: each layer learns from the same layer of a trained network, and no gradient leaves a layer.

Q. Yang et al., "Training Spiking Neural Networks with Local Tandem Learning", NeurIPS 2022 (arXiv 2210.04532), after
the authors' code; the paper's text could not be had.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ternary_spike.methods.base import Membranes, Method, Run
from ternary_spike.methods.calibration import percentile_of
from ternary_spike.methods.sources import network_of, require_same_shape
from ternary_spike.models.base import named_neurons
from ternary_spike.system.errors import UserError


class LocalTandemLearning(Method):
    """Firing rates r_l pulled to the teacher's activations A_l, layer by layer (the offline rule).

        y_l = clamp(A_l / P(A_l), 0, 1),   L = CE(Z, labels) + lambda sum_l mean((r_l - y_l)^2)

    r_l is the mean over time of what layer l emits, P a percentile of the layer's activations on the batch. What a
    layer emits goes on without a gradient: convolutions, batch norm and neurons of a layer learn from its own term
    alone, by back-propagation through its T timesteps, and the classifier alone sees the labels. The teacher is the
    source; it is in evaluation mode, sees the student's pictures, and is gone at inference.

    Filled in: the student keeps the batch norm that the authors' has not, and the teacher's activations are not cut off
    at 2; a neuron layer behind a block's sum has the target of the same place, its shortcut being part of the layer.
    The authors' online rule, which also detaches the timesteps from each other, is not here.

    Args:
        weight: lambda.
        percent: the percentile P.
    """

    one_process = True  # the percentile is that of the whole batch

    def __init__(self, weight: float = 1.0, percent: float = 99.9) -> None:
        self.weight, self.percent = weight, percent

    def begin(self, run: Run) -> None:
        """Keep the teacher, record what both networks' neuron layers emit, and cut the gradient behind the student's.

        Raises:
            UserError: as :func:`network_of`; or if the teacher has other layers.
        """
        self.teacher = network_of(run)
        self.rates: dict[str, Tensor] = {}
        self.activations: dict[str, Tensor] = {}
        students, teachers = named_neurons(run.model), named_neurons(self.teacher)
        if students.keys() != teachers.keys():
            name = min(students.keys() ^ teachers.keys())
            raise UserError(
                f"each layer learns from the source's, but only one of network and source {run.source.record['id']} "
                f"has a layer {name}; choose a source of the same architecture"
            )
        for name in students:
            students[name].register_forward_hook(self._student_hook(name))
            teachers[name].register_forward_hook(self._teacher_hook(name))

    def _student_hook(self, name: str):
        """In training: keep a layer's rates, and hand its spikes on without a gradient."""

        def keep(layer: nn.Module, _inputs: tuple, spikes: Tensor) -> Tensor:
            if not layer.training:
                return spikes
            self.rates[name] = spikes.mean(0)
            return spikes.detach()

        return keep

    def _teacher_hook(self, name: str):
        """Keep a layer's activations, the mean over the teacher's timesteps."""

        def keep(_layer: nn.Module, _inputs: tuple, activations: Tensor) -> None:
            self.activations[name] = activations.mean(0)

        return keep

    def loss(self, scores: Tensor, labels: Tensor, membranes: Membranes, x: Tensor) -> Tensor:
        """L of the spikes that led to these scores [B, K].

        Raises:
            UserError: if a layer has another shape in the teacher.
        """
        with torch.no_grad():
            self.teacher(x)
        distances = [self._distance(name, scores.dtype) for name in [*self.rates]]
        return self.cross_entropy(scores, labels) + self.weight * torch.stack(distances).sum()

    def _distance(self, name: str, dtype: torch.dtype) -> Tensor:
        rates, activations = self.rates.pop(name).to(dtype), self.activations.pop(name).to(dtype)
        require_same_shape(f"layer {name} is", rates, activations)
        return F.mse_loss(rates, targets(activations, self.percent))


def targets(activations: Tensor, percent: float) -> Tensor:
    """y_l of activations [B, C, H, W], in [0, 1]; all 0 where a layer is silent."""
    highest = percentile_of(activations, percent).clamp(min=torch.finfo(activations.dtype).tiny)
    return (activations / highest).clamp(0, 1)
