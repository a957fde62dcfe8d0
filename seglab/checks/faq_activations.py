"""Exercises of the page `6-faq/activations`."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from seglab.checks.exercise import Exercise


def dead_share(maps: NDArray[np.float64]) -> float:
    """Give the share of channels of maps (N, H, W, D) that are 0 everywhere."""
    return float((maps.max(axis=(0, 1, 2)) == 0).mean())


def dead_cases(rng: np.random.Generator) -> Iterator[tuple[NDArray[np.float64]]]:
    """Give one image, then several: channels off on all, on some, at some pixels."""
    yield (np.array([[[[0.0, 1.0], [0.0, 0.0]]]]),)
    yield (np.array([[[[0.0, 1.0, 0.0]]], [[[2.0, 0.0, 0.0]]]]),)
    maps = rng.normal(size=(3, 4, 5, 6)).clip(min=0)
    maps[..., 1] = maps[..., 4] = 0
    maps[0, ..., 2] = 0
    yield (maps,)
    yield (maps[1:, :2, :3, :5],)


SIGMOID = 1 / (1 + math.exp(-1.5))

EXERCISES = {
    # softmax of the scores 2 and 0.5; slopes of five sigmoids; error of a ReLU
    "ex-faq-activations-ends": Exercise(
        solution=(SIGMOID, 0.25**5, 0.25 / 3),
        wrong={
            "a softmax sees the difference of the scores, not one of them": (
                1 / (1 + math.exp(-2)),
                1 / 20,
                0.25,
            ),
            "slopes multiply, they do not add": (SIGMOID, 5 / 4, 0.25 / 3),
            "the slope of a sigmoid is largest at 0, and it is not one half there": (
                SIGMOID,
                0.5**5,
                0.25 / 3,
            ),
            "the mean is over all three answers": (SIGMOID, 0.25**5, 0.25),
            "square the errors": (SIGMOID, 0.25**5, 0.5 / 3),
            "that is the probability of the other class": (
                1 - SIGMOID,
                0.25**5,
                0.25 / 3,
            ),
        },
    ),
    "ex-faq-activations-dead": Exercise(
        solution=dead_share,
        cases=dead_cases,
        wrong={
            "that is the share of zeros, not of channels": lambda maps: float(
                (maps == 0).mean()
            ),
            "off on one image is not dead: look at all of them": lambda maps: float(
                (maps.max(axis=(1, 2)) == 0).any(axis=0).mean()
            ),
            "a channel counts as often as there are images: look at all of them "
            "together": lambda maps: float((maps.max(axis=(1, 2)) == 0).mean()),
            "a channel that is 0 at some pixel works at others": lambda maps: float(
                (maps.min(axis=(0, 1, 2)) == 0).mean()
            ),
            "a share, not a number of channels": lambda maps: int(
                (maps.max(axis=(0, 1, 2)) == 0).sum()
            ),
            "that is the share of those alive": lambda maps: float(
                (maps.max(axis=(0, 1, 2)) > 0).mean()
            ),
        },
    ),
}
