"""Exercises of the page `4-code/autoencoder`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglab.checks.exercise import Exercise

Array = NDArray[Any]


def _dense(x: Array, W: Array, b: Array) -> Array:
    y: Array = x @ W + b
    return y


def _one_row(x: Array, W: Array, b: Array) -> Array:
    """As if the layer saw the whole image: its weights repeated for each pixel."""
    y: Array = x.reshape(1, -1) @ np.tile(W, (x.shape[0] * x.shape[1], 1)) + b
    return y


def _along_rows(x: Array, W: Array, b: Array) -> Array:
    """Sum over the first axis in place of the last."""
    y: Array = np.tensordot(x, W, axes=(0, 0)) + b
    return y


def _images(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    identity, nothing = np.eye(2), np.zeros(2)
    yield np.array([[[1.0, 2.0]]]), identity, np.array([10.0, 20.0])  # one pixel
    yield np.array([[[1.0, 2.0], [3.0, 4.0]]]), 2 * identity, nothing
    # Axes of one length, and of different ones.
    for H, W, C, K in ((3, 3, 3, 3), (4, 5, 3, 2), (2, 6, 1, 4)):
        yield rng.random((H, W, C)), rng.normal(size=(C, K)), rng.normal(size=K)


EXERCISES = {
    # numbers in the code, the image's for each of them, of the code for each pixel
    "ex-code-autoencoder-count": Exercise(
        solution=(50176, 3, 1),
        tolerance=0.005,
        wrong={
            "the channels are missing": (784, 192, 1 / 64),
            "those are the channels alone; the map has places too": (64, 2352, 64),
            "that is the ratio the other way round": (50176, 1 / 3, 1),
            "divide by the pixels of the image, not of the map": (50176, 3, 64),
        },
    ),
    "ex-code-autoencoder-dense": Exercise(
        solution=_dense,
        cases=_images,
        wrong={
            "the bias is missing": lambda x, W, b: x @ W,
            "the weights are (C, K): no transpose is needed": lambda x, W, b: (
                x @ W.T + b
            ),
            "no activation was asked for": lambda x, W, b: np.maximum(x @ W + b, 0),
            "keep the axes of the image": lambda x, W, b: (x @ W + b).reshape(
                -1, len(b)
            ),
            "every row needs its own pixels": _one_row,
            "the sum runs over channels, not over rows": _along_rows,
        },
    ),
}
