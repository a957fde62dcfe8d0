"""Exercises of the page `3-algorithms/fcn`."""

from collections.abc import Iterator

import numpy as np

from seglab.checks.exercise import Exercise


def crop(stride: int, pad: int) -> float:
    """Give the row of the enlarged scores where the image begins.

    The first unit of fc6 has its center at 112.5 - pad: 1 - pad from conv1_1, half a
    jump from each of five poolings, 96 from fc6. Each enlargement by 2 moves the first
    unit out by 1.5 of the new strides, and the last one puts it at stride - 0.5.
    """
    center = 112.5 - pad - {32: 0, 16: 24, 8: 36}[stride]
    return stride - 0.5 - center


def crop_cases(rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Give the published crops first, then other paddings."""
    yield from ((stride, 100) for stride in (32, 16, 8))
    yield from ((stride, 81) for stride in (32, 16, 8))
    for pad in rng.integers(82, 200, size=6):
        yield int(rng.choice((32, 16, 8))), int(pad)


def borders(m0: float, m1: float, f: int) -> tuple[float, float]:
    """Give where a straight line between margins, and between sigmoids, crosses."""
    p0, p1 = 1 / (1 + np.exp(-m0)), 1 / (1 + np.exp(-m1))
    return f * m0 / (m0 - m1), float(f * (p0 - 0.5) / (p0 - p1))


def borders_cases(rng: np.random.Generator) -> Iterator[tuple[float, float, int]]:
    """One that is symmetric, the page's, and others."""
    yield 2.0, -2.0, 8
    yield 9.0, -1.0, 8
    for _ in range(8):
        sure, other = rng.uniform(0.1, 8, size=2)
        yield (
            round(float(sure), 2),
            -round(float(other), 2),
            int(2 ** rng.integers(1, 6)),
        )


EXERCISES = {
    # rows, columns, numbers of fc6, width of the tent
    "ex-fcn-count": Exercise(
        solution=(7, 11, 102_764_544, 16),
        wrong={
            "round up at each halving": (6, 10, 102_764_544, 16),
            "the biases are missing": (7, 11, 102_760_448, 16),
            "that is the stride; the tent reaches a stride to both sides": (
                7,
                11,
                102_764_544,
                8,
            ),
        },
    ),
    "ex-fcn-crop": Exercise(
        solution=crop,
        cases=crop_cases,
        wrong={
            "the padding moves the image too": lambda stride, pad: {
                32: 19,
                16: 27,
                8: 31,
            }[stride],
            "each enlargement by 2 moves the first score out": lambda stride, pad: (
                pad - 81
            ),
        },
    ),
    "ex-fcn-order": Exercise(
        solution=borders,
        cases=borders_cases,
        wrong={
            "the crossing depends on how sure the two scores are": lambda m0, m1, f: (
                f / 2,
                f / 2,
            ),
            "the probabilities are not the margins: they bend": lambda m0, m1, f: (
                f * m0 / (m0 - m1),
                f * m0 / (m0 - m1),
            ),
        },
    ),
}
