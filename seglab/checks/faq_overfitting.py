"""Exercises of the page `6-faq/overfitting`."""

from collections.abc import Iterator, Sequence

import numpy as np

from seglab.checks.exercise import Exercise


def patience_stop(
    curve: Sequence[float],
    patience: int,
    *,
    equal_counts: bool = False,
    last: bool = False,
    early: int = 0,
    restart: bool = True,
) -> tuple[int, int]:
    """Give how many epochs are trained, and the epoch whose weights are kept."""
    best = waited = 0
    for epoch, score in enumerate(curve):
        if epoch and (score > curve[best] or (equal_counts and score == curve[best])):
            best = epoch
            waited = 0 if restart else waited
        elif epoch:
            waited += 1
        if waited >= patience - early:
            return epoch + 1, epoch if last else best
    return len(curve), len(curve) - 1 if last else best


def patience_cases(
    rng: np.random.Generator,
) -> Iterator[tuple[list[float], int]]:
    """Give a curve that only rises, then ones that fall, waver, and stand still."""
    yield [0.1, 0.2, 0.3], 2
    yield [0.5, 0.4, 0.3, 0.9], 2
    yield [0.4, 0.62, 0.71, 0.69, 0.73, 0.7, 0.68, 0.74], 2
    yield [0.3, 0.2, 0.4, 0.3, 0.5, 0.4, 0.6, 0.5], 3
    yield [0.5, 0.5, 0.5, 0.5], 2
    yield [round(float(v), 2) for v in rng.uniform(size=30)], 6


EXERCISES = {
    # where a patience of two stops, what it keeps, and the gap at the end
    "ex-faq-overfitting-read": Exercise(
        solution=(7, 5, 0.23),
        wrong={
            "one epoch that is not better is a patience of one": (4, 3, 0.23),
            "a training that stops does not know what would have come": (8, 8, 0.23),
            "what is kept is the best epoch, not the last one": (7, 7, 0.23),
            "the waiting begins anew at each rise": (6, 5, 0.23),
            "the gap is to the score of the same weights": (7, 5, 0.24),
        },
    ),
    "ex-faq-overfitting-patience": Exercise(
        solution=patience_stop,
        cases=patience_cases,
        wrong={
            "a score that equals the best is no rise": lambda c, p: patience_stop(
                c, p, equal_counts=True
            ),
            "the weights that are kept are those of the best epoch": (
                lambda c, p: patience_stop(c, p, last=True)
            ),
            "that is one epoch less of patience": lambda c, p: patience_stop(
                c, p, early=1
            ),
            "the waiting begins anew at each rise": lambda c, p: patience_stop(
                c, p, restart=False
            ),
            "epochs count from 0, so the number of them is one more": (
                lambda c, p: (patience_stop(c, p)[0] - 1, patience_stop(c, p)[1])
            ),
        },
    ),
}
