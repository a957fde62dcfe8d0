"""Exercises of the page `6-faq/losses`."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seglab.checks.exercise import Exercise


def squared_error_gradient(
    s: ArrayLike,
    y: int,
    *,
    two: bool = True,
    squared: bool = True,
    off_diagonal: bool = True,
    sign: int = 1,
) -> NDArray[np.float64]:
    """Give the gradient of a pixel's squared softmax error with respect to scores."""
    s = np.asarray(s, np.float64)
    e = np.exp(s - s.max())
    p: NDArray[np.float64] = e / e.sum()
    gap: NDArray[np.float64] = p - np.eye(len(p))[y]
    if not squared:
        return gap
    a = (2 if two else 1) * sign * gap
    mean = (p * a).sum() if off_diagonal else p * a
    return p * (a - mean)


def gradient_cases(
    rng: np.random.Generator,
) -> Iterator[tuple[NDArray[np.float64], int]]:
    """Give an undecided pixel, one that is sure and wrong, then any."""
    yield np.zeros(2), 1
    yield np.array([3.0, -3.0]), 1
    for K in (3, 5):
        yield rng.normal(0, 2, size=K).round(1), int(rng.integers(K))


EXERCISES = {
    # pulls of cross-entropy and of the squared error at p = 1/5; where the latter's
    # is largest
    "ex-faq-losses-pull": Exercise(
        solution=(4 / 5, 4 * (1 / 5) * (16 / 25), 1 / 3),
        wrong={
            "2 (1 - p) is the slope in p; it still has to go through the softmax": (
                4 / 5,
                2 * 4 / 5,
                0.0,
            ),
            "the sum is over both classes, and both are wrong by 1 - p": (
                4 / 5,
                2 * (1 / 5) * (16 / 25),
                1 / 3,
            ),
            "cross-entropy pulls by what is missing to 1": (
                1 / 5,
                4 * (1 / 5) * (16 / 25),
                1 / 3,
            ),
            "at one half the two pull alike, but the bump goes on to the left": (
                4 / 5,
                4 * (1 / 5) * (16 / 25),
                1 / 2,
            ),
        },
    ),
    "ex-faq-losses-gradient": Exercise(
        solution=squared_error_gradient,
        cases=gradient_cases,
        wrong={
            "that is the gradient of cross-entropy": lambda s, y: (
                squared_error_gradient(s, y, squared=False)
            ),
            "that is with respect to the probabilities: go through the softmax": (
                lambda s, y: 2 * squared_error_gradient(s, y, squared=False)
            ),
            "a square has a slope of twice what is squared": lambda s, y: (
                squared_error_gradient(s, y, two=False)
            ),
            "each score moves all probabilities: J has more than a diagonal": (
                lambda s, y: squared_error_gradient(s, y, off_diagonal=False)
            ),
            "the gradient points uphill: p - t, not t - p": lambda s, y: (
                squared_error_gradient(s, y, sign=-1)
            ),
        },
    ),
}
