"""Exercises of the page `2-concepts/families`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglab.checks.exercise import Exercise

Array = NDArray[Any]


def patch_around(x: Array, i: int, j: int, size: int, mode: Any = "reflect") -> Array:
    """Cut out the patch with pixel (i, j) in its center, mirrored at the border."""
    padded = np.pad(x, size // 2, mode=mode)
    return padded[i : i + size, j : j + size]


def _pixels(rng: np.random.Generator) -> Iterator[tuple[Array, int, int, int]]:
    x = np.arange(20.0).reshape(4, 5)
    yield x, 1, 2, 1
    yield x, 1, 2, 3
    yield x, 2, 1, 3
    yield x, 0, 0, 3
    yield x, 3, 4, 5
    yield rng.normal(size=(9, 7)), 8, 0, 7


EXERCISES = {
    # runs of a patch CNN; scores of an FCN; labels in an autoencoder's loss
    "ex-families-count": Exercise(
        solution=(3840, 11520, 0),
        wrong={
            "that is one score for a pixel; there are three classes": (3840, 3840, 0),
            "one run gives the class of one pixel": (1, 11520, 0),
            "those lie on the disk; count those in the loss": (
                3840,
                11520,
                38400,
            ),
            "that is the number of classes; every pixel has them": (3840, 3, 0),
        },
    ),
    "ex-families-patch": Exercise(
        solution=patch_around,
        cases=_pixels,
        wrong={
            "mirror the image; do not fill with zeros": partial(
                patch_around, mode="constant"
            ),
            "the outermost row itself is not repeated": partial(
                patch_around, mode="symmetric"
            ),
            "row and column have changed places": lambda x, i, j, size: patch_around(
                x, j, i, size
            ),
            "the patch begins half a patch before its center": lambda x, i, j, size: x[
                i : i + size, j : j + size
            ],
        },
    ),
}
