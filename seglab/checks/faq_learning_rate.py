"""Exercises of the page `6-faq/learning-rate`."""

from collections.abc import Iterator, Sequence

import numpy as np

from seglab.checks.exercise import Exercise


def adam_steps(
    gradients: Sequence[float],
    rate: float,
    *,
    corrected: bool = True,
    root: bool = True,
    sign: int = -1,
) -> list[float]:
    """Give the changes of a weight that Adam makes for one gradient after another."""
    m = v = 0.0
    changes = []
    for t, g in enumerate(gradients, start=1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        mean = m / (1 - 0.9**t) if corrected else m
        square = v / (1 - 0.999**t) if corrected else v
        changes.append(sign * rate * mean / (square**0.5 if root else square))
    return changes


def adam_cases(rng: np.random.Generator) -> Iterator[tuple[list[float], float]]:
    """Give one gradient, equal ones, then changing ones."""
    yield [2.0], 0.1
    yield [100.0, 100.0, 100.0], 0.01
    yield [1.0, -1.0, 1.0, -1.0], 0.5
    yield [round(float(g), 2) for g in rng.normal(1, 2, size=5)], 0.001


EXERCISES = {
    # the rate at which 25 w ** 2 blows up; the factor of a step at 0.03
    "ex-faq-learning-rate-cliff": Exercise(
        solution=(2 / 50, -0.5),
        wrong={
            "the curvature of a w ** 2 is 2 a, not a": (2 / 25, 0.25),
            "the factor is 1 - rate times curvature, and the curvature 50": (
                2 / 50,
                0.25,
            ),
            "one over the curvature lands at the bottom in one step": (1 / 50, -0.5),
            "the sign counts: it lands on the other side": (2 / 50, 0.5),
        },
    ),
    "ex-faq-learning-rate-adam": Exercise(
        solution=adam_steps,
        cases=adam_cases,
        wrong={
            "the means start at 0: divide by 1 - beta ** t": lambda g, rate: adam_steps(
                g, rate, corrected=False
            ),
            "divide by the root of the mean square": lambda g, rate: adam_steps(
                g, rate, root=False
            ),
            "downhill is against the gradient": lambda g, rate: adam_steps(
                g, rate, sign=1
            ),
            "that is gradient descent": lambda g, rate: [-rate * x for x in g],
        },
    ),
}
