"""KDSNN (Xu et al., CVPR 2023): the spiking network is the student of a trained network, mostly one without spikes.

The teacher is the source run. It is in evaluation mode, takes no gradients, sees the very pictures of each batch, as
augmented for the student, and nothing is drawn at random for it. At inference nothing of the method is left.

The authors published no code, and the paper's text could not be had. Its abstract and public summaries say that the
teacher's class scores (response-based) or its intermediate features (feature-based) are distilled. The equations below
are taken from memory of the paper and unverified; what else is filled in stands with each class.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ternary_spike.methods.base import Membranes, Method, Run
from ternary_spike.methods.sources import network_of, require_same_shape
from ternary_spike.models.base import SpikingNetwork
from ternary_spike.system.errors import UserError


class ResponseDistillation(Method):
    """The teacher's class scores Z^T, softened by a temperature tau, as a second target of the student's Z^S.

        q = softmax(Z / tau),   L = (1 - alpha) CE(Z^S, y) + alpha tau^2 KL(q^T || q^S)

    The gradient of the second term is alpha tau (q^S - q^T), averaged over the batch. Both networks' scores are means
    over time. Filled in: alpha; KL rather than cross-entropy, which differ by a constant; the factor tau^2 and tau = 4,
    as in the public distillation fei015/IDSNN (not the authors').

    Args:
        share: alpha.
        temperature: tau.
    """

    def __init__(self, share: float = 0.5, temperature: float = 4.0) -> None:
        self.share, self.temperature = share, temperature

    def begin(self, run: Run) -> None:
        """Keep the teacher; see :func:`network_of`."""
        self.teacher = network_of(run)

    def loss(self, scores: Tensor, labels: Tensor, membranes: Membranes, x: Tensor) -> Tensor:
        """L of scores Z^S [B, K]."""
        with torch.no_grad():
            taught = F.log_softmax(self.teacher(x).to(scores.dtype) / self.temperature, 1)
        learnt = F.log_softmax(scores / self.temperature, 1)
        distance = F.kl_div(learnt, taught, reduction="batchmean", log_target=True) * self.temperature**2
        return (1 - self.share) * self.cross_entropy(scores, labels) + self.share * distance


class FeatureDistillation(Method):
    """What the teacher puts out at the end of each stage i as the target of the student's firing rates there.

        S_i = 1/T sum_t s_i[t],   L = CE(Z^S, y) + alpha sum_i ||S_i - min(T_i, ceiling)||_2^2

    s_i[t] are the emitted spikes, amplitude included; T_i is the teacher's mean over time. The norm sums over channels
    and places, and its square is averaged over the batch: a mean over places would need a much larger alpha.

    Filled in: which places (the last block of each stage); that emitted spikes are compared, not what causes them; the
    ceiling, since rates cannot reach what a ReLU puts out (the paper's transform of the teacher's features, a ReLU with
    a margin, and the one of the student's are not known); alpha, which is the default of the loss called KDSNN in the
    code of BKDSNN (Xu et al., ECCV 2024). There is no learnt projection between networks of different width: these are
    refused.

    Args:
        weight: alpha.
        ceiling: what the teacher's features are cut off at; the rate of spikes {0, 1} is at most 1.
    """

    def __init__(self, weight: float = 7e-5, ceiling: float = 1.0) -> None:
        self.weight, self.ceiling = weight, ceiling

    def begin(self, run: Run) -> None:
        """Keep the teacher and listen at the stages of both networks.

        Raises:
            UserError: as :func:`network_of`; or if the networks have no stages, or not the same ones.
        """
        self.teacher = network_of(run)
        self.spikes: dict[str, Tensor] = {}
        self.taught: dict[str, Tensor] = {}
        students, teachers = (last_of_stages(network) for network in (run.model, self.teacher))
        if not students or students.keys() != teachers.keys():
            theirs = " and ".join(", ".join(stages) or "none" for stages in (students, teachers))
            raise UserError(
                f"features are distilled at the end of each stage, but the stages of network and source are {theirs}; "
                "choose a source of an architecture with the same stages, or method kdsnn"
            )
        self.stages = list(students)
        for stage in self.stages:
            listen(students[stage], stage, self.spikes, training=True)
            listen(teachers[stage], stage, self.taught, training=False)

    def loss(self, scores: Tensor, labels: Tensor, membranes: Membranes, x: Tensor) -> Tensor:
        """L of the spikes that led to these scores [B, K].

        Raises:
            UserError: if features have other shapes in the teacher.
        """
        with torch.no_grad():
            self.teacher(x)
        distances = [self._distance(stage, scores.dtype) for stage in self.stages]
        return self.cross_entropy(scores, labels) + self.weight * torch.stack(distances).sum()

    def _distance(self, stage: str, dtype: torch.dtype) -> Tensor:
        rates, wanted = self.spikes.pop(stage).to(dtype).mean(0), self.taught.pop(stage).to(dtype).mean(0)
        require_same_shape(f"the features at the end of {stage} are", rates, wanted, ", or method kdsnn")
        return (rates - wanted.clamp(max=self.ceiling)).square().flatten(1).sum(1).mean()


def last_of_stages(network: SpikingNetwork) -> dict[str, nn.Module]:
    """The last unit of each stage, by the stage's name."""
    return {name.partition(".")[0]: unit for name, unit in network.units() if name.startswith("stage")}


def listen(unit: nn.Module, name: str, outputs: dict[str, Tensor], training: bool) -> None:
    """Keep a unit's output, [T, B, C, H, W], in ``outputs[name]`` whenever it has run.

    Args:
        unit: the unit.
        name: the key.
        outputs: where outputs are kept.
        training: the mode in which they are kept. Of a student it is training alone, since nothing takes its features
            away when it is evaluated between epochs; a teacher is always in evaluation mode.
    """

    def keep(unit: nn.Module, _inputs: tuple, output: Tensor) -> None:
        if unit.training == training:
            outputs[name] = output

    unit.register_forward_hook(keep)
