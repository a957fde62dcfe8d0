"""Exercises of the page `6-faq/optimizers`."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from seglab.checks.exercise import Exercise

Arm = Mapping[float, Sequence[tuple[float, float]]]
"""Of each rate, a validation and a test score for each seed."""


def tuned_gap(
    more: Arm, less: Arm, *, choose: int = 0, compare: int = 1, lucky: bool = False
) -> float:
    """Give the gap of test scores, each arm at its best rate by validation scores."""
    found = []
    for arm in (more, less):
        scores = {rate: np.array(pairs) for rate, pairs in arm.items()}
        of_rate = {
            rate: pairs[:, choose].max() if lucky else pairs[:, choose].mean()
            for rate, pairs in scores.items()
        }
        rate = max(of_rate, key=lambda r: of_rate[r])
        found.append(float(scores[rate][:, compare].mean()))
    return found[0] - found[1]


def at_one_rate(more: Arm, less: Arm) -> float:
    """Compare the arms at the rate that suits the first one."""
    rate = max(more, key=lambda r: np.mean(more[r], axis=0)[0])
    if rate not in less:
        return float("nan")
    return float(np.mean(more[rate], axis=0)[1] - np.mean(less[rate], axis=0)[1])


def arms(rng: np.random.Generator) -> Iterator[tuple[Arm, Arm]]:
    """Give one rate, then rates that differ, luck, and test scores that mislead."""
    yield {0.1: [(0.75, 0.5)]}, {0.1: [(0.5, 0.25)]}
    yield (
        {0.01: [(0.8, 0.7), (0.8, 0.8)], 1.0: [(0.3, 0.2), (0.4, 0.3)]},
        {0.01: [(0.2, 0.1), (0.3, 0.2)], 1.0: [(0.7, 0.6), (0.8, 0.7)]},
    )
    yield (
        {0.01: [(0.9, 0.9), (0.1, 0.4)], 0.1: [(0.6, 0.5), (0.7, 0.6)]},
        {0.01: [(0.5, 0.4), (0.5, 0.5)], 0.1: [(0.4, 0.7), (0.5, 0.9)]},
    )
    one, other = (
        {
            rate: [(float(v), float(t)) for v, t in rng.uniform(size=(3, 2)).round(2)]
            for rate in (0.001, 0.01, 0.1)
        }
        for _ in range(2)
    )
    yield one, other


EXERCISES = {
    # megabytes of weights, gradient and slots: gradient descent, RMSprop, Adam
    "ex-faq-optimizers-memory": Exercise(
        solution=(80, 120, 160),
        wrong={
            "the gradient is another number for each weight": (40, 80, 120),
            "Adam keeps two means, one of gradients and one of squares": (80, 120, 120),
            "the question is about bytes, four for each number": (20, 30, 40),
            "these are the slots alone": (0, 40, 80),
        },
    ),
    "ex-faq-optimizers-tuned": Exercise(
        solution=tuned_gap,
        cases=arms,
        wrong={
            "choose the rate by the validation score, the first of a pair": (
                lambda more, less: tuned_gap(more, less, choose=1)
            ),
            "compare by the test score, the second of a pair": (
                lambda more, less: tuned_gap(more, less, compare=0)
            ),
            "choose by the mean over the seeds, not by the luckiest seed": (
                lambda more, less: tuned_gap(more, less, lucky=True)
            ),
            "each has a best rate of its own": at_one_rate,
            "the first minus the second": lambda more, less: tuned_gap(less, more),
        },
    ),
}
