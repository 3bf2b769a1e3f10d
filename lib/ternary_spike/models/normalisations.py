"""The normalisations by name. Importing it needs no torch; making one does."""

from typing import TYPE_CHECKING, Any

from ternary_spike.configuration.register import Option, Part, Registry

if TYPE_CHECKING:
    from torch import nn

BATCH_NORM = "batch_norm"  # what normalises where nothing else is said
NO_NORMALISATION = "none"

NORMALISATIONS = Registry(
    "normalisation",
    {
        BATCH_NORM: Part(
            "ternary_spike.models.batch_norm:BatchNorm2d",
            "batch normalisation over time, batch and space (in a ResNet's stem see `stem_batch_norm`)",
            source="Ioffe & Szegedy, ICML 2015",
            fused=True,
            folds=True,
        ),
        "tdbn": Part(
            "ternary_spike.models.tdbn:ThresholdBatchNorm2d",
            "tdBN: batch normalisation in units of the threshold, less where branches are added up",
            {
                "threshold": Option(0.5, "V_th of the neurons behind it", above=0.0, high=1e6),
                "scale": Option(
                    "factor",
                    "what alpha V_th is: a constant factor beside a trained lambda of 1 (the paper's), or the trained "
                    "weight's value before training (libraries')",
                    choices=("factor", "weight"),
                ),
                "scaled_sums": Option(
                    "all",
                    "which sums of branches are scaled: all of them, or those with a projection (the Re-Loss code)",
                    choices=("all", "projection"),
                ),
            },
            source="Zheng et al., AAAI 2021",
            level="partly",
            fused=True,
            folds=True,
        ),
        NO_NORMALISATION: Part(
            "torch.nn:Identity",
            "none: convolutions without bias charge the neurons as they are",
            source="Rathi & Roy, IEEE TNNLS 2023",
            folds=True,
        ),
    },
)


def require_none_wanted(normalisation: str, architecture: str) -> None:
    """Raise ValueError if a row names a normalisation of a network that has none; the default's name says nothing."""
    if normalisation not in (BATCH_NORM, NO_NORMALISATION):
        raise ValueError(f"normalisation is {normalisation!r}, but {architecture} has no normalisation; leave it out")


def make_normalisation(
    name: str, channels: int, branches: int = 1, per_step: bool = False, **options: Any
) -> "nn.Module":
    """A normalisation layer of [T, B, C, H, W], between a convolution and a neuron layer.

    Args:
        name: one of :data:`NORMALISATIONS`, or ``module:Class`` for one of your own.
        channels: C.
        branches: how many normalised currents are added up in front of the neuron layer: 2 where a shortcut is added.
        per_step: whether each timestep has statistics of its own.
        options: of that normalisation, see :data:`NORMALISATIONS`.

    Raises:
        ValueError: if the name or an option is unknown, an option's value is not allowed, or the code is no module.
    """
    from torch import nn

    options = NORMALISATIONS.options(name, options)
    made = NORMALISATIONS[name].load()(channels, branches=branches, per_step=per_step, **options)
    if not isinstance(made, nn.Module):
        raise ValueError(f"normalisation {name!r} is no torch.nn.Module")
    return made
