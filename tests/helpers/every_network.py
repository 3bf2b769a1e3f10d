"""Networks trained for two steps, evaluated, folded and verified, in whatever environment the process was started.

Call: ``python -m tests.helpers.every_network ARCHITECTURES WIDTHS SIZES``, each a list with commas; a size is
timesteps and pictures, as 2x16. Each combination is computed in both orders in memory; its name is printed first, so
that the last line says what died.
"""

import itertools
import sys

import torch
from torch.nn import functional as F

from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.models.registry import ARCHITECTURES, make_network
from ternary_spike.reparam.equivalence import verify
from ternary_spike.reparam.folding import fold
from tests.helpers.networks import any_neuron

#: a 1x1 convolution of a single channel has no weights to standardise
NOT_OF_WIDTH_1 = {"resnet34_nf"}


def exercise(architecture: str, timesteps: int, pictures: int, order: torch.memory_format) -> None:
    torch.manual_seed(0)
    pool = ARCHITECTURES[architecture].data.stem_pool
    side = 16 if pool is None else max(16, pool[0])
    model = make_network(architecture, any_neuron(architecture), timesteps, image_size=side).to(memory_format=order)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    x, labels = torch.randn(pictures, 3, side, side).to(memory_format=order), torch.arange(pictures) % 10
    for _ in range(2):
        optimiser.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        assert model(x).isfinite().all()
    try:
        folded = fold(model)
    except NotFoldable:
        return
    found = verify(model, folded, [x])
    assert found["passed"], found


if __name__ == "__main__":
    architectures, widths, sizes = (argument.split(",") for argument in sys.argv[1:])
    orders = (torch.channels_last, torch.contiguous_format)
    for name, width, size, order in itertools.product(architectures, widths, sizes, orders):
        if width == "1" and name in NOT_OF_WIDTH_1:
            continue
        print(f"{name} w{width}, {size} timesteps x pictures, {order}", flush=True)
        exercise(f"{name}w{width}", *map(int, size.split("x")), order)
