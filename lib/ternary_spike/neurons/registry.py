"""The neurons by the names of the run table. Importing it needs no torch; making a neuron does."""

from typing import TYPE_CHECKING

from ternary_spike.configuration.register import Option, Part, Registry

if TYPE_CHECKING:
    from torch import nn

LARGEST = 1e6  # of a number, either sign; float32 would hold more
GUO = "Guo et al., AAAI 2024"
LIF = {
    "threshold": Option(0.5, "V_th, in units of the membrane potential", low=1e-30, high=LARGEST),
    "decay": Option(0.25, "tau, the share of the membrane potential that survives a timestep", low=0.0, high=1.0),
    "surrogate": Option(
        "clamp",
        "the surrogate gradient",
        choices=("clamp", "clamp_symmetric", "rectangle", "triangle", "atan", "sigmoid"),
    ),
    "window": Option(1.0, "half-width of the surrogate", above=0.0, high=LARGEST),
    "detach_reset": Option(False, "whether no gradient flows through the reset"),
}
AMPLITUDE = {
    "initial_amplitude": Option(1.0, "the amplitude before training", low=-LARGEST, high=LARGEST),
    "amplitude_per": Option("layer", "what has an amplitude of its own", choices=("layer", "channel")),
}

NEURONS = Registry(
    "neuron",
    {
        "binary": Part(
            "ternary_spike.neurons.lif:BinaryLIF", "spikes {0, 1}: Eqs. 4-5", LIF, GUO, fused=True, folds=True
        ),
        "ternary": Part(
            "ternary_spike.neurons.lif:TernaryLIF", "spikes {-1, 0, 1}: Eqs. 7-8", LIF, GUO, fused=True, folds=True
        ),
        "trainable": Part(
            "ternary_spike.neurons.lif:TrainableTernaryLIF",
            "spikes {-a, 0, a} with a trained amplitude a: Eqs. 13-14",
            LIF | AMPLITUDE,
            GUO,
            fused=True,
            folds=True,
        ),
        "relu": Part("torch.nn:ReLU", "no spikes: the reference", spikes=False),
    },
)


def make_neuron(name: str, channels: int | None = None, **options) -> "nn.Module":
    """A neuron layer by its name in the run table.

    Args:
        name: one of :data:`NEURONS`, or ``module:Class`` for a neuron of your own.
        channels: number of channels of the layer, for neurons that have something for each.
        options: of that neuron, see :data:`NEURONS`.

    Raises:
        ValueError: if the name or an option is unknown, or an option's value not allowed.
    """
    part = NEURONS[name]
    options = NEURONS.options(name, options)
    return part.load().build(channels, **options) if part.spikes else part.load()()
