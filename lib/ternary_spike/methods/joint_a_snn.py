"""Joint A-SNN: a network with spikes and one without share the factors of their convolutions and are trained together.

Y. Guo et al., "Joint A-SNN: Joint training of artificial and spiking neural networks via self-Distillation and weight
factorization", Pattern Recognition 142:109639, 2023 (arXiv 2305.02099), after the authors' code; the paper's text could
not be had.
"""

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ternary_spike.methods.base import Method, Run
from ternary_spike.methods.kdsnn import last_of_stages, listen
from ternary_spike.models.base import named_neurons
from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.blocks import ConvUnit, Make
from ternary_spike.neurons.base import SpikingNeuron
from ternary_spike.system.errors import UserError

SPIKING, PLAIN = "spiking", "plain"


class Head(NamedTuple):
    """What a head says of a batch: class scores [B, K], and the pooled features [B, C] that they are made of."""

    scores: Tensor
    features: Tensor


class Factors(nn.Module):
    """The weights [C', C, k, k] of a convolution with spikes and of the same one without, as factors they share.

        W_m(p) = U(p) diag(sigma_m(p)) V(p)      at each place p of the kernel

    They begin as the singular value decomposition of one weight; then all of them are free.

    Args:
        weight: what both weights are before training.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.sides = weight.shape[2:]
        u, sigma, v = torch.linalg.svd(weight.detach().permute(2, 3, 0, 1).flatten(0, 1), full_matrices=False)
        self.u, self.v = nn.Parameter(u), nn.Parameter(v)
        self.sigma = nn.ParameterDict({mode: nn.Parameter(sigma.clone()) for mode in (SPIKING, PLAIN)})

    def weight(self, mode: str) -> Tensor:
        """W_m [C', C, k, k]; gradients flow to all factors."""
        product = (self.u * self.sigma[mode].unsqueeze(1)) @ self.v
        return product.unflatten(0, self.sides).permute(2, 3, 0, 1).contiguous(memory_format=torch.channels_last)


class Joint(nn.Module):
    """A module with spikes, its twin without, and the factors of their convolutions.

    The twin's batch norms and classifier are its own, but for the classifier's bias, which both have.

    Args:
        spiking: is no part of this module, but its twin is.
        stored: whether the spiking convolutions keep a place for their weight.
    """

    def __init__(self, spiking: nn.Module, stored: bool) -> None:
        super().__init__()
        self.modes = {SPIKING: spiking, PLAIN: without_spikes(spiking)}
        self.plain = self.modes[PLAIN]
        self.plain.classifier.bias = None  # a parameter is one module's
        convolutions = [(name, m) for name, m in spiking.named_modules() if isinstance(m, nn.Conv2d)]
        self.names = [name for name, _ in convolutions]
        self.factors = nn.ModuleList(Factors(conv.weight) for _, conv in convolutions)
        for name, conv in convolutions:
            for emptied in [self.plain.get_submodule(name), *([] if stored else [conv])]:
                del emptied.weight
                emptied.register_buffer("weight", torch.empty(0), persistent=False)

    def forward(self, mode: str, *inputs: Tensor):
        """What the module of a mode computes with the weights of that mode."""
        weights = {f"{name}.weight": f.weight(mode) for name, f in zip(self.names, self.factors, strict=True)}
        if (bias := self.modes[SPIKING].classifier.bias) is not None:
            weights["classifier.bias"] = bias
        return functional_call(self.modes[mode], weights, inputs)

    @torch.no_grad()
    def store(self) -> None:
        """Put the spiking convolutions' weights into their places."""
        for name, factors in zip(self.names, self.factors, strict=True):
            self.modes[SPIKING].get_submodule(name).weight.copy_(factors.weight(SPIKING))


class Branch(nn.Module):
    """A head on what a stage puts out, reduced in one step to the size of what the last stage does.

    Args:
        channels: of the stage.
        kernel: how many times smaller the last stage's pictures are.
        features: channels of the last stage, and of what the head pools; a quarter of them lie in between.
        classes: number of class scores.
        neuron: makes a neuron layer.
    """

    def __init__(self, channels: int, kernel: int, features: int, classes: int, neuron: Make) -> None:
        super().__init__()
        between = max(1, features // 4)
        self.units = nn.ModuleList(
            ConvUnit(*sizes, neuron)
            for sizes in ((channels, between, 1, 1), (between, between, kernel, kernel), (between, features, 1, 1))
        )
        self.classifier = nn.Linear(features, classes)
        for unit in self.units:
            unit.conv.padding = (0, 0)
            fan_out = unit.conv.kernel_size[0] ** 2 * unit.conv.out_channels
            nn.init.normal_(unit.conv.weight, 0.0, math.sqrt(2 / fan_out))

    def forward(self, x: Tensor) -> Head:
        """The head's means over time, of [T, B, C, H, W].

        Raises:
            UserError: if the pictures are too small.
        """
        if min(x.shape[3:]) < (kernel := self.units[1].conv.kernel_size[0]):
            raise UserError(
                f"a branch takes stages of {kernel}x{kernel} places at least, and this one has "
                f"{x.shape[3]}x{x.shape[4]}; choose an architecture with fewer stages, or larger pictures"
            )
        for unit in self.units:
            x = unit(x)
        features = x.mean((0, 3, 4))
        return Head(self.classifier(features), features)


class JointASNN(Method):
    """The network and its twin without spikes learn together from the labels and the twin's class scores and features.

    Heads are the network's own, i = 0, and one on each stage i = 1, 2, ... but the last, with and without spikes. With
    z the class scores and f the pooled features of a head, both summed over time, q = softmax(z / theta), and no
    gradient through what teaches, marked by a bar:

        CE = sum_i CE(z_i, y) + CE(z'_i, y)                                              z' without spikes
        KD = theta^2 (sum_{i>0} H(q'_0_bar, q'_i) + sum_i H(q'_i_bar, q_i))              H the cross-entropy
        FE = sum_i sum (f_i - f'_i_bar)^2 where f_i or f'_i is above 0                   summed over the batch too
        L  = (1 - alpha) CE + alpha KD + beta FE

    Convolutions are factors (:class:`Factors`), which are what is trained; the network's weights hold their product
    after each update. Batch norm takes the statistics of each timestep for itself. Of all this inference needs the
    network alone. A network without stages has one head.

    Filled in: how branches are made for networks other than the authors' ResNet18 (their sizes by those of the stages);
    that branches have batch norm whatever the network has, and classifiers as torch begins them; that event frames
    reach the twin as their mean.

    Args:
        share: alpha.
        weight: beta.
        temperature: theta.
    """

    one_process = True

    def __init__(self, share: float = 0.1, weight: float = 1e-6, temperature: float = 3.0) -> None:
        self.share, self.weight, self.temperature = share, weight, temperature

    def begin(self, run: Run) -> None:
        """Make the twin, the branches and the factors.

        Raises:
            UserError: if the network has no spiking neurons, or they cannot be made for other channels.
        """
        model, self.timesteps = run.model, run.model.timesteps
        neuron = self._neuron(model)
        for module in model.modules():
            if isinstance(module, BatchNorm2d):
                module.per_step = True
        stages = [*last_of_stages(model).values()]
        device, classes = model.classifier.weight.device, model.classifier.out_features
        self.companion = nn.ModuleDict({"trunk": Joint(model, stored=True)})
        for i, stage in enumerate(stages[:-1], 1):
            sizes = stage.conv2.out_channels, 2 ** (len(stages) - i), stages[-1].conv2.out_channels
            branch = Branch(*sizes, classes, lambda _channels: copy.deepcopy(neuron)).to(device)
            self.companion[f"spiking{i}"] = branch
            self.companion[f"branch{i}"] = Joint(branch, stored=False)
        for module in self.companion.modules():
            if isinstance(module, BatchNorm2d):
                module.per_step = True
        self.branches = [self.companion[f"branch{i}"] for i in range(1, len(stages))]
        self.heard: dict[str, dict[str, Tensor]] = {SPIKING: {}, PLAIN: {}}
        for mode, network in self.companion["trunk"].modes.items():
            units = [*[*last_of_stages(network).values()][:-1], [unit for _, unit in network.units()][-1]]
            for i, unit in enumerate(units):
                listen(unit, str(i), self.heard[mode], training=True)
        self.updated()

    @staticmethod
    def _neuron(model: nn.Module) -> SpikingNeuron:
        """A layer of the network's kind of neurons as they are before training."""
        name, neuron = [*named_neurons(model).items()][-1]
        own = [*neuron.parameters(), *neuron.buffers()]
        if not isinstance(neuron, SpikingNeuron) or any(tensor.dim() for tensor in own):
            raise UserError(
                f"the branches' layers are those of layer {name}, and {type(neuron).__name__} there has no spikes, or "
                "something for each channel or place; choose another neuron or other options of it"
            )
        return neuron

    def gradients(self, run: Run, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Through both networks to the factors that they share."""
        still = x.mean(1) if x.dim() == 5 else x
        with run.autocast():
            spiking, plain = self.heads(SPIKING, x), self.heads(PLAIN, still)
        loss = self.joint_loss(spiking, plain, labels) * run.weight
        loss.backward()
        return loss, spiking[0].scores

    def heads(self, mode: str, x: Tensor) -> list[Head]:
        """All heads of a mode, the network's own first, in float32; class scores and features are sums over time.

        Args:
            mode: :data:`SPIKING` or :data:`PLAIN`.
            x: [B, C, H, W]; with spikes also frames [B, T, C, H, W].
        """
        scores, heard = self.companion["trunk"](mode, x), self.heard[mode]
        outputs = [heard.pop(str(i)) for i in range(1 + len(self.branches))]
        found = [Head(scores, outputs[-1].mean((0, 3, 4)))]
        found += [branch(mode, output) for branch, output in zip(self.branches, outputs, strict=False)]
        steps = self.timesteps if mode == SPIKING else 1
        return [Head(steps * head.scores.float(), steps * head.features.float()) for head in found]

    def joint_loss(self, spiking: list[Head], plain: list[Head], labels: Tensor) -> Tensor:
        """L of the heads of both networks."""
        entropy = sum(self.cross_entropy(head.scores, labels) for head in [*spiking, *plain])
        taught = [(plain[0], head) for head in plain[1:]] + list(zip(plain, spiking, strict=True))
        distilled = self.temperature**2 * sum(self.soft_entropy(teacher, student) for teacher, student in taught)
        distances = 0.0
        for student, teacher in zip(spiking, plain, strict=True):
            wanted = teacher.features.detach()
            active = (student.features > 0) | (wanted > 0)
            distances = distances + ((student.features - wanted).square() * active).sum()
        return (1 - self.share) * entropy + self.share * distilled + self.weight * distances

    def soft_entropy(self, teacher: Head, student: Head) -> Tensor:
        """H of both heads' softened class scores in nats, the mean over the batch; no gradient reaches the teacher."""
        wanted = F.softmax(teacher.scores.detach() / self.temperature, 1)
        return F.cross_entropy(student.scores / self.temperature, wanted)

    def updated(self) -> None:
        """Bring the network's weights up to date."""
        self.companion["trunk"].store()

    def tensors(self) -> dict[str, Tensor]:
        """Factors, twins and branches."""
        return self.companion.state_dict()

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take them from a checkpoint."""
        self.companion.load_state_dict(tensors)


def without_spikes(module: nn.Module) -> nn.Module:
    """A copy whose neuron layers are ReLUs, for one timestep."""
    twin = copy.deepcopy(module)
    for parent in [*twin.modules()]:
        for name, child in parent.named_children():
            if isinstance(child, SpikingNeuron):
                setattr(parent, name, nn.ReLU())
    if hasattr(twin, "timesteps"):
        twin.timesteps = 1
    return twin
