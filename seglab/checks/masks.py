"""Exercises of the page `2-concepts/masks`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglab.checks.exercise import Exercise


def _encode(mask: NDArray[Any]) -> NDArray[np.intp]:
    """Give start and length of each run of ones, row by row: (runs, 2)."""
    change = np.diff(np.pad(np.asarray(mask, dtype=int).ravel(), 1))
    start, stop = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    return np.stack([start, stop - start], axis=1)


def _encode_without_ends(mask: NDArray[Any]) -> NDArray[np.intp]:
    """Forget the runs that touch the start or the end."""
    change = np.diff(np.asarray(mask, dtype=int).ravel())
    start, stop = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    return np.stack([start + 1, stop - start], axis=1)


def _masks(rng: np.random.Generator) -> Iterator[tuple[NDArray[np.intp]]]:
    yield (np.array([[0, 1, 1, 0]]),)
    yield (np.array([[0, 0, 1], [1, 0, 0]]),)  # one run over the end of a row
    yield (np.array([[1, 1, 0], [0, 0, 1]]),)  # at the start and at the end
    yield (np.ones((3, 4), int),)
    yield (np.zeros((3, 4), int),)
    yield (rng.integers(0, 2, (8, 8)),)


def _flip_and_rename(y: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.array([0, 2, 1])[y[:, ::-1]]


EXERCISES = {
    # Nearest labels, averages, and nearest labels of the thin line
    "ex-masks-halve": Exercise(
        solution=(np.array([2, 0]), np.array([1, 1]), np.array([0, 0])),
        wrong={
            "the formula takes the second pixel of each pair": (
                [0, 2],
                [1, 1],
                [0, 2],
            ),
            "the line lies in a column that the formula does not take": (
                [2, 0],
                [1, 1],
                [0, 2],
            ),
        },
    ),
    "ex-masks-runs": Exercise(
        solution=_encode,
        cases=_masks,
        wrong={
            "the mask may begin or end inside an object": _encode_without_ends,
            "runs go along rows, one row after the other": lambda mask: _encode(
                np.transpose(mask)
            ),
        },
    ),
    "ex-masks-flip": Exercise(
        solution=_flip_and_rename,
        cases=lambda rng: [
            (np.array([[1, 0, 2]]),),
            (np.array([[1, 1, 0, 0], [0, 0, 0, 2]]),),
            (rng.integers(0, 3, (5, 6)),),
        ],
        wrong={
            "left and right have other names in the mirror": lambda y: y[:, ::-1],
            "the mask itself has to be mirrored too": lambda y: np.array([0, 2, 1])[y],
        },
    ),
}
