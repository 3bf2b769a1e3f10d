"""What every spiking network has in common."""

from torch import nn


def named_neurons(model: nn.Module) -> dict[str, nn.Module]:
    """Neuron layers of a spiking ResNet in the order of computation, by the names used in every result file."""
    found = {f"stem{i + 1}": unit.neuron for i, unit in enumerate(model.stem)}
    for s, stage in enumerate(model.stages):
        for b, block in enumerate(stage):
            found[f"stage{s + 1}.block{b + 1}.1"] = block.neuron1
            found[f"stage{s + 1}.block{b + 1}.2"] = block.neuron2
    return found
