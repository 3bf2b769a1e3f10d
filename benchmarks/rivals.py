"""What the neurons are timed against: the plain loop; SpikingJelly and snnTorch (the ``bench`` extra) where present."""

from collections.abc import Callable

import torch
from benchmarks.plain import plain_loop
from torch import Tensor


def neurons(device: str) -> dict[str, Callable[[Tensor], Tensor]]:
    """Rival neuron layers by name, each a function of an input current [T, B, C, H, W] there; those installed here."""
    found: dict[str, Callable[[Tensor], Tensor]] = {"plain loop": lambda x: plain_loop(x)[0]}
    try:
        from spikingjelly.activation_based import neuron, surrogate
    except ImportError:
        pass
    else:
        ternary = neuron.TernaryLIFNode(
            tau=4 / 3,
            decay_input=False,
            v_threshold=0.5,
            surrogate_function=surrogate.Rect(alpha=1.0),
            step_mode="m",
        )
        binary = neuron.LIFNode(
            tau=4 / 3, decay_input=False, v_threshold=0.5, surrogate_function=surrogate.Rect(alpha=1.0), step_mode="m"
        )
        found["SpikingJelly TernaryLIFNode"] = _from_rest(ternary)
        found["SpikingJelly LIFNode (binary)"] = _from_rest(binary)
    try:
        import snntorch
    except ImportError:
        pass
    else:
        leaky = snntorch.Leaky(beta=0.25, threshold=0.5, reset_mechanism="zero", reset_delay=False).to(device)

        def snn(x: Tensor) -> Tensor:
            membrane = leaky.init_leaky()
            spikes = []
            for current in x:
                spike, membrane = leaky(current, membrane)
                spikes.append(spike)
            return torch.stack(spikes)

        found["snnTorch Leaky (binary)"] = snn
    return found


def _from_rest(node) -> Callable[[Tensor], Tensor]:
    def spikes(x: Tensor) -> Tensor:
        found = node(x)
        node.reset()  # at once: its membrane potential would keep the whole graph of this call alive
        return found

    return spikes
