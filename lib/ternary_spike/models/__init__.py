"""Spiking networks: their layers, blocks and architectures, and what watches them run.

``registry.py`` has all architectures by name, and the paper's ResNets; ``published.py`` the networks of prior methods
(VGG11, VGG16, CIFARNets, PLIFNet, SEW ResNets and others), which ``chain.py`` builds. ``normalisations.py`` has the
normalisations by name.
"""

from ternary_spike.system.lazily import offered

__all__ = ["ARCHITECTURES", "SpikingResNet", "parse_architecture"]
__getattr__, __dir__ = offered(
    __name__, {"ARCHITECTURES": "registry", "SpikingResNet": "resnet", "parse_architecture": "registry"}
)
