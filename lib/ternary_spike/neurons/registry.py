"""The neurons by the names of the run table. Importing it needs no torch; making a neuron does."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from ternary_spike.configuration.register import Option, Part, Registry

if TYPE_CHECKING:
    from torch import nn

LARGEST = 1e6  # of a number, either sign; float32 would hold more
GUO = "Guo et al., AAAI 2024"
SURROGATES = Registry(
    "surrogate",
    {
        name: Part("ternary_spike.membrane.surrogate:derivative", meaning)
        for name, meaning in {
            "clamp": "1 from -window to window, for binary spikes from 0 to window: the authors' code",
            "clamp_symmetric": "1 from -window to window, for binary spikes too",
            "rectangle": "1 / (2 window) up to a distance d = window from the threshold",
            "triangle": "(1 - d / window) / window up to d = window",
            "atan": "1 / (pi window (1 + (d / window)^2))",
            "sigmoid": "s (1 - s) / window, where s is the logistic function of d / window",
            "tanh": "b / (4 window tanh(b / 2)) sech^2(b d / (2 window)) up to d = window, at the temperature b",
            "tanh_unclipped": "b / (4 window) sech^2(b d / (2 window)), at the temperature b",
        }.items()
    },
)
LIF = {
    "threshold": Option(0.5, "V_th, in units of the membrane potential", low=1e-30, high=LARGEST),
    "decay": Option(0.25, "tau, the share of the membrane potential that survives a timestep", low=0.0, high=1.0),
    "surrogate": Option("clamp", "the surrogate gradient", choices=tuple(SURROGATES)),
    "window": Option(1.0, "half-width of the surrogate", above=0.0, high=LARGEST),
    "detach_reset": Option(False, "whether no gradient flows through the reset"),
    "temperature": Option(
        3.0, "b of the surrogates tanh and tanh_unclipped; of no effect on the others", above=0.0, high=LARGEST
    ),
}
AMPLITUDE = {
    "initial_amplitude": Option(1.0, "the amplitude before training", low=-LARGEST, high=LARGEST),
    "amplitude_per": Option("layer", "what has an amplitude of its own", choices=("layer", "channel")),
}
PLIF = {
    "time_constant": Option(
        2.0, "tau before training, in timesteps: leak and input gain are 1/tau", above=1.0, high=LARGEST
    ),
    "threshold": replace(LIF["threshold"], default=1.0),
    "surrogate": replace(LIF["surrogate"], default="atan"),
    "window": replace(LIF["window"], default=1 / math.pi),
    "detach_reset": replace(LIF["detach_reset"], default=True),
    "temperature": LIF["temperature"],
}
SOFT_RESET = LIF | {
    "threshold": replace(LIF["threshold"], default=1.0),
    "decay": replace(LIF["decay"], default=0.5),
    "surrogate": replace(LIF["surrogate"], default="sigmoid"),
    "window": replace(LIF["window"], default=0.25),
    "detach_reset": replace(LIF["detach_reset"], default=True),
}
DSR_IF = {
    "threshold": Option(6.0, "V_th before training, in units of the membrane potential", low=1e-30, high=LARGEST),
    "level": Option(0.5, "alpha, where it fires in units of V_th", above=0.0, high=1.0),
    "lowest_threshold": Option(0.01, "what V_th does not fall below", low=1e-30, high=LARGEST),
    "threshold_gradient": Option(1.0, "factor of V_th's gradient", low=0.0, high=LARGEST),
}
DSR_LIF = {
    "threshold": replace(DSR_IF["threshold"], default=0.3),
    "level": replace(DSR_IF["level"], default=0.3),
    "lowest_threshold": replace(DSR_IF["lowest_threshold"], default=0.0005),
    "threshold_gradient": DSR_IF["threshold_gradient"],
    "time_constant": Option(
        1.0, "tau_m: the leak is exp(-step / tau_m), the input gain 1 less that", above=0.0, high=1e6
    ),
    "step": Option(0.05, "dt, the length of a timestep; a spike is worth V_th / dt", above=0.0, high=LARGEST),
}
TSSL = {
    "time_constant": Option(5.0, "tau_m in timesteps: the leak is 1 - 1/tau_m", low=1.0, high=LARGEST),
    "synapse": Option(3.0, "tau_s of the post-synaptic potential, in timesteps; 1 emits spikes", low=1.0, high=LARGEST),
    "threshold": replace(LIF["threshold"], default=1.0),
}
REAL_SPIKE = {key: PLIF[key] for key in ("threshold", "surrogate", "window", "detach_reset", "temperature")} | {
    "decay": replace(LIF["decay"], default=1.0),
    "initial_amplitude": AMPLITUDE["initial_amplitude"],
    "amplitude_per": Option("channel", "what has an amplitude of its own", choices=("layer", "channel", "element")),
}
INFLOR = {
    "decay": replace(LIF["decay"], default=1.0),
    "rectify": Option(True, "whether the gradient is the rectifier's; if not it is 1 where 0 <= u <= 1"),
    "soft_reset": Option(True, "whether the reset takes 1 away; if not it is hard, to 0"),
}
MT_SNN = {
    "mode": Option(
        "parallel",
        "which membrane each threshold sees: one, one each, or what the thresholds before it have left of it",
        choices=("parallel", "separate", "cascade"),
    ),
    "levels": Option(3, "K, how many thresholds there are", low=1, high=64),
    "threshold": replace(LIF["threshold"], meaning="V_1, the first threshold, in units of the membrane potential"),
    "spacing": Option(1.0, "from each threshold to the next", low=0.0, high=LARGEST),
    "decay": Option(0.25, "tau before training", above=0.0, below=1.0),
    "surrogate": replace(LIF["surrogate"], default="rectangle", choices=("rectangle", "triangle", "atan", "sigmoid")),
    "window": replace(LIF["window"], default=0.5),
}
DIET = {
    "threshold": Option(1.0, "V before training, in units of the membrane potential", low=1e-3, high=LARGEST),
    "decay": Option(1.0, "tau before training, the share of the membrane potential that survives", low=0.0, high=1.0),
}

IF = {
    "threshold": replace(LIF["threshold"], default=1.0, meaning="V_th before it is calibrated"),
    "reset": Option("hard", "to 0 (hard), or by V_th (soft)", choices=("hard", "soft")),
    "strict": Option(False, "whether it fires above V_th alone, not at it"),
    "spike_value": Option("threshold", "what a spike is: V_th, or 1", choices=("threshold", "one")),
    "initial_potential": Option(
        0.0, "the membrane potential before the first timestep, in units of V_th", low=0.0, high=1.0
    ),
    "surrogate": Option(
        "linear", "the surrogate gradient, by u or by the time since the last spike", choices=("linear", "stdb")
    ),
    "height": Option(0.3, "alpha, the surrogate gradient's height in units of 1 / V_th", low=0.0, high=LARGEST),
    "forgetting": Option(0.01, "beta of stdb: the gradient is alpha exp(-beta dt) / V_th", low=0.0, high=LARGEST),
}
MPBN = (
    {"spikes": Option("binary", "which spikes are emitted", choices=("binary", "ternary", "trainable"))}
    | LIF
    | {
        "threshold": replace(LIF["threshold"], meaning="V_th, in units of the normalised membrane potential"),
        "surrogate": replace(LIF["surrogate"], default="tanh"),
        "window": replace(LIF["window"], default=0.5),
        "initial_amplitude": replace(
            AMPLITUDE["initial_amplitude"], meaning="of spikes=trainable: the amplitude before training"
        ),
        "amplitude_per": replace(
            AMPLITUDE["amplitude_per"], meaning="of spikes=trainable: what has an amplitude of its own"
        ),
    }
)


def _between(default: float | None, meaning: str) -> Option:
    """A number that is stored as the raw parameter of a logistic function."""
    return Option(default, meaning, kind=float, above=0.0, below=1.0, absent="" if default else "to draw it near 0.5")


GLIF = {
    "alpha": _between(None, "gate of the leak before training, from linear (0) to exponential (1)"),
    "beta": _between(None, "gate of the input before training, from no gain (0) to one for each timestep (1)"),
    "gamma": _between(None, "gate of the reset before training, from soft (0) to hard (1)"),
    "decay": _between(0.25, "tau_exp before training, what the exponential leak leaves"),
    "leak": _between(0.0625, "tau_lin before training, what the linear leak takes away"),
    "threshold": _between(0.5, "V_th before training"),
    "reset": _between(0.5, "V_re before training, what the soft reset takes away"),
    "gain": _between(0.5, "the input gain g of every timestep before training"),
    "parameters_per": Option("channel", "what has parameters of its own", choices=("channel", "layer")),
}

NEURONS = Registry(
    "neuron",
    {
        "binary": Part(
            "ternary_spike.neurons.lif:BinaryLIF", "spikes {0, 1}: Eqs. 4-5", LIF, GUO, fused=True, folds=True
        ),
        "ternary": Part(
            "ternary_spike.neurons.lif:TernaryLIF",
            "spikes {-1, 0, 1}: Eqs. 7-8",
            LIF,
            GUO,
            fused=True,
            folds=True,
        ),
        "trainable": Part(
            "ternary_spike.neurons.lif:TrainableTernaryLIF",
            "spikes {-a, 0, a} with a trained amplitude a: Eqs. 13-14",
            LIF | AMPLITUDE,
            GUO,
            fused=True,
            folds=True,
        ),
        "stbp": Part(
            "ternary_spike.neurons.stbp:IterativeLIF",
            "spikes {0, 1} as of `binary`, with the gradient of the reset u (1 - b): the neuron of most prior methods",
            LIF,
            "Wu et al., Front. Neurosci. 2018 (STBP); the code of TET (Deng et al., ICLR 2022)",
            level="partly",
            folds=True,
        ),
        "plif": Part(
            "ternary_spike.neurons.plif:ParametricLIF",
            "spikes {0, 1}, a trained time constant for each layer",
            PLIF,
            "Fang et al., ICCV 2021, Eqs. 2-6",
            level="faithful",
            folds=True,
        ),
        "soft_reset": Part(
            "ternary_spike.neurons.soft_reset:SoftResetLIF",
            "spikes {0, 1}, a soft reset: the neuron of OTTT",
            SOFT_RESET,
            "Xiao et al., NeurIPS 2022, and its code",
            level="faithful",
        ),
        "dsr_if": Part(
            "ternary_spike.neurons.dsr:RepresentedIF",
            "spikes {0, V_th} without leak, a trained threshold V_th, the gradient of clamped firing rates",
            DSR_IF,
            "Meng et al., CVPR 2022, and its code",
            level="faithful",
        ),
        "dsr_lif": Part(
            "ternary_spike.neurons.dsr:RepresentedLIF",
            "spikes {0, V_th / dt}, a trained threshold V_th, the gradient of clamped, weighted firing rates",
            DSR_LIF,
            "Meng et al., CVPR 2022, and its code",
            level="faithful",
        ),
        "tssl": Part(
            "ternary_spike.neurons.tssl:TSSL",
            "filtered spikes, the gradient of spike times: the neuron of TSSL-BP",
            TSSL,
            "Zhang & Li, NeurIPS 2020, and its code",
            level="faithful",
        ),
        "glif": Part(
            "ternary_spike.neurons.glif:GatedLIF",
            "spikes {0, 1}, trained gates of leak, input gain and reset",
            GLIF,
            "Yao et al., NeurIPS 2022, and its code",
            level="faithful",
        ),
        "real_spike": Part(
            "ternary_spike.neurons.real_spike:RealSpike",
            "spikes {0, a}, a trained amplitude a for each layer, channel or neuron",
            REAL_SPIKE,
            "Guo et al., ECCV 2022 (Real Spike), and its code",
            level="partly",
            fused=True,
            folds=True,
        ),
        "inflor": Part(
            "ternary_spike.neurons.inflor:InfLoR",
            "spikes {0, 1}, a soft reset and a rectified membrane potential",
            INFLOR,
            "Guo et al., ECCV 2022 (InfLoR-SNN), and its code",
            level="partly",
        ),
        "if": Part(
            "ternary_spike.neurons.integrate_and_fire:IntegrateAndFire",
            "spikes {0, V_th} or {0, 1} without leak, a calibrated threshold for each layer: for converted networks",
            IF,
            "Sengupta et al., Front. Neurosci. 2019; Han et al., CVPR 2020; Rathi et al., ICLR 2020, and its code",
            level="partly",
            folds=True,
        ),
        "diet": Part(
            "ternary_spike.neurons.diet:Diet",
            "spikes {0, 1}, a trained threshold and a trained leak for each layer, a soft reset",
            DIET,
            "Rathi & Roy, IEEE TNNLS 2023 (DIET-SNN), and its code",
            level="partly",
        ),
        "mpbn": Part(
            "ternary_spike.models.mpbn:NormalisedLIF",
            "spikes {0, 1} or {-a, 0, a} by a membrane potential with a batch norm of its own",
            MPBN,
            "Guo et al., ICCV 2023 (MPBN), and its code",
            level="partly",
            folds=True,
        ),
        "mt_snn_candidate": Part(
            "ternary_spike.neurons.mt_snn:MultiThreshold",
            "spikes {0, ..., K}: several thresholds; what MT-SNN's neuron may be, its equations could not be had",
            MT_SNN,
            "Wang et al., 2023 (MT-SNN)",
            level="candidate",
        ),
        "relu": Part("torch.nn:ReLU", "no spikes: the reference", spikes=False),
    },
)


def make_neuron(
    name: str, channels: int | None = None, timesteps: int | None = None, side: int | None = None, **options
) -> "nn.Module":
    """A neuron layer by its name in the run table.

    Args:
        name: one of :data:`NEURONS`, or ``module:Class`` for a neuron of your own.
        channels: number of channels of the layer, for neurons that have something for each.
        timesteps: for how many timesteps the layer is made, for neurons that have something for each.
        side: of the layer's pictures in pixels, for neurons that have something for each place.
        options: of that neuron, see :data:`NEURONS`.

    Raises:
        ValueError: if the name or an option is unknown, an option's value not allowed, or the code is no neuron.
    """
    part = NEURONS[name]
    options = NEURONS.options(name, options)
    code = part.load()
    if not part.spikes:
        return code()
    if not hasattr(code, "per_timestep"):
        raise ValueError(f"neuron {name!r} is no subclass of ternary_spike.neurons.base:SpikingNeuron")
    if code.per_timestep and timesteps is not None:
        options["timesteps"] = timesteps
    if code.per_element:
        options["side"] = side
    return code.build(channels, **options)
