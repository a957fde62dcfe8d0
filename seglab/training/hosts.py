"""Several hosts: each feeds its devices with its part of every batch."""

from __future__ import annotations

from typing import Any

import keras
from numpy.typing import NDArray


class HostShare(keras.utils.PyDataset):
    """One host's part of each batch: its neighbors' rows are left out.

    Every host makes the whole batch, with the same order and the same augmentation,
    and keeps its rows, so that the hosts together train on what one would.

    Parameters
    ----------
    batches : PyDataset
        Of all hosts.
    index, count : int
        Which host this is, and how many there are. The count divides the batch size.
    """

    def __init__(self, batches: keras.utils.PyDataset, index: int, count: int) -> None:
        super().__init__()
        self.batches, self.index, self.count = batches, index, count

    @property
    def num_batches(self) -> int:
        """Batches of an epoch, as many as for one host."""
        return int(self.batches.num_batches)

    def on_epoch_begin(self) -> None:
        """Draw a new order, the same on every host."""
        self.batches.on_epoch_begin()

    def __getitem__(self, index: int) -> tuple[NDArray[Any], ...]:
        """Give this host's rows of batch `index`."""
        batch = self.batches[index]
        share = len(batch[0]) // self.count
        rows = slice(self.index * share, (self.index + 1) * share)
        return tuple(array[rows] for array in batch)
