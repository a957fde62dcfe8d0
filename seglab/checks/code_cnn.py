"""Exercises of the page `4-code/cnn`."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from seglab.checks.exercise import Exercise


def _smallest(kernels: Sequence[int]) -> int:
    side = 1
    for kernel in reversed(kernels):
        side = 2 * side + kernel - 1
    return side


def _kernel_cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    yield from (((1,),), ((3,),), ((3, 3),), ((5, 3),), ((3, 3, 3),))
    yield ((4, 5, 4, 4),)
    yield ((1, 2, 7),)


def _iou_of(r0: float, r1: float, q: float) -> float:
    return q * r1 / (q + (1 - q) * (1 - r0))


def _share_cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    yield from ((1.0, 1.0, 0.5), (0.9, 0.9, 0.5), (1.0, 0.5, 0.1), (0.5, 1.0, 0.1))
    for _ in range(4):
        yield tuple(float(share) for share in rng.uniform(0.05, 0.95, 3))


EXERCISES = {
    # weights of the first dense layer and of the whole network, for 256 x 256
    "ex-code-cnn-larger": Exercise(
        solution=(14_745_728, 14_839_234),
        tolerance=1e-9,
        wrong=(
            (11_075_712, 11_169_218),  # of the listing as it is
            (14_745_600, 14_839_106),  # without the first dense layer's biases
            (16_777_344, 16_870_850),  # as if padding were "same"
            (14_745_728, 14_745_986),  # without the convolutions
        ),
    ),
    "ex-code-cnn-smallest": Exercise(
        solution=_smallest,
        cases=_kernel_cases,
        wrong=(
            lambda kernels: _smallest(kernels[::-1]),  # from the first layer on
            lambda kernels: _smallest([k + 1 for k in kernels]),
            lambda kernels: 2 ** len(kernels),  # poolings alone
            lambda kernels: 1 + sum(k - 1 for k in kernels),  # no poolings
            lambda kernels: _smallest(kernels) | 1,  # the next odd side
        ),
    ),
    "ex-code-cnn-rare": Exercise(
        solution=_iou_of,
        cases=_share_cases,
        wrong=(
            lambda r0, r1, q: r1,  # the recall
            lambda r0, r1, q: _iou_of(r0, r1, 0.5),  # as if balanced
            lambda r0, r1, q: _iou_of(r1, r0, q),
            lambda r0, r1, q: q * r1 + (1 - q) * r0,  # pixel accuracy
            lambda r0, r1, q: q * r1 / (q * r1 + (1 - q) * (1 - r0)),  # precision
        ),
    ),
}
