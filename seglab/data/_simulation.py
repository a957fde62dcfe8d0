"""What the simulators share: argument checks, split sizes, random streams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

SPLIT_NAMES = ("train", "val", "test")


def split_sizes(count: int) -> tuple[int, int, int]:
    """Divide images into 70 % training, 15 % validation and 15 % test, at least one.

    Examples
    --------
    >>> split_sizes(500)
    (350, 75, 75)
    >>> split_sizes(3)
    (1, 1, 1)
    """
    if not _is_int(count) or count < 3:
        raise ValueError(
            f"count is {count!r}; it must be a whole number of at least 3, because "
            "train, val and test each need an image."
        )
    held_out = max(1, (3 * int(count) + 10) // 20)  # 15 %, rounded, without floats
    return int(count) - 2 * held_out, held_out, held_out


def stream(seed: int, split: int, image: int) -> np.random.Generator:
    """Make the random stream of one image.

    It depends on the seed, the split and the image's place alone, so that asking
    for more images leaves the first ones as they were, and no two images of any
    split share their random numbers.

    Source: NumPy's ``SeedSequence`` with a spawn key ("Parallel random number
    generation" in its manual).
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(split, image)))


def check_seed(seed: int) -> int:
    """Accept a whole number from 0."""
    if not _is_int(seed) or seed < 0:
        raise ValueError(f"seed is {seed!r}; it must be a whole number, 0 or more.")
    return int(seed)


def check_size(size: int | Sequence[int], smallest: int) -> tuple[int, int]:
    """Accept a side in pixels, or (height, width); return (height, width)."""
    pair: Sequence[Any] = (size, size) if _is_int(size) else _as_pair(size)
    if len(pair) != 2 or not all(_is_int(side) for side in pair):
        raise ValueError(
            f"size is {size!r}; it must be a side in pixels, or (height, width)."
        )
    if min(pair) < smallest:
        raise ValueError(
            f"size is {size!r}; each side must be at least {smallest} pixels."
        )
    return int(pair[0]), int(pair[1])


def check_unit(value: object, name: str) -> float:
    """Accept a number from 0 to 1; NaN is none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} is {value!r}; it must be a number from 0 to 1.")
    if not 0 <= float(value) <= 1:
        raise ValueError(f"{name} is {value!r}; it must lie between 0 and 1.")
    return float(value)


def check_positive(value: object, name: str) -> float:
    """Accept a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} is {value!r}; it must be a number above 0.")
    if not (math.isfinite(value) and float(value) > 0):
        raise ValueError(f"{name} is {value!r}; it must be finite and above 0.")
    return float(value)


def check_range(value: int | Sequence[int], name: str) -> tuple[int, int]:
    """Accept a whole number, or (fewest, most); return (fewest, most)."""
    pair: Sequence[Any] = (value, value) if _is_int(value) else _as_pair(value)
    if (
        len(pair) != 2
        or not all(_is_int(side) for side in pair)
        or not 0 <= pair[0] <= pair[1]
    ):
        raise ValueError(
            f"{name} is {value!r}; it must be a whole number from 0, or "
            "(fewest, most) with fewest not above most."
        )
    return int(pair[0]), int(pair[1])


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _as_pair(value: object) -> Sequence[Any]:
    return value if isinstance(value, (tuple, list)) else ()
