"""Batches for training and evaluation, from prepared data to normalised tensors on the device.

What a step sees depends on (seed, epoch, step) alone: there is no generator that runs on from step to step, and the
global ones are left alone. So a run that was cut off continues bit-exactly from any step, and the processes of one
distributed run together see exactly the batches of a single process.

Arrays (all datasets but ImageNet) live on the device as uint8 and are augmented there; picture files are decoded and
cropped by worker processes and come through pinned memory.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.data.augmentation import Augmentation, Normalisation
from ternary_spike.data.prepared import Manifest, read_manifest, read_picture_list, read_split
from ternary_spike.data.transfer import to_device
from ternary_spike.system.cores import default_workers
from ternary_spike.system.errors import UserError

# On a GPU the augmentation of a small batch is bound by the time to launch its kernels, so several steps share it.
GROUPED_PICTURES = 1024
# Evaluation's memory is that of a few activations, which grow with timesteps and pixels: as many as 250 pictures of
# CIFAR have over four timesteps. No fewer than 16 pictures, so that a GPU does not wait for launches.
EVALUATED_AT_ONCE = (16, 250)
EVALUATED_POSITIONS = 250 * 4 * 32 * 32


def evaluation_batch_size(image_size: int, timesteps: int) -> int:
    """How many pictures of so many pixels a side are evaluated at a time, 16 to 250, by their size and timesteps."""
    fewest, most = EVALUATED_AT_ONCE
    return min(most, max(fewest, EVALUATED_POSITIONS // (timesteps * image_size**2)))


class TrainingBatches:
    """The training split, shuffled and augmented anew in each epoch.

    Args:
        folder: prepared data.
        recipe: batch size, augmentation, normalisation, subset.
        seed: of order and augmentation.
        device: where the batches are wanted.
        rank, world_size: this process's share of each global batch; a single process takes all of it.
        workers: processes that decode picture files; by default one a core that this process may use, shared by the
            processes of a distributed run. Arrays need none.

    Attributes:
        manifest: of the prepared data.
        samples: pictures or recordings an epoch, all processes together.
        steps: steps an epoch. The last one may be smaller: the authors' loader keeps it, and 50,000 is no multiple of
            128.

    Raises:
        UserError: if the data cannot be read or does not suit the recipe.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        seed: int,
        device: torch.device | str = "cpu",
        *,
        rank: int = 0,
        world_size: int = 1,
        workers: int | None = None,
    ):
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}, but must be from 0 to below world_size, which is {world_size}")
        self._source = _open(
            folder, "train", recipe, device, recipe.train_samples, workers or default_workers(world_size)
        )
        self.manifest: Manifest = self._source.manifest
        self.samples: int = self._source.samples
        self.steps = -(-self.samples // recipe.batch_size)
        self._batch_size, self._seed, self._rank, self._world_size = recipe.batch_size, seed, rank, world_size
        smallest = min(recipe.batch_size, self.samples - (self.steps - 1) * recipe.batch_size)
        if smallest < world_size:
            raise UserError(
                f"a step of {smallest} samples cannot be shared by {world_size} processes; "
                f"change batch_size (now {recipe.batch_size}) or the number of processes"
            )

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch, from ``start_step`` on.

        Yields:
            Images, float32 [B, C, H, W] or [B, T, C, H, W], and labels, int64 [B], on the device.
        """
        order = torch.randperm(self.samples, generator=_generator(self._seed, epoch, "order"))
        shares = [self._share(step) for step in range(start_step, self.steps)]
        yield from self._source.training(order, shares, self._seed, epoch)

    def weight(self, step: int) -> float:
        """This process's samples in a step over the average process's: factor of its loss where gradients are averaged.

        It is 1 but where a batch cannot be split evenly; with it the average is that of a single process.
        """
        whole = min(self._batch_size, self.samples - step * self._batch_size)
        return len(self._share(step)) * self._world_size / whole

    def _share(self, step: int) -> range:
        """The places in the epoch's order that this process takes at a step."""
        start = step * self._batch_size
        size = min(self._batch_size, self.samples - start)
        return range(start + size * self._rank // self._world_size, start + size * (self._rank + 1) // self._world_size)


class EvaluationBatches:
    """A split in its own order, not augmented: iterate for (images, labels) as :meth:`TrainingBatches.epoch` yields.

    Args:
        folder: prepared data.
        split: "test" or "train".
        recipe: normalisation, and the centre crop of picture files.
        batch_size: samples a batch; the last one may be smaller.
        device: where the batches are wanted.
        limit: size of a class-balanced subset; None for all.
        workers: as for :class:`TrainingBatches`.

    Raises:
        UserError: if the data cannot be read or does not suit the recipe.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        recipe: Recipe,
        batch_size: int,
        device: torch.device | str = "cpu",
        limit: int | None = None,
        *,
        workers: int | None = None,
    ):
        self._source = _open(folder, split, recipe, device, limit, workers)
        self.manifest: Manifest = self._source.manifest
        self.samples: int = self._source.samples
        self._batch_size = batch_size

    def __len__(self) -> int:
        return -(-self.samples // self._batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        places = [
            range(start, min(start + self._batch_size, self.samples))
            for start in range(0, self.samples, self._batch_size)
        ]
        yield from self._source.evaluation(places)


def balanced_subset(labels: Tensor, count: int | None, where: str = "the data") -> Tensor:
    """Indices, ascending, of the first ``count`` samples when the classes take turns; of all for None.

    Args:
        labels: int64 [N].
        count: size of the subset.
        where: the data's name in the error's message.

    Raises:
        UserError: if there are fewer samples than that.
    """
    if count is None:
        return torch.arange(len(labels))
    if not 1 <= count <= len(labels):
        raise UserError(f"a subset of {count} samples is wanted, but {where} has {len(labels)}; choose from 1 to that")
    by_class = torch.argsort(labels, stable=True)
    ordered = labels[by_class]
    turn = torch.arange(len(labels)) - torch.searchsorted(ordered, ordered)
    in_turns = by_class[torch.argsort(turn, stable=True)]
    return in_turns[:count].sort().values


class _Arrays:
    """A split of uint8 arrays, kept whole on the device."""

    def __init__(self, folder: Path, manifest: Manifest, split: str, recipe: Recipe, device: Any, subset: int | None):
        data = read_split(folder, split)
        chosen = balanced_subset(data.labels, subset, f"{split} of {folder}")
        self.manifest, self.samples, self._device = manifest, len(chosen), torch.device(device)
        self._images = (data.images if subset is None else data.images[chosen]).to(self._device)
        self._labels = (data.labels if subset is None else data.labels[chosen]).to(self._device)
        self._augmentation = Augmentation(recipe, tuple(self._images.shape[1:]), self._device)
        self._normalise = Normalisation(recipe.mean, recipe.std, self._device)

    def training(self, order: Tensor, shares: list[range], seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        draws = self._augmentation.draw(self.samples, _generator(seed, epoch, "augmentation"))
        grouped = 1
        if self._device.type == "cuda" and shares:
            grouped = max(1, GROUPED_PICTURES // max(1, len(shares[0])))
        for start in range(0, len(shares), grouped):
            group = shares[start : start + grouped]
            places = torch.cat([torch.arange(share.start, share.stop) for share in group])
            chosen = to_device(order[places], self._device)
            images = self._augmentation(
                self._images[chosen], {name: numbers[places] for name, numbers in draws.items()}
            )
            sizes = [len(share) for share in group]
            yield from zip(self._normalise(images).split(sizes), self._labels[chosen].split(sizes), strict=True)

    def evaluation(self, places: list[range]) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in places:
            part = slice(batch.start, batch.stop)
            yield self._normalise(self._images[part]), self._labels[part]


class _Files:
    """A split of picture files, decoded and cropped by worker processes, augmented on the device."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        split: str,
        recipe: Recipe,
        device: Any,
        subset: int | None,
        workers: int,
    ):
        from ternary_spike.data.pictures import Pictures

        files = read_picture_list(folder, split)
        self._chosen = balanced_subset(files.labels, subset, f"{split} of {folder}")
        self.manifest, self.samples, self._device = manifest, len(self._chosen), torch.device(device)
        self._pictures = Pictures(files, manifest.image_size, recipe.evaluation_crop)
        self._augmentation = Augmentation(recipe, (3, manifest.image_size, manifest.image_size), self._device)
        self._normalise = Normalisation(recipe.mean, recipe.std, self._device)
        self._workers = workers

    def training(self, order: Tensor, shares: list[range], seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        draws = self._augmentation.draw(self.samples, _generator(seed, epoch, "augmentation"))
        indices = self._chosen[order].tolist()
        requests = [[(indices[place], derived_seed(seed, epoch, "part", place)) for place in share] for share in shares]
        for share, (images, labels) in zip(shares, self._decoded(requests), strict=True):
            part = slice(share.start, share.stop)
            images = self._augmentation(images, {name: numbers[part] for name, numbers in draws.items()})
            yield self._normalise(images), labels

    def evaluation(self, places: list[range]) -> Iterator[tuple[Tensor, Tensor]]:
        indices = self._chosen.tolist()
        for images, labels in self._decoded([[(indices[place], None) for place in batch] for batch in places]):
            yield self._normalise(images), labels

    def _decoded(self, requests: list[list]) -> Iterator[tuple[Tensor, Tensor]]:
        """uint8 pictures and labels on the device, a batch for each list of requests."""
        from ternary_spike.data.pictures import collated

        pinned = self._device.type == "cuda"
        loader = DataLoader(
            self._pictures,
            batch_sampler=requests,
            num_workers=self._workers,
            collate_fn=collated,
            pin_memory=pinned,
            # for the workers' own seeds, which nothing uses; without it they would come from the global generator
            generator=Generator(),
        )
        for batch in loader:
            if isinstance(batch, UserError):
                raise batch
            images, labels = batch
            yield images.to(self._device, non_blocking=True), labels.to(self._device, non_blocking=True)


def _open(
    folder: Path, split: str, recipe: Recipe, device: torch.device | str, subset: int | None, workers: int | None
) -> _Arrays | _Files:
    manifest = read_manifest(folder)
    for name, values in (("mean", recipe.mean), ("std", recipe.std)):
        if values is not None and len(values) != manifest.channels:
            raise UserError(
                f"recipe {recipe.name}: {name} has {len(values)} values, but {manifest.dataset} has "
                f"{manifest.channels} channels; choose the recipe of this dataset"
            )
    of_varying_size = manifest.root is not None
    if recipe.random_resized_crop != of_varying_size:
        kind = "pictures of varying size" if of_varying_size else "arrays of one size"
        raise UserError(
            f"recipe {recipe.name}: random_resized_crop is {str(recipe.random_resized_crop).lower()}, but "
            f"{manifest.dataset} in {folder} has {kind}; choose the recipe of this dataset"
        )
    if manifest.root is None:
        return _Arrays(folder, manifest, split, recipe, device, subset)
    return _Files(folder, manifest, split, recipe, device, subset, workers or default_workers())


def _generator(seed: int, epoch: int, purpose: str) -> Generator:
    """A CPU generator for one purpose of one epoch; neighbouring seeds and epochs share nothing."""
    return Generator().manual_seed(derived_seed(seed, epoch, purpose))


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed from numbers and words, by SHA-256."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
