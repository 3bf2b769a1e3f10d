"""Spiking networks: their layers, blocks and architectures, and what watches them run."""

from ternary_spike.system.lazily import offered

__all__ = ["ARCHITECTURES", "SpikingResNet", "parse_architecture"]
__getattr__, __dir__ = offered(
    __name__, {"ARCHITECTURES": "registry", "SpikingResNet": "resnet", "parse_architecture": "registry"}
)
