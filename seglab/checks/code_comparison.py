"""Exercises of the page `4-code/comparison`."""

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from seglab.checks.exercise import Exercise


def exact_interval(
    d: ArrayLike, middle: float = 0.95, drawn: int | None = None
) -> tuple[float, float]:
    """Give the bootstrap's interval of a mean from all draws, each once."""
    values = np.asarray(d, np.float64)
    draws = product(values, repeat=len(values) if drawn is None else drawn)
    means = np.mean(list(draws), axis=1)
    low, high = np.quantile(means, [(1 - middle) / 2, (1 + middle) / 2])
    return float(low), float(high)


def quantiles(d: ArrayLike) -> tuple[float, float]:
    """Take the differences for the means."""
    low, high = np.quantile(np.asarray(d, np.float64), [0.025, 0.975])
    return float(low), float(high)


def normal(d: ArrayLike) -> tuple[float, float]:
    """Go two standard errors to both sides."""
    values = np.asarray(d, np.float64)
    half = 1.96 * values.std(ddof=1) / np.sqrt(values.size)
    return float(values.mean() - half), float(values.mean() + half)


def interval_cases(rng: np.random.Generator) -> Iterator[tuple[list[float]]]:
    """Give two, equal, then more differences."""
    yield ([0.0, 1.0],)
    yield ([0.25, 0.25, 0.25],)
    yield ([0.02, 0.04, 0.01, 0.04, 0.03],)
    for n in (3, 4, 5):
        yield ([round(float(d), 2) for d in rng.normal(0.05, 0.1, size=n)],)


EXERCISES = {
    # mean of A minus B; pairs of one training of each in which B is better
    "ex-code-comparison-pairs": Exercise(
        solution=(0.028, 10),
        wrong={
            "that is A's best against B's best": (0.04, 10),
            "that is B minus A": (-0.028, 10),
            "that counts pairs from the same seed; take each A with each B": (0.028, 0),
            "that counts the pairs in which A is better": (0.028, 15),
        },
    ),
    "ex-code-comparison-interval": Exercise(
        solution=exact_interval,
        cases=interval_cases,
        wrong={
            "those are quantiles of the differences, not of their means": quantiles,
            "that assumes a normal distribution; list the draws": normal,
            "that holds the middle 90 %": lambda d: exact_interval(d, 0.9),
            "draw as many as there are": lambda d: exact_interval(d, drawn=2),
        },
    ),
}
