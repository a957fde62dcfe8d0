"""Exercises of the page `6-faq/initialization`."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from seglab.checks.exercise import Exercise


def prior_bias(mask: NDArray[np.int32], K: int) -> NDArray[np.float64]:
    """Give the biases whose softmax is the classes' shares, each count one more."""
    counts = np.bincount(mask.ravel(), minlength=K) + 1
    return np.asarray(np.log(counts / counts.sum()))


def shares(mask: NDArray[np.int32], K: int, more: int = 1) -> NDArray[np.float64]:
    """Give the share of each class, each count so many more."""
    counts = np.bincount(mask.ravel(), minlength=K) + more
    return np.asarray(counts / counts.sum())


def without_one(mask: NDArray[np.int32], K: int) -> NDArray[np.float64]:
    """Forget the pixel more."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(shares(mask, K, more=0)))


def short(mask: NDArray[np.int32], K: int) -> NDArray[np.float64]:
    """Count only up to the highest label that occurs."""
    return prior_bias(mask, int(mask.max()) + 1)


def mask_cases(rng: np.random.Generator) -> Iterator[tuple[NDArray[np.int32], int]]:
    """Give a row of pixels, masks, and one in which classes do not occur."""
    yield np.array([0, 0, 0, 1], np.int32), 2
    yield np.array([[0, 0, 0], [1, 2, 2]], np.int32), 3
    yield rng.integers(0, 3, size=(4, 8, 8)).astype(np.int32), 3
    yield np.zeros((5, 5), np.int32), 4


EXERCISES = {
    # 3x3, 32 channels to 64: He's and Glorot's deviations, Glorot's factor
    "ex-faq-initialization-fans": Exercise(
        solution=((2 / 288) ** 0.5, (2 / 864) ** 0.5, (1 / 3) ** 0.5),
        wrong={
            "that is the variance, or the gain: take the root": (
                *(2 / 288, 2 / 864, 1 / 3),
            ),
            "each output sums over the window too, 3 times 3 per channel": (
                *((2 / 32) ** 0.5, (2 / 96) ** 0.5, (1 / 3) ** 0.5),
            ),
            "He counts the inputs, not the outputs": (
                *((2 / 576) ** 0.5, (2 / 864) ** 0.5, (2 / 3) ** 0.5),
            ),
            "the ReLU takes half of the mean square": (
                *((1 / 288) ** 0.5, (1 / 864) ** 0.5, (2 / 3) ** 0.5),
            ),
        },
    ),
    "ex-faq-initialization-prior": Exercise(
        solution=prior_bias,
        cases=mask_cases,
        wrong={
            "that is the share; its logarithm goes into the softmax": shares,
            "a class that does not occur has no logarithm: add 1 to every count": (
                without_one
            ),
            "K classes, also if the last ones do not occur": short,
            "that is for a sigmoid, which compares with one minus the share": (
                lambda mask, K: np.log(shares(mask, K) / (1 - shares(mask, K)))
            ),
            "the more frequent a class, the higher its bias": lambda mask, K: (
                -prior_bias(mask, K)
            ),
        },
    ),
}
