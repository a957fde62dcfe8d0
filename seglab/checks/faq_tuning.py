"""Exercises of the page `6-faq/tuning`."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from seglab.checks.exercise import Exercise


def trials(p: float, sure: float, whole: Callable[[float], int] = math.ceil) -> int:
    """Give how many random trials hit a share p at least once, as surely as asked."""
    if p >= 1:
        return 1
    n = math.log(1 - sure) / math.log(1 - p)
    return max(1, whole(n - 1e-9))  # a hair less: rounding errors add no trial


def settings(rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    """Give an even chance, rare ones, one that needs rounding up, and a certain one."""
    yield 0.5, 0.75
    yield 0.05, 0.95
    yield 0.1, 0.5
    yield 0.9, 0.5
    yield 1.0, 0.99
    p, sure = rng.uniform(0.01, 0.3, size=2).round(3)
    yield float(p), float(sure)


LEAD = 2 * 0.03 / math.sqrt(math.pi)

EXERCISES = {
    # mean lead of the better of two equal trainings; seeds for a gain of 0.02
    "ex-faq-tuning-luck": Exercise(
        solution=(LEAD, 18),
        tolerance=0.001,
        wrong={
            "that is how far the better one is above the mean; the other is below it": (
                LEAD / 2,
                18,
            ),
            "two differ by more than one scatters: the formula for two": (0.03, 18),
            "the ratio is squared": (LEAD, 12),
            "divide the scatter by the gain": (LEAD, 4),
            "two arms scatter, and the gain is to be twice that": (LEAD, 3),
        },
    ),
    "ex-faq-tuning-trials": Exercise(
        solution=trials,
        cases=settings,
        wrong={
            "round up: fewer trials are not sure enough": (
                lambda p, sure: trials(p, sure, math.floor)
            ),
            "chances do not add up: use the chance that all trials miss": (
                lambda p, sure: math.ceil(sure / p - 1e-9)
            ),
            "one over p is how many trials a hit takes on average": (
                lambda p, sure: math.ceil(1 / p - 1e-9)
            ),
            "all trials are to miss with at most 1 - sure": (
                lambda p, sure: (
                    max(1, math.ceil(math.log(sure) / math.log(1 - p) - 1e-9))
                    if p < 1
                    else 1
                )
            ),
        },
    ),
}
