"""What two processes compute together, for comparison with one.

Call: ``torchrun ... -m tests.helpers.two_processes FOLDER BACKEND SIZE NEURON...``, SIZE the side of the pictures.
Writes FOLDER/NEURON.safetensors.
"""

import sys
from pathlib import Path

import torch

from ternary_spike.membrane import backends
from ternary_spike.system.files import write_tensors
from ternary_spike.training.distributed import Processes
from tests.helpers.networks import random_network


def gradients(parts: list[torch.Tensor], processes: Processes | None, neuron: str) -> dict[str, torch.Tensor]:
    """Gradients, running statistics and outputs of a float64 network after one batch, this process's part of it."""
    model, _ = random_network(1, "resnet6w4", neuron, parts[0].shape[-1])
    model = model.double().train()
    parallel_model = model if processes is None else processes.wrap(model, torch.device("cpu"))
    rank, count = (0, 1) if processes is None else (processes.rank, processes.count)
    x = parts[rank]
    # a sum over the samples, weighted as the trainer weights a mean, so that parts may be of unequal size
    whole = sum(len(part) for part in parts)
    loss = parallel_model(x).square().sum() * count / whole
    loss.backward()
    found = {f"gradient.{name}": p.grad for name, p in model.named_parameters()}
    return found | {f"buffer.{name}": b for name, b in model.named_buffers()}


def batch(size: int) -> torch.Tensor:
    return torch.randn(9, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


if __name__ == "__main__":
    torch.set_num_threads(1)
    together = Processes(torch.device("cpu"))
    folder, backend, size, *neurons = sys.argv[1:]
    backends.use(backend)
    for neuron in neurons:
        result = gradients(list(batch(int(size)).split([4, 5])), together, neuron)
        if together.rank == 0:
            write_tensors(Path(folder, f"{neuron}.safetensors"), result)
    assert backends.current() == backend, backends.notices
    together.close()
