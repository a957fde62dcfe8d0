"""Exercises of the page `4-code/autoencoder`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglab.checks.exercise import Exercise

Array = NDArray[Any]


def _dense(x: Array, w: Array, b: Array) -> Array:
    y: Array = x.reshape(-1) @ w + b
    return y


def _channels_first(x: Array, w: Array, b: Array) -> Array:
    y: Array = np.moveaxis(x, -1, 0).reshape(-1) @ w + b
    return y


def _columns_first(x: Array, w: Array, b: Array) -> Array:
    y: Array = np.swapaxes(x, 0, 1).reshape(-1) @ w + b
    return y


def _on_pixels(x: Array, w: Array, b: Array) -> Array:
    """Apply the weights of the first pixel to all of them."""
    y: Array = x @ w[: x.shape[-1]] + b
    return y


def _images(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    yield np.array([[[1.0, 2.0]]]), np.eye(2), np.array([10.0, 20.0])  # one pixel
    yield np.array([[[1.0, 2.0], [3.0, 4.0]]]), np.eye(4), np.array([0, 1, 0, -20.0])
    # Axes of one length, and of different ones.
    for H, W, C, D in ((3, 3, 3, 3), (4, 5, 3, 2), (2, 6, 1, 4)):
        x = rng.random((H, W, C))
        yield x, rng.normal(size=(x.size, D)), rng.normal(size=D)


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
            "the bias is missing": lambda x, w, b: x.reshape(-1) @ w,
            "no activation was asked for": lambda x, w, b: np.maximum(
                _dense(x, w, b), 0
            ),
            "that is a batch of one; give the D numbers of one image": lambda x, w, b: (
                x.reshape(1, -1) @ w + b
            ),
            "flatten pixel by pixel, not channel by channel": _channels_first,
            "flatten row by row, not column by column": _columns_first,
            "that acts on each pixel alone; flatten the image first": _on_pixels,
        },
    ),
}
