"""Exercises of the page `3-algorithms/dense`."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglab.checks.exercise import Exercise

SHAPES = ((1, 1, 1), (1, 1, 3), (2, 2, 1), (2, 3, 4), (5, 2, 3))
"""Of a map: rows, columns, channels."""


def _to_kernel(w: NDArray[Any], shape: Any, order: str) -> NDArray[Any]:
    rows, columns, channels = shape
    if order == "last":
        return w.reshape(rows, columns, channels, -1)
    return w.reshape(channels, rows, columns, -1).transpose(1, 2, 0, 3)


def _reshaped_at_once(w: NDArray[Any], shape: Any, order: str) -> NDArray[Any]:
    return w.reshape(*shape, -1)


def _columns_first(w: NDArray[Any], shape: Any, order: str) -> NDArray[Any]:
    rows, columns, channels = shape
    return _to_kernel(w, (columns, rows, channels), order).swapaxes(0, 1)


def _kernel_cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    for shape in SHAPES:
        for units in (1, 2):
            for order in ("last", "first"):
                yield rng.normal(size=(np.prod(shape), units)), shape, order


def _evidence(a: NDArray[Any], w: NDArray[Any], order: str = "last") -> NDArray[Any]:
    kernel = _to_kernel(w, a.shape, order)
    return np.asarray((a[..., None] * kernel).sum(axis=2))


def _evidence_cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    for shape in SHAPES:
        for classes in (1, 3):
            yield rng.normal(size=shape), rng.normal(size=(np.prod(shape), classes))


EXERCISES = {
    # rows before Flatten, parameters of the first dense layer, numbers that come out
    "ex-dense-listing": Exercise(
        solution=(26, 11_075_712, 2),
        tolerance=1e-9,
        wrong={
            "the biases are missing": (26, 11_075_584, 2),
            "the listing's convolutions do not pad": (28, 12_845_184, 2),
            "count what the last layer returns": (26, 11_075_712, 224 * 224 * 2),
        },
    ),
    "ex-dense-kernel": Exercise(
        solution=_to_kernel,
        cases=_kernel_cases,
        wrong={
            "cut the list up in its own order first": _reshaped_at_once,
            "rows come before columns in the list": _columns_first,
            'with order "last" the channels come last': lambda w, shape, order: (
                _to_kernel(w, shape, "first")
            ),
        },
    ),
    "ex-dense-evidence": Exercise(
        solution=_evidence,
        cases=_evidence_cases,
        wrong={
            "channels come last in the list": partial(_evidence, order="first"),
            "the map has places: keep them": lambda a, w: _evidence(a, w).mean(
                axis=(0, 1)
            ),
            "that is the score; the map keeps the places": lambda a, w: _evidence(
                a, w
            ).sum(axis=(0, 1)),
        },
    ),
}
