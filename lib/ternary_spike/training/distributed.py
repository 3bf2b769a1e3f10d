"""One training on several devices: a process each, started by torchrun, with synchronised batch norm.

Gradients are averaged by torch's DistributedDataParallel. Batch norm takes its statistics over all processes (the
ImageNet recipe); torch's own SyncBatchNorm runs on GPUs only, so the reduction is written here, with the collective
operations through which autograd can follow, and can be tested on a CPU.
"""

import os
from collections.abc import Callable, Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ternary_spike.models.batch_norm import BatchNorm2d


class Processes:
    """The processes of this training; a single one unless torchrun started several.

    Attributes:
        rank: this process's number; 0 writes the results.
        count: how many there are.
    """

    def __init__(self, device: torch.device) -> None:
        self.rank = int(os.environ.get("RANK", 0))
        self.count = int(os.environ.get("WORLD_SIZE", 1))
        self._hosts = None
        if self.count > 1:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
            # the processes agree on a stop through the CPU, so that they need not wait for the GPU
            self._hosts = dist.new_group(backend="gloo")

    def wrap(self, model: nn.Module, device: torch.device, averaging: bool = True) -> Callable[..., Tensor]:
        """The model as it is called in training, with synchronised batch norm.

        Args:
            model: the network, with equal weights in every process.
            device: where it is.
            averaging: whether its backward pass averages the gradients over all processes; else call :meth:`average`.

        Raises:
            ValueError: if a batch norm lacks what synchronising needs; the message names the layer.
        """
        if self.count == 1:
            return model
        for name, module in model.named_modules():
            if isinstance(module, BatchNorm2d):
                if not module.plain:
                    raise ValueError(
                        f"{name} cannot be synchronised over processes: it needs weight, bias, a number for momentum "
                        "and tracked running statistics"
                    )
                module.synchronised = True
        if not averaging:
            return model
        devices = [device] if device.type == "cuda" else None
        # every process moves its running statistics alike, so there is nothing to broadcast
        return nn.parallel.DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether it is set in any process."""
        if self.count == 1:
            return list(flags)
        votes = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(votes, dist.ReduceOp.MAX, group=self._hosts)
        return votes.bool().tolist()

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Put in place of each tensor its mean over all processes."""
        if self.count > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)
                tensor /= self.count

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.count > 1:
            tensor = tensor.clone()
            dist.all_reduce(tensor)
        return tensor

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean of a tensor over all processes; gradients flow to every process's."""
        if self.count == 1:
            return tensor
        from torch.distributed.nn.functional import all_reduce

        return all_reduce(tensor) / self.count

    def close(self) -> None:
        """Wait for the other processes and leave the group."""
        if self.count > 1:
            dist.barrier(group=self._hosts)
            dist.destroy_process_group()
