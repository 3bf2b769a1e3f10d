"""What a type checker sees of the package, whose names are imported only when somebody asks for them."""

from ternary_spike.reparam.equivalence import verify
from ternary_spike.reparam.folding import fold
from ternary_spike.reparam.network import FoldedNetwork

__all__ = ["FoldedNetwork", "fold", "verify"]
