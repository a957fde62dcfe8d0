"""Labeled images: simulated, photographed, or read from disk.

Every source gives the same `Dataset`; see `load`.
"""

from seglab.data.dataset import DataError, Dataset, Split
from seglab.data.transforms import (
    Augment,
    resize_images,
    resize_masks,
    stretch_contrast,
)

__all__ = [
    "Augment",
    "DataError",
    "Dataset",
    "Split",
    "resize_images",
    "resize_masks",
    "stretch_contrast",
]
