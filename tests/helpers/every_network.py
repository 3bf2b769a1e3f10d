"""Networks trained for two steps, evaluated, folded and verified, in whatever environment the process was started.

Call: ``python -m tests.helpers.every_network ARCHITECTURES WIDTHS TIMESTEPS``, each a list with commas. Each
combination is computed in both orders in memory; its name is printed first, so that the last line says what died.
"""

import itertools
import sys

import torch
from torch.nn import functional as F

from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.reparam.equivalence import verify
from ternary_spike.reparam.folding import fold

IMAGE = 16
BATCH = 16


def exercise(architecture: str, timesteps: int, order: torch.memory_format) -> None:
    torch.manual_seed(0)
    model = SpikingResNet(architecture, "trainable", timesteps, image_size=IMAGE).to(memory_format=order)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    x, labels = torch.randn(BATCH, 3, IMAGE, IMAGE).to(memory_format=order), torch.arange(BATCH) % 10
    for _ in range(2):
        optimiser.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        assert model(x).isfinite().all()
    found = verify(model, fold(model), [x])
    assert found["passed"], found


if __name__ == "__main__":
    architectures, widths, timesteps = (argument.split(",") for argument in sys.argv[1:])
    orders = (torch.channels_last, torch.contiguous_format)
    for name, width, steps, order in itertools.product(architectures, widths, timesteps, orders):
        print(f"{name}w{width}, T = {steps}, {order}", flush=True)
        exercise(f"{name}w{width}", int(steps), order)
