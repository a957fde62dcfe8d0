"""Exercises of the page `3-algorithms/training`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from seglab.checks.exercise import Exercise

Array = NDArray[Any]


def _loss(s: Array, y: Array, ignore: int) -> tuple[float, Array]:
    counts = y != ignore  # (H, W)
    n = max(int(counts.sum()), 1)
    t = (np.arange(s.shape[-1]) == y[..., None]) & counts[..., None]  # (H, W, K)
    log_p = log_softmax(s, axis=-1)
    gradient = (np.exp(log_p) - t) * counts[..., None] / n
    return float(-(t * log_p).sum() / n), gradient


def _mean_over_all(s: Array, y: Array, ignore: int) -> tuple[float, Array]:
    loss, gradient = _loss(s, y, ignore)
    share = (y != ignore).mean()
    return loss * share, gradient * share


def _ignored_pulls(s: Array, y: Array, ignore: int) -> tuple[float, Array]:
    loss, gradient = _loss(s, y, ignore)
    n = max(int((y != ignore).sum()), 1)
    return loss, gradient + np.exp(log_softmax(s, axis=-1)) * (y == ignore)[
        ..., None
    ] / n


def _sum_of_gradients(s: Array, y: Array, ignore: int) -> tuple[float, Array]:
    loss, gradient = _loss(s, y, ignore)
    return loss, gradient * (y != ignore).sum()


def _overflows(s: Array, y: Array, ignore: int) -> tuple[float, Array]:
    with np.errstate(over="ignore", invalid="ignore"):
        p = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True)
    loss, gradient = _loss(s, y, ignore)
    return (loss, gradient) if np.isfinite(p).all() else (np.nan, p)


def _loss_cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    yield np.log([[[1.0, 2.0, 5.0]]]), np.array([[1]]), 255
    yield np.log([[[1.0, 2.0, 5.0], [3.0, 1.0, 4.0]]]), np.array([[1, 0]]), 255
    yield np.zeros((1, 2, 2)), np.array([[0, 255]]), 255
    yield np.array([[[1000.0, 0.0]]]), np.array([[0]]), 255
    yield np.array([[[-3000.0, 0.0, 3000.0]]]), np.array([[0]]), 255
    yield rng.normal(size=(2, 2, 3)), np.full((2, 2), 9), 9
    for K in (2, 5):
        y = rng.integers(0, K, (4, 6))
        y[1] = 255
        yield rng.normal(0, 3, (4, 6, K)), y, 255


def _combine(grads: Array, counts: Array) -> Array:
    total: Array = np.tensordot(counts, grads, axes=1)
    return total / max(int(np.sum(counts)), 1)


def _combine_cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    yield np.array([1.0, 3.0]), np.array([5, 5])
    yield np.array([1.0, 3.0]), np.array([3, 1])
    yield np.array([[2.0, -1.0], [0.0, 0.0]]), np.array([7, 0])
    yield np.zeros((2, 3)), np.array([0, 0])
    yield rng.normal(size=(4, 3, 3, 2, 5)), rng.integers(0, 1000, 4)


EXERCISES = {
    # the loss, dL/ds for three scores, dL/da
    "ex-training-pixel": Exercise(
        solution=(np.log(8 / 3), -5 / 8, 1 / 8, 4 / 8, 9 / 8),
        tolerance=0.005,
        wrong={
            "that is t - p; the sign is the other way round": (
                np.log(8 / 3),
                5 / 8,
                -1 / 8,
                -4 / 8,
                -9 / 8,
            ),
            "take one off at the true class": (
                np.log(8 / 3),
                3 / 8,
                1 / 8,
                4 / 8,
                17 / 8,
            ),
            "the natural logarithm, not that to base 2": (
                np.log2(8 / 3),
                -5 / 8,
                1 / 8,
                4 / 8,
                9 / 8,
            ),
            "the last one is multiplied by the weights u": (
                np.log(8 / 3),
                -5 / 8,
                1 / 8,
                4 / 8,
                0,
            ),
        },
    ),
    "ex-training-loss": Exercise(
        solution=_loss,
        cases=_loss_cases,
        wrong={
            "divide by the pixels that count, not by all": _mean_over_all,
            "ignored pixels give no gradient": _ignored_pulls,
            "the gradient is of a mean: divide it too": _sum_of_gradients,
            "subtract the largest score first, or exp overflows": _overflows,
        },
    ),
    "ex-training-halves": Exercise(
        solution=_combine,
        cases=_combine_cases,
        wrong={
            "halves of different size have different weights": lambda grads, counts: (
                grads.mean(axis=0)
            ),
            "a mean loss needs a weighted mean of gradients": lambda grads, counts: (
                grads.sum(axis=0)
            ),
            "divide by the number of examples, not of parts": lambda grads, counts: (
                np.tensordot(counts, grads, axes=1) / len(grads)
            ),
        },
    ),
}
