"""Accuracy and loss of a network on a test set."""

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def accuracy(model: torch.nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Accuracy in percent and mean cross-entropy in nats over batches of (inputs, labels); the model's mode is kept."""
    was_training = model.training
    model.eval()
    correct = loss = None
    samples = 0
    for x, labels in batches:
        logits = model(x).float()
        hits = (logits.argmax(1) == labels).sum()
        summed = torch.nn.functional.cross_entropy(logits, labels, reduction="sum").double()
        correct = hits if correct is None else correct + hits
        loss = summed if loss is None else loss + summed
        samples += len(labels)
    model.train(was_training)
    return 100 * correct.item() / samples, loss.item() / samples
