"""What a type checker sees of the package, whose names are imported only when somebody asks for them."""

from ternary_spike.models.registry import ARCHITECTURES, parse_architecture
from ternary_spike.models.resnet import SpikingResNet

__all__ = ["ARCHITECTURES", "SpikingResNet", "parse_architecture"]
