"""Networks trained for two steps, evaluated, folded and verified, in whatever environment the process was started.

Call: ``python -m tests.helpers.every_network ARCHITECTURES WIDTHS TIMESTEPS``, each a list with commas. Each
combination is computed in both orders in memory; its name is printed first, so that the last line says what died.
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

BATCH = 16


def exercise(architecture: str, timesteps: int, order: torch.memory_format) -> None:
    torch.manual_seed(0)
    pool = ARCHITECTURES[architecture].data.stem_pool
    side = 16 if pool is None else max(16, pool[0])
    model = make_network(architecture, any_neuron(architecture), timesteps, image_size=side).to(memory_format=order)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    x, labels = torch.randn(BATCH, 3, side, side).to(memory_format=order), torch.arange(BATCH) % 10
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
    architectures, widths, timesteps = (argument.split(",") for argument in sys.argv[1:])
    orders = (torch.channels_last, torch.contiguous_format)
    for name, width, steps, order in itertools.product(architectures, widths, timesteps, orders):
        print(f"{name}w{width}, T = {steps}, {order}", flush=True)
        exercise(f"{name}w{width}", int(steps), order)
