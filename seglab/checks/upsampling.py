"""Exercises of the page `3-algorithms/upsampling`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglab.checks.exercise import Exercise

Array = NDArray[Any]


def is_flat(w: Array, s: int) -> bool:
    """Say whether all taps that meet at an output have the same sum, at each phase."""
    return bool(np.ptp([w[q::s].sum() for q in range(s)]) < 1e-9)


def _stamps(rng: np.random.Generator) -> Iterator[tuple[Array, int]]:
    for w, s in [
        ([1.0, 1, 1], 2),
        ([1, 1, 1, 1], 2),
        ([1, 2, 1], 2),
        ([1, 2, 3, 4], 2),  # equally many taps, of unequal sums
        ([0.25, 0.75, 0.75, 0.25], 2),
        ([3, 1, -2], 2),
        ([1, 2, 3, 2, 1], 3),
        ([5, -2], 1),
        ([1], 2),  # a hole at every other place
        ([1, 1, 1], 4),
        ([0, 1, 0], 2),
    ]:
        yield np.array(w, float), s
    yield rng.normal(size=6), 3


def shuffle(z: Array, s: int) -> Array:
    """Lay the channels of each pixel out as a square of s x s pixels."""
    H, W, _ = z.shape
    return z.reshape(H, W, s, s).transpose(0, 2, 1, 3).reshape(s * H, s * W)


def _channels(rng: np.random.Generator) -> Iterator[tuple[Array, int]]:
    yield np.arange(4.0).reshape(1, 1, 4), 2
    yield np.arange(8.0).reshape(1, 2, 4), 2
    yield np.arange(8.0).reshape(2, 1, 4), 2
    yield rng.normal(size=(3, 4, 9)), 3
    yield rng.normal(size=(2, 3, 1)), 1


EXERCISES = {
    # rows of (k, s, p) = (4, 2, 1) from 16; of (64, 32, 0) from 16; output padding
    "ex-upsampling-sizes": Exercise(
        solution=(32, 544, 1),
        wrong={
            "the padding is cut off at both ends": (34, 544, 1),
            "the last stamp begins at s(H - 1) and is k long": (32, 512, 1),
            "count the rows without output padding first": (32, 544, 0),
            "rows are added, not cut": (32, 544, -1),
        },
    ),
    "ex-upsampling-flat": Exercise(
        solution=is_flat,
        cases=_stamps,
        wrong={
            "equally many taps may have unequal sums": lambda w, s: len(w) % s == 0,
            "weights need not be equal, only their sums at each phase": lambda w, s: (
                bool(np.ptp(w) < 1e-9)
            ),
            "there are as many phases as the stride says": lambda w, s: bool(
                np.isclose(w[0::s].sum(), w[1::s].sum())
            ),
        },
    ),
    "ex-upsampling-shuffle": Exercise(
        solution=shuffle,
        cases=_channels,
        wrong={
            "the channels of a pixel stay together, in a square": lambda z, s: (
                z.reshape(s * z.shape[0], s * z.shape[1])
            ),
            "channel s a + b: a is the row in the square": lambda z, s: shuffle(
                z.reshape(*z.shape[:2], s, s).swapaxes(2, 3).reshape(z.shape), s
            ),
        },
    ),
}
