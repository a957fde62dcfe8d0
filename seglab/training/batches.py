"""Feed a split to Keras: shuffled, augmented, in batches of one size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from seglab.data import Split
from seglab.data.stream import StreamedArray
from seglab.training.crop import center_crop

Augmentation = Callable[
    [NDArray[Any], NDArray[Any], np.random.Generator],
    tuple[NDArray[Any], NDArray[Any]],
]
"""From a batch of images, their masks and a source of chance to new ones."""

Sampling = Literal["uniform", "balanced"]
"""How the images of an epoch are drawn; see `Batches`."""


class Batches(keras.utils.PyDataset):
    """The training images, in another order and another guise each epoch.

    What batch `i` of an epoch holds depends on the seed, the epoch and `i` alone: not
    on the backend, nor on how far ahead it fetches. Of images that stay on disk, the
    next batch is read while the network works on this one.

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
    sampling : {"uniform", "balanced"}
        "uniform" shows every image once an epoch. "balanced" draws as many images in
        another way, so that rare classes are seen as often as frequent ones: it goes
        round the K classes that occur, in another random order each time, and for each
        takes the next of the images that contain it, in random order too and starting
        over when there are no more. So of the first K draws one is for the sake of each
        class, and of the next K, and so on. Images with rare classes may come several
        times in an epoch, and others not at all.

    Raises
    ------
    ValueError
        When `sampling` is something else, or no pixel has a class to balance.

    Notes
    -----
    Balanced sampling balances *images*, not pixels: an image that is drawn for a rare
    class brings its background along. A class occurs in an image if one pixel of the
    part that the network labels has it, before the augmentation.

    Source
    ------
    Balanced: "class-aware sampling" of Shen, Lin and Huang, "Relay Backpropagation for
    Effective Learning of Deep Convolutional Neural Networks", ECCV 2016, for images
    with one class each. A relative: nnU-Net draws a third of its patches around a
    pixel of a random class (Isensee et al., Nature Methods 18, 2021).

    Examples
    --------
    Ten images of background, and one with a cell:

    >>> masks = np.zeros((11, 4, 4), np.int32)
    >>> masks[10, 1, 1] = 1
    >>> images = np.zeros((11, 4, 4, 1), np.float32)
    >>> split = Split(images, masks, ("background", "cell"))
    >>> batches = Batches(split, 11, size=(4, 4), sampling="balanced")
    >>> int((batches.order == 10).sum()) >= 5  # for the cell's sake
    True
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        size: tuple[int, int],
        augment: Augmentation | None = None,
        seed: int = 0,
        sampling: Sampling = "uniform",
    ) -> None:
        super().__init__()
        if sampling not in ("uniform", "balanced"):
            raise ValueError(
                f'sampling is {sampling!r}; it must be "uniform" or "balanced".'
            )
        self.split, self.size = split, size
        self.batch_size = min(batch_size, len(split))
        self.augment, self.seed = augment, seed
        self.images_of = _images_of(split, size) if sampling == "balanced" else None
        self.epoch = 0
        self.turns: Sequence[int] = range(self.num_batches)  # batches in their order
        self._shuffle()
        self._reader = ThreadPoolExecutor(max_workers=1)
        self._ahead: dict[tuple[int, int], Future[Any]] = {}  # by epoch and batch

    @property
    def num_batches(self) -> int:
        """Batches of an epoch: enough for every image to be seen."""
        return -(-len(self.split) // self.batch_size)

    def on_epoch_begin(self) -> None:
        """Draw a new order; Keras calls this before it fetches an epoch."""
        self.epoch += 1
        self._shuffle()

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Give the next batch: images (B, H, W, C) and masks (B, H', W')."""
        images: Any = self.split.images
        if not isinstance(images, StreamedArray):
            return self._batch(self.turns[index])
        ahead = self._ahead.pop((self.epoch, index), None)
        self._ahead.clear()
        if index + 1 < self.num_batches:
            # Keras's own workers would do, but they start before on_epoch_begin has
            # drawn the epoch's order.
            following = self._reader.submit(self._batch, self.turns[index + 1])
            self._ahead[self.epoch, index + 1] = following
        return self._batch(self.turns[index]) if ahead is None else ahead.result()

    def _batch(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        start = index * self.batch_size
        chosen = self.order[start : start + self.batch_size]
        images, masks = self.split.images[chosen], self.split.masks[chosen]
        if self.augment is not None:
            rng = np.random.default_rng([self.seed, self.epoch, 1 + index])
            images, masks = self.augment(images, masks, rng)
        return images, center_crop(masks, *self.size)

    def _shuffle(self) -> None:
        rng = np.random.default_rng([self.seed, self.epoch, 0])
        draws = self.num_batches * self.batch_size
        if self.images_of is None:
            self.order = np.resize(rng.permutation(len(self.split)), draws)
        else:
            self.order = _draw_balanced(self.images_of, draws, rng)


def _images_of(split: Split, size: tuple[int, int]) -> list[NDArray[np.intp]]:
    """Give for each class that occurs the numbers of the images that contain it."""
    present = np.zeros((len(split), split.num_classes), bool)
    for i in range(len(split)):
        mask = center_crop(split.masks[i : i + 1], *size)
        labels = mask[mask != split.ignore_index]  # None differs from every label
        present[i] = np.bincount(labels, minlength=split.num_classes) > 0
    if not present.any():
        raise ValueError(
            "all pixels that the network labels are ignored: there is no class to "
            'balance. Check the masks, or draw images with sampling="uniform".'
        )
    return [np.flatnonzero(column) for column in present.T if column.any()]


def _draw_balanced(
    images_of: list[NDArray[np.intp]], draws: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Draw images for one class after the other, each class and image in its turn."""
    classes = _rounds(len(images_of), draws, rng)  # for whose sake each draw is
    order = np.empty(draws, np.intp)
    for k, images in enumerate(images_of):
        turns = np.flatnonzero(classes == k)
        order[turns] = images[_rounds(len(images), len(turns), rng)]
    return order


def _rounds(n: int, draws: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Go through 0 to n - 1 in random order, another one each time round."""
    rounds = [rng.permutation(n) for _ in range(-(-draws // n))]
    return np.concatenate(rounds)[:draws] if rounds else np.empty(0, np.intp)
