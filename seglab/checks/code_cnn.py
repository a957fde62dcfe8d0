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
        wrong={
            "that is the listing as it is, for 224 rows": (11_075_712, 11_169_218),
            "the first dense layer has biases too": (14_745_600, 14_839_106),
            "the listing's convolutions do not pad": (16_777_344, 16_870_850),
            "the convolutions have weights too": (14_745_728, 14_745_986),
        },
    ),
    "ex-code-cnn-smallest": Exercise(
        solution=_smallest,
        cases=_kernel_cases,
        wrong={
            "begin at the last layer and go back": lambda kernels: _smallest(
                kernels[::-1]
            ),
            "a kernel of k takes k - 1 pixels, not k": lambda kernels: _smallest(
                [k + 1 for k in kernels]
            ),
            "the convolutions take pixels too": lambda kernels: 2 ** len(kernels),
            "the poolings halve: undo them on the way back": lambda kernels: (
                1 + sum(k - 1 for k in kernels)
            ),
            "the smallest side need not be odd": lambda kernels: _smallest(kernels) | 1,
        },
    ),
    "ex-code-cnn-rare": Exercise(
        solution=_iou_of,
        cases=_share_cases,
        wrong={
            "that is the recall": lambda r0, r1, q: r1,
            "that is for a balanced test set; use the share q": lambda r0, r1, q: (
                _iou_of(r0, r1, 0.5)
            ),
            "the two recalls have changed places": lambda r0, r1, q: _iou_of(r1, r0, q),
            "that is the pixel accuracy": lambda r0, r1, q: q * r1 + (1 - q) * r0,
            "that is the precision": lambda r0, r1, q: (
                q * r1 / (q * r1 + (1 - q) * (1 - r0))
            ),
        },
    ),
}
