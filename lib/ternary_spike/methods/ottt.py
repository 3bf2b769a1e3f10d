"""OTTT, online training through time: the gradient of each timestep, without going back to those before it.

M. Xiao et al., "Online Training Through Time for Spiking Neural Networks", NeurIPS 2022 (arXiv 2210.04195).

Each timestep is run forward and backward by itself, on membrane potentials that are numbers to it: no gradient flows
through v[t-1]. What earlier timesteps did to the weights' effect is in a trace of what a layer was fed:

    a[t] = lambda a[t-1] + s[t],   dL/dW = sum_t g[t] (x) a[t]

where s[t] is a convolution's input, g[t] the gradient of timestep t's loss at its output, and lambda the neurons' leak.
Nothing of a timestep is kept for the next one but membrane potentials and traces: memory does not grow with T.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ternary_spike.methods.base import Membranes, Method, Run
from ternary_spike.models.base import named_neurons
from ternary_spike.models.streaming import streaming
from ternary_spike.neurons.base import SpikingNeuron
from ternary_spike.system.errors import UserError


class OnlineTraining(Method):
    """OTTT, with the authors' loss of each timestep's class scores O[t].

        L = 1/T sum_t (1 - l) CE(O[t], y) + l MSE(O[t], onehot(y)),   MSE: the mean over batch and classes

    Every convolution and every linear layer behind spikes has a trace; the one that is fed by the picture has none. A
    bias has none, and neither have a batch norm's weight and bias. A batch norm sees one timestep at a time: it
    normalises with statistics of that timestep, and moves its running statistics T times a step. The authors' networks
    have no batch norm.

    Args:
        mse_share: l; 0.05 on CIFAR, 0.001 on CIFAR10-DVS, 0 on ImageNet.
        update_each_timestep: whether weights are updated at every timestep (the paper's OTTT_O), rather than once by
            the sum of the timesteps' gradients (OTTT_A).
        classifier_trace: whether the classifier has a trace too, as in the authors' network for CIFAR; in the one for
            ImageNet it has none.
    """

    each_timestep = True

    def __init__(
        self, mse_share: float = 0.05, update_each_timestep: bool = False, classifier_trace: bool = True
    ) -> None:
        self.mse_share, self.update_each_timestep = mse_share, update_each_timestep
        self.classifier_trace = classifier_trace

    def begin(self, run: Run) -> None:
        """Find the leak of the traces.

        Raises:
            UserError: if the network has no spiking neurons, or they have no leak that is the same for all and stays.
        """
        neurons = {n: layer for n, layer in named_neurons(run.model).items() if isinstance(layer, SpikingNeuron)}
        if not neurons:
            raise UserError(
                "OTTT takes traces of spikes, and this network's neurons have none; choose another neuron or method"
            )
        for name, layer in neurons.items():
            if not isinstance(getattr(layer, "decay", None), float):
                raise UserError(
                    f"OTTT's traces have the neurons' constant leak, and {type(layer).__name__} of layer {name} has no "
                    "attribute `decay`; choose another neuron, or another method"
                )
        leaks = {layer.decay for layer in neurons.values()}
        if len(leaks) > 1:
            raise UserError(
                f"OTTT's traces have one leak, but the neurons' decay is {sorted(leaks)}; give all the same"
            )
        self.leak = leaks.pop()

    def loss(self, scores: Tensor, labels: Tensor, membranes: Membranes, x: Tensor) -> Tensor:
        """L of scores [T, B, K], of however many timesteps they are."""
        entropy = torch.stack([self.cross_entropy(step, labels) for step in scores]).mean()
        target = F.one_hot(labels, scores.shape[2]).to(scores.dtype)
        return (1 - self.mse_share) * entropy + self.mse_share * (scores - target).square().mean()

    def gradients(self, run: Run, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of the timesteps' gradients, or with ``update_each_timestep`` the last one's behind T - 1 updates."""
        timesteps = run.model.timesteps
        losses, scores = [], []
        layers = [m for m in run.model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        if not self.classifier_trace:
            layers = [layer for layer in layers if layer is not run.model.classifier]
        devices = [x.device] if x.device.type == "cuda" else []
        with streaming(run.model, online=True), traced(layers, self.leak):
            for t in range(timesteps):
                frames = x[:, t : t + 1] if x.dim() == 5 else x
                # each timestep draws the same numbers: dropout is of the same spikes at all of them
                with run.autocast(), torch.random.fork_rng(devices):
                    step = run.model(frames, each_timestep=True).float()
                loss = self.loss(step, labels, {}, frames) * run.weight / timesteps
                loss.backward()
                losses.append(loss.detach())
                scores.append(step.detach())
                if self.update_each_timestep and t + 1 < timesteps:
                    run.update()
        return torch.stack(losses).sum(), torch.cat(scores)


@contextmanager
def traced(layers: Iterable[nn.Module], leak: float) -> Iterator[None]:
    """Within it the gradient of layers' weights is that of a trace of what they were fed, call after call.

    Args:
        layers: each has one input; one that no gradient reaches (it is fed by the picture) stays as it is.
        leak: lambda of the traces.
    """
    trace = _Traces(leak)
    handles = []
    for layer in layers:
        handles.append(layer.register_forward_pre_hook(trace.hold_weights))
        handles.append(layer.register_forward_hook(trace.add))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        trace.release_weights()


class _Traces:
    """Hooks in front of layers and behind them, which part the gradient of their input from that of their weights.

    A layer is called with its weights held constant, so that this call passes a gradient to its input alone. Then it is
    called with the trace, which takes no gradient, and that call passes one to the weights.

    Attributes:
        traces: a[t] by layer.
        held: parameters of the layer that is being called, which take no gradient meanwhile.
    """

    def __init__(self, leak: float) -> None:
        self.leak = leak
        self.traces: dict[nn.Module, Tensor] = {}
        self.held: list[Tensor] = []

    def hold_weights(self, layer: nn.Module, inputs: tuple[Tensor]) -> None:
        if inputs[0].requires_grad:
            self.held = [p for p in layer.parameters() if p.requires_grad]
            for p in self.held:
                p.requires_grad_(False)

    def add(self, layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor | None:
        x = inputs[0]
        if not x.requires_grad:
            return None
        self.release_weights()
        fed, earlier = x.detach(), self.traces.get(layer)
        self.traces[layer] = fed if earlier is None else self.leak * earlier + fed
        return _Exchange.apply(output, layer.forward(self.traces[layer]))

    def release_weights(self) -> None:
        for p in self.held:
            p.requires_grad_(True)
        self.held = []


class _Exchange(torch.autograd.Function):
    """The value of the first tensor; its gradient goes to both."""

    @staticmethod
    def forward(ctx, value: Tensor, traced: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        return grad, grad
