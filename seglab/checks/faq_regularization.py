"""Exercises of the page `6-faq/regularization`."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from seglab.checks.exercise import Exercise

Array = NDArray[np.float64]


def threshold(w: Array, limit: float) -> Array:
    """Take `limit` from the size of each number; smaller ones become 0."""
    return np.sign(w) * np.maximum(np.abs(w) - limit, 0)


def shrink(w: Array, gradient: Array, rate: float, strength: float) -> Array:
    """Step down the gradient of the loss, then apply the soft threshold."""
    return threshold(w - rate * gradient, rate * strength)


def hard(w: Array, gradient: Array, rate: float, strength: float) -> Array:
    """Cut off what is small, and leave the rest as long as it is."""
    moved = w - rate * gradient
    return np.where(np.abs(moved) > rate * strength, moved, 0.0)


def shrink_cases(
    rng: np.random.Generator,
) -> Iterator[tuple[Array, Array, float, float]]:
    """Give no gradient, then one weight of each kind, then many."""
    yield np.array([1.0, -1.0, 0.01]), np.zeros(3), 0.1, 0.5
    yield np.array([0.3, -0.3]), np.array([2.0, -2.0]), 0.1, 1.0
    yield np.array([0.0, 0.0]), np.array([-0.5, 3.0]), 0.2, 1.0
    w, gradient = rng.normal(size=(2, 3, 4)).round(2)
    yield w, gradient, 0.5, 0.8


EXERCISES = {
    # 2 (w - 0.5) ** 2 with w ** 2, with abs(w), and the strength that makes it 0
    "ex-faq-regularization-weight": Exercise(
        solution=(1 / 3, 0.25, 2.0),
        wrong={
            "the derivative of w ** 2 is 2 w": (0.4, 0.25, 2.0),
            "the curvature of a w ** 2 is 2 a, not a": (0.25, 0.0, 1.0),
            "what L1 takes away is the strength over the curvature": (1 / 3, 0.0, 0.5),
            "L1 takes away an amount, not a share": (1 / 3, 0.4, 2.0),
        },
    ),
    "ex-faq-regularization-shrink": Exercise(
        solution=shrink,
        cases=shrink_cases,
        wrong={
            "the threshold is the rate times the strength": (
                lambda w, g, rate, s: threshold(w - rate * g, s)
            ),
            "that is the step of a gradient, which does not land on 0": (
                lambda w, g, rate, s: w - rate * (g + s * np.sign(w))
            ),
            "what is kept gets shorter too": hard,
            "first the step, then the threshold": (
                lambda w, g, rate, s: threshold(w, rate * s) - rate * g
            ),
            "that is L2: a share of each weight": (
                lambda w, g, rate, s: (w - rate * g) * (1 - 2 * rate * s)
            ),
            "the sign is lost": (
                lambda w, g, rate, s: np.maximum(np.abs(w - rate * g) - rate * s, 0)
            ),
            "downhill is against the gradient": (
                lambda w, g, rate, s: threshold(w + rate * g, rate * s)
            ),
        },
    ),
}
