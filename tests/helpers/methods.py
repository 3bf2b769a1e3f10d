"""Ways to train as a user would write them, each in the few lines that it should take."""

from typing import ClassVar

import torch
from torch.nn import functional as F

from ternary_spike.configuration.register import Option
from ternary_spike.methods.base import Method


class AtEachTimestep(Method):
    """Cross-entropy at each timestep, pulled towards a margin that moves with the training."""

    OPTIONS: ClassVar = {"margin": Option(1.0, "what the scores are pulled to", low=0.0, high=10.0)}
    each_timestep = True

    def __init__(self, margin: float = 1.0) -> None:
        self.margin = margin

    def epoch(self, share: float) -> None:
        self.pull = 0.1 * (1 - share)

    def loss(self, scores, labels, membranes, x):
        entropy = torch.stack([self.cross_entropy(step, labels) for step in scores]).mean()
        return entropy + self.pull * (scores - self.margin).square().mean()


class QuietMembranes(Method):
    """Membrane potentials near the spikes that they cause, the more so the more batches were seen."""

    watches = True

    def __init__(self) -> None:
        self.batches = torch.zeros(())

    def loss(self, scores, labels, membranes, x):
        self.batches += 1
        distances = [(u - b).square().mean() for u, b in membranes.values()]
        return self.cross_entropy(scores, labels) + 0.01 * self.batches * torch.stack(distances).mean()

    def tensors(self):
        return {"batches": self.batches}

    def load(self, tensors):
        self.batches.copy_(tensors["batches"])


class Teacher(Method):
    """Cross-entropy, and the teacher's softened scores."""

    FROM_RUN = True
    OPTIONS: ClassVar = {"temperature": Option(4.0, "of both networks' scores", above=0.0, high=100.0)}

    def __init__(self, temperature: float = 4.0) -> None:
        self.temperature = temperature

    def begin(self, run) -> None:
        self.teacher = run.source.network

    def loss(self, scores, labels, membranes, x):
        with torch.no_grad():
            taught = F.softmax(self.teacher(x) / self.temperature, 1)
        student = F.log_softmax(scores / self.temperature, 1)
        distance = F.kl_div(student, taught, reduction="batchmean") * self.temperature**2
        return self.cross_entropy(scores, labels) + 0.5 * distance


class Noisy(Method):
    """Scores with noise: what is drawn must be drawn again by a training that goes on."""

    def loss(self, scores, labels, membranes, x):
        return self.cross_entropy(scores + torch.randn_like(scores), labels)


class Converted(Method):
    """The source's weights as they are."""

    FROM_RUN = True

    def begin(self, run) -> None:
        run.model.load_state_dict(run.source.network.state_dict(), strict=False)


class ClassifierAlone(Method):
    """Credit in another way: nothing but the classifier learns, from the rates of the last spikes."""

    def gradients(self, run, x, labels):
        with torch.no_grad():
            rates = run.model.features(x).mean((0, 3, 4))
        scores = run.model.classifier(rates)
        loss = self.cross_entropy(scores, labels) * run.weight
        loss.backward()
        return loss, scores


class OneProcess(Method):
    """The paper's way, by one process alone."""

    one_process = True


class NeedsData(Method):
    """The paper's way, once it has seen the first batch."""

    def begin(self, run) -> None:
        self.first = next(iter(run.batches.epoch(0)))


class Projected(Method):
    """Class scores through a matrix that is trained along and is no part of the network; weights stay in [-1, 1]."""

    def begin(self, run) -> None:
        classes = run.model.classifier.out_features
        self.model, self.companion = run.model, torch.nn.Linear(classes, classes, bias=False)
        torch.nn.init.eye_(self.companion.weight)

    def loss(self, scores, labels, membranes, x):
        return self.cross_entropy(self.companion(scores), labels)

    def updated(self) -> None:
        with torch.no_grad():
            for p in self.model.parameters():
                p.clamp_(-1, 1)

    def tensors(self):
        return self.companion.state_dict()

    def load(self, tensors):
        self.companion.load_state_dict(tensors)


class Exploding(Method):
    """A loss that is not finite from the second epoch on."""

    def epoch(self, share: float) -> None:
        self.factor = float("nan") if share > 0 else 1.0

    def loss(self, scores, labels, membranes, x):
        return self.cross_entropy(scores, labels) * self.factor


class NoMethod:
    """Something else."""
