"""Exercises of the page `3-algorithms/autoencoder`."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglab.checks.exercise import Exercise


def _reconstruct(images: NDArray[Any], k: int, centered: bool = True) -> NDArray[Any]:
    x = images.reshape(len(images), -1)
    mean = centered * x.mean(axis=0)
    U = np.linalg.svd(x - mean, full_matrices=False)[2][:k].T
    drawn: NDArray[Any] = ((x - mean) @ U @ U.T + mean).reshape(images.shape)
    return drawn


def _mean_forgotten(images: NDArray[Any], k: int) -> NDArray[Any]:
    drawn: NDArray[Any] = _reconstruct(images, k) - images.mean(axis=0)
    return drawn


def _images(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    yield np.array([[[0.0, 0.0]], [[1.0, 1.0]]]), 0  # the mean image, twice
    yield np.array([[[0.0, 0.0]], [[1.0, 1.0]]]), 1  # on a line: nothing is lost
    yield rng.random((6, 3, 3)), 2
    yield rng.random((20, 4, 5)) + 3, 7
    yield rng.random((4, 8, 8)), 3  # as many numbers as four images need
    yield np.ones((5, 2, 2)), 1  # all alike


def _variances(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    yield np.array([4.0, 1.0, 0.25, 0.01]), 0.3
    yield np.array([4.0, 1.0, 0.25, 0.01]), 0.7
    yield np.array([4.0, 1.0, 0.25, 0.01]), 3.0  # the noise is larger than all
    yield np.array([4.0, 1.0, 0.25, 0.01]), 0.0  # no noise
    for size in (9, 64):
        yield np.sort(rng.exponential(size=size))[::-1], 0.5


EXERCISES = {
    # code, first pixel drawn, mean squared error
    "ex-autoencoder-hand": Exercise(
        solution=(8, 4, 5),
        tolerance=0.005,
        wrong={
            "the pattern u has halves in it": (16, 4, 5),
            "the decoder multiplies the code by u": (8, 2, 5),
            "that is the sum over the pixels, not their mean": (8, 4, 20),
            "that is the mean; the code is a sum, weighted by u": (4, 4, 5),
        },
    ),
    "ex-autoencoder-pca": Exercise(
        solution=_reconstruct,
        cases=_images,
        wrong={
            "take the mean off before you multiply": partial(
                _reconstruct, centered=False
            ),
            "put the mean back at the end": _mean_forgotten,
        },
    ),
    "ex-autoencoder-noise": Exercise(
        solution=lambda variances, sigma: int((variances > sigma**2).sum()),
        cases=_variances,
        wrong={
            "compare with the variance of the noise": lambda variances, sigma: int(
                (variances > sigma).sum()
            ),
            "not every direction has more signal than noise": lambda variances, sigma: (
                len(variances)
            ),
        },
    ),
}
