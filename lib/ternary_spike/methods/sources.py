"""The network of the run that a training starts from: whether it fits, and its weights."""

from torch import Tensor, nn

from ternary_spike.methods.base import Run
from ternary_spike.models.base import SpikingNetwork
from ternary_spike.neurons.base import SpikingNeuron
from ternary_spike.system.errors import UserError


def network_of(run: Run) -> SpikingNetwork:
    """The source's network, which takes the pictures of this run as they are.

    Raises:
        UserError: if its pictures were not those of this run: normalised otherwise, of other channels or frames.
    """
    network, name = run.source.network, run.source.record["id"]
    wanted, found = run.recipe.as_dict(), run.source.record["recipe"]
    for key in ("mean", "std"):
        if found.get(key) != wanted[key]:
            raise UserError(
                f"{key} is {wanted[key]} in the recipe, but source {name} was trained with {found.get(key)}, and both "
                f"see the same pictures; train one of them again with the other's {key}"
            )
    sizes = {"channels": (run.model.in_channels, network.in_channels)}
    if run.batches is not None and run.batches.manifest.frames is not None:
        sizes["frames"] = (run.model.timesteps, network.timesteps)
    for what, (ours, theirs) in sizes.items():
        if ours != theirs:
            raise UserError(f"the data has {ours} {what}, but source {name} takes {theirs}; choose another source")
    return network


def require_same_shape(what: str, in_network: Tensor, in_source: Tensor, or_else: str = "") -> None:
    """Raise UserError if what is compared, [B, ...], has another shape in the source; ``or_else`` is one more way out.

    Args:
        what: its name with a verb, "layer stem1 is".
        in_network, in_source: compared value by value.
        or_else: the end of the message.
    """
    if in_network.shape == in_source.shape:
        return
    ours, theirs = ("x".join(map(str, values.shape[1:])) for values in (in_network, in_source))
    raise UserError(
        f"{what} {ours} in the network and {theirs} in its source; choose a source of an architecture with the same "
        f"widths and strides{or_else}"
    )


def take_over_weights(run: Run) -> None:
    """Give the network every parameter and running statistic of its source but those of spiking neuron layers.

    Raises:
        UserError: as :func:`network_of`; or if the source has other layers, or layers of other sizes.
    """
    given, wanted = without_neurons(network_of(run)), without_neurons(run.model)
    for name in sorted({*given, *wanted}):
        ours, theirs = (
            f"of shape {tuple(state[name].shape)}" if name in state else "missing" for state in (wanted, given)
        )
        if ours != theirs:
            raise UserError(
                f"weights are taken over from source {run.source.record['id']}, but {name} is {ours} in the network "
                f"and {theirs} in the source; choose a source of the same architecture and normalisation"
            )
    run.model.load_state_dict(given, strict=False)


def without_neurons(network: nn.Module) -> dict[str, Tensor]:
    """A network's state without what its spiking neuron layers have."""
    neurons = [f"{where}." for where, module in network.named_modules() if isinstance(module, SpikingNeuron)]
    return {name: t for name, t in network.state_dict().items() if not name.startswith(tuple(neurons))}
