"""Feed a split to Keras: shuffled, augmented, in batches of one size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from seglab.data import Split
from seglab.training.crop import center_crop

Augmentation = Callable[
    [NDArray[Any], NDArray[Any], np.random.Generator],
    tuple[NDArray[Any], NDArray[Any]],
]
"""From a batch of images, their masks and a source of chance to new ones."""


class Batches(keras.utils.PyDataset):
    """The training images, in another order and another guise each epoch.

    What batch `i` of an epoch holds depends on the seed, the epoch and `i` alone: not
    on the backend, nor on how far ahead it fetches.

    Parameters
    ----------
    split : Split
        Images to learn from.
    batch_size : int
        Images in every batch, at most ``len(split)``. The last batch of an epoch is
        filled up from the epoch's start, so that a compiler sees one shape, and batch
        norm never one image.
    size : (int, int)
        Height and width of the network's output: masks are cut to that center.
    augment : callable, optional
        See `seglab.data.Augment`.
    seed : int
        Of the order and of the augmentation.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        size: tuple[int, int],
        augment: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.split, self.size = split, size
        self.batch_size = min(batch_size, len(split))
        self.augment, self.seed = augment, seed
        self.epoch = 0
        self._shuffle()

    @property
    def num_batches(self) -> int:
        """Batches of an epoch: enough for every image to be seen."""
        return -(-len(self.split) // self.batch_size)

    def on_epoch_begin(self) -> None:
        """Draw a new order; Keras calls this before it fetches an epoch."""
        self.epoch += 1
        self._shuffle()

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Give batch `index`: images (B, H, W, C) and masks (B, H', W')."""
        start = index * self.batch_size
        chosen = self.order[start : start + self.batch_size]
        images, masks = self.split.images[chosen], self.split.masks[chosen]
        if self.augment is not None:
            rng = np.random.default_rng([self.seed, self.epoch, 1 + index])
            images, masks = self.augment(images, masks, rng)
        return images, center_crop(masks, *self.size)

    def _shuffle(self) -> None:
        order = np.random.default_rng([self.seed, self.epoch, 0]).permutation(
            len(self.split)
        )
        self.order = np.resize(order, self.num_batches * self.batch_size)
