"""What a way to train may change: a hook for each, and each defaults to the paper's way.

A published method is a subclass with the hooks that it needs, mostly one::

    class AtEachTimestep(Method):
        each_timestep = True                              # scores [T, B, K] rather than their mean over time [B, K]

        def loss(self, scores, labels, membranes, x):
            return torch.stack([self.cross_entropy(step, labels) for step in scores]).mean()

An instance belongs to one training. What decides its result must lie in the options that it is made with, in the source
run, or in :meth:`Method.tensors`: then a training that was cut off goes on to the bit.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.data.loading import TrainingBatches
from ternary_spike.models.base import SpikingNetwork

Membranes = dict[str, Any]  # by layer what Method.loss says


@dataclass(frozen=True)
class Source:
    """The finished run that a training starts from: its teacher, or the network that it converts.

    Attributes:
        record: content of its run.json.
        network: as trained, in evaluation mode, without gradients, on the training's device.
    """

    record: dict
    network: SpikingNetwork


class Run(Protocol):
    """What a method sees of the training that it is a part of.

    Attributes:
        model: the network, on its device, initialised from the seed.
        recipe: the training's.
        source: the run that it starts from; None if it starts from none.
        batches: the training split: ``batches.epoch(0)`` yields augmented pictures and labels. None where a step is
            only timed.
        weight: factor of a step's loss, and so of its gradients. It is 1 but where several processes share a batch
            that does not divide evenly: gradients are averaged over processes.
    """

    model: SpikingNetwork
    recipe: Recipe
    source: Source | None
    batches: TrainingBatches | None
    weight: float

    def scores(self, x: Tensor) -> tuple[Tensor, Membranes]:
        """Class scores in float32, as the method wants them, and what it watches; gradients flow through all of it."""

    def mean(self, part: Tensor) -> Tensor:
        """Means over the whole batch, given those over this process's part of it; gradients flow through them."""

    def autocast(self) -> AbstractContextManager:
        """The recipe's precision, for a method that calls the network itself."""

    def update(self) -> None:
        """One more update within a step: by the gradients that are there, which then are gone."""


class Method:
    """A way to train.

    Attributes:
        each_timestep: whether the loss takes the class scores of each timestep rather than their mean over time.
        watches: whether the loss takes membrane potentials and spikes.
        terms: where the loss takes means over membrane potentials instead, their names in
            :data:`ternary_spike.membrane.potential_terms.TERMS`; a step with them is about as fast as without.
        label_smoothing: the recipe's.
        one_process: whether several processes that share each batch would compute something else; they are refused.
        companion: what is trained with the network by the same optimiser and is no part of it, such as a projection;
            :meth:`begin` makes it, where the network is. A checkpoint keeps its values if :meth:`tensors` names them.
            A batch norm in it takes the statistics of each process for itself.
    """

    each_timestep: bool = False
    watches: bool = False
    terms: tuple[str, ...] = ()
    label_smoothing: float = 0.0
    one_process: bool = False
    companion: nn.Module | None = None

    def begin(self, run: Run) -> None:
        """Make ready: convert, calibrate, keep the teacher. The default does nothing.

        It is called whenever a process takes the training up, before a checkpoint is read: what it does to the
        network's weights and to :meth:`tensors` is then replaced by what the checkpoint holds. It may change weights,
        but no layers: the run's record describes them by architecture, neuron and options.
        """

    def epoch(self, share: float) -> None:
        """Set the method's own constants for an epoch. The default has none.

        Args:
            share: the finished part of the training, 0 in the first epoch; it is all that the constants may depend on.
        """

    def loss(self, scores: Tensor, labels: Tensor, membranes: Membranes, x: Tensor) -> Tensor:
        """The loss of a batch, a scalar: the mean over its samples.

        What is no mean over samples, such as the square of one, needs the samples of all processes: ``run.mean``.

        Args:
            scores: class scores [B, K], or [T, B, K] with :attr:`each_timestep`.
            labels: int64 [B].
            membranes: by layer the potential before the reset and the un-scaled spikes, each [T, B, C, H, W]; with
                :attr:`terms` by layer and term the mean of each channel [C]; empty without :attr:`watches`.
            x: the batch, [B, C, H, W] or [B, T, C, H, W].
        """
        return self.cross_entropy(scores, labels)

    def cross_entropy(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of scores [B, K] in nats, smoothed as the recipe says, the mean over the batch."""
        return F.cross_entropy(scores, labels, label_smoothing=self.label_smoothing)

    def gradients(self, run: Run, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Leave a gradient at every parameter that is to be updated; those of the last step are gone.

        Another way to assign credit overrides it; the default is back-propagation through time.

        Returns:
            The batch's loss times ``run.weight``, and its class scores as :meth:`loss` takes them.
        """
        scores, membranes = run.scores(x)
        # the mean over the whole batch, where processes hold parts of unequal size and gradients are averaged
        loss = self.loss(scores, labels, membranes, x) * run.weight
        loss.backward()
        return loss, scores

    def updated(self) -> None:
        """Put the network's weights in order behind an update, where they follow from others. The default does nothing.

        Nothing looks at them before.
        """

    def tensors(self) -> dict[str, Tensor]:
        """What the method has learnt or counted and a checkpoint must keep, alike in every process."""
        return {}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take from a checkpoint what :meth:`tensors` gave."""


def frozen(network: nn.Module) -> nn.Module:
    """A network in evaluation mode whose parameters take no gradients."""
    return network.eval().requires_grad_(False)
