"""Labeled images: simulated, photographed, or read from disk.

Every source gives the same `Dataset` through `load`:

- ``load("cells")`` and ``load("digits")`` simulate, ``load("coins")`` cuts up a
  photograph: no file, no network;
- ``load("nuclei")``, ``"pets"``, ``"aerial"`` and ``"road"`` read prepared archives;
- ``load("path/to/folder")`` reads your own images and masks; with ``stream=True``
  they stay on disk until they are used, and need not fit into memory.

Examples
--------
>>> data = load("cells", count=10, size=32)
>>> data.train.images.dtype, data.train.masks.dtype
(dtype('float32'), dtype('int32'))
"""

from seglab.data.dataset import DataError, Dataset, Split
from seglab.data.folder import MissingDataError, save
from seglab.data.registry import Card, card, cards, find, load, names, places
from seglab.data.transforms import (
    Augment,
    resize_images,
    resize_masks,
    stretch_contrast,
)

__all__ = [
    "Augment",
    "Card",
    "DataError",
    "Dataset",
    "MissingDataError",
    "Split",
    "card",
    "cards",
    "find",
    "load",
    "names",
    "places",
    "resize_images",
    "resize_masks",
    "save",
    "stretch_contrast",
]
