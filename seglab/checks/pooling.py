"""Exercises of the page `3-algorithms/pooling`."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from seglab.checks.exercise import Exercise

TAPS = (0.25, 0.5, 0.25)


def _blurred_max(
    x: NDArray[Any], k: int, rounds: int, axes: tuple[int, ...] = (0, 1)
) -> NDArray[Any]:
    y: NDArray[Any] = sliding_window_view(x, (k, k)).max(axis=(2, 3))
    for axis in rounds * axes:
        y = convolve1d(y, TAPS, axis=axis)
    return y[::k, ::k]


def _thinned_first(x: NDArray[Any], k: int, rounds: int) -> NDArray[Any]:
    return _blurred_max(_blurred_max(x, k, 0), 1, rounds)


def _cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    dot = np.zeros((6, 6))
    dot[2, 3] = 1
    yield dot, 2, 0  # a plain max pooling
    yield dot, 2, 1
    yield dot, 3, 1
    for shape in ((8, 8), (9, 12), (16, 7)):
        for k, rounds in ((2, 1), (4, 5)):
            yield rng.random(shape), k, rounds


EXERCISES = {
    # rows, field and jump behind the last layer; rows of the image that it cannot see
    "ex-pooling-pencil": Exercise(
        solution=(9, 16, 4, 2),
        wrong={
            "a pooling of an odd number of rows rounds down": (10, 16, 4, 0),
            "the last pooling leaves a row out": (
                9,
                16,
                4,
                0,
            ),
            "the field grows by (k - 1) times the jump": (9, 14, 4, 2),
            "the jump is the product of all strides": (9, 16, 2, 2),
        },
    ),
    # 3x3 convolutions: alone, between poolings, dilated
    "ex-pooling-design": Exercise(
        solution=(32, 8, 6),
        wrong={
            "that sees one pixel too few": (31, 8, 6),
            "that sees fewer than 64 pixels": (32, 7, 6),
            "that sees 63 pixels": (32, 8, 5),
            "a 3x3 convolution adds two pixels, not one": (64, 8, 6),
        },
    ),
    "ex-pooling-blur": Exercise(
        solution=_blurred_max,
        cases=_cases,
        wrong={
            "blur before thinning out": _thinned_first,
            "blur along both axes": partial(_blurred_max, axes=(0,)),
            "the blur is missing": lambda x, k, rounds: _blurred_max(x, k, 0),
        },
    ),
}
