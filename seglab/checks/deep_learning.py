"""Exercises of the page `1-background/deep-learning`."""

from collections.abc import Iterator

import numpy as np

from seglab.checks.exercise import Exercise


def _pixels(rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    """Intensity and local mean, away from the line between yes and no."""
    yield 0.5, 0.3
    yield 0.5, 0.45
    yield 0.3, 0.5
    for intensity, mean in rng.random((40, 2)):
        if abs(intensity - mean - 0.1) > 1e-3:
            yield float(intensity), float(mean)


EXERCISES = {
    "ex-deep-learning-brighter": Exercise(
        solution=lambda intensity, mean: bool(intensity - mean > 0.1),
        cases=_pixels,
        wrong={
            "more than by 0.1, not by any amount": lambda intensity, mean: (
                intensity > mean
            ),
            "mind the sign of the 0.1": lambda intensity, mean: (
                intensity - mean + 0.1 > 0
            ),
            "that is a score; give True or False": lambda intensity, mean: (
                intensity - mean - 0.1
            ),
        },
    ),
    "ex-deep-learning-softmax": Exercise(
        solution=lambda s0, s1: s1 - s0,
        cases=lambda rng: [
            (0.0, 1.0),
            (1.0, 0.0),
            *map(tuple, rng.normal(size=(9, 2))),
        ],
        wrong={
            "that is the difference the other way round": lambda s0, s1: s0 - s1,
            "the score of the other class counts too": lambda s0, s1: s1,
        },
    ),
}
