"""Exercises of the page `3-algorithms/convolution`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.signal import convolve2d, correlate2d

from seglab.checks.exercise import Exercise

Array = NDArray[Any]


def _steal(x: Array, after: Array) -> Array:
    """Solve for the kernel, a window for each equation."""
    rows = sliding_window_view(x, (3, 3)).reshape(-1, 9)
    w: Array = np.linalg.lstsq(rows, after.ravel(), rcond=None)[0]
    return w.reshape(3, 3)


def _pictures(rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    for size in (5, 8, 16):
        x = rng.random((size, size))
        yield x, correlate2d(x, rng.normal(size=(3, 3)).round(1), mode="valid")


def _pairs(rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    dot = np.zeros((3, 3))
    dot[1, 1] = 1
    corner = np.zeros((3, 3))
    corner[0, 0] = 1
    yield dot, dot
    yield corner, dot
    for _ in range(3):
        yield rng.integers(-2, 3, (3, 3)) * 1.0, rng.integers(-2, 3, (3, 3)) * 1.0


EXERCISES = {
    # Height, width and channels; weights; multiply-adds
    "ex-convolution-count": Exercise(
        solution=(30, 30, 16, 1216, 1_080_000),
        wrong={
            "the biases are missing": (30, 30, 16, 1200, 1_080_000),
            'that is for padding "same"; here there is none': (
                32,
                32,
                16,
                1216,
                1_228_800,
            ),
        },
    ),
    "ex-convolution-steal": Exercise(
        solution=_steal,
        cases=_pictures,
        wrong={
            "the kernel is turned by half a turn": lambda x, after: _steal(x, after)[
                ::-1, ::-1
            ],
        },
    ),
    "ex-convolution-two": Exercise(
        solution=convolve2d,
        cases=_pairs,
        wrong={
            "that correlates one kernel with the other: turn the second": correlate2d,
        },
    ),
}
