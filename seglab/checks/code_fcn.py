"""Exercises of the page `4-code/fcn`."""

from collections.abc import Iterator

import numpy as np

from seglab.checks.exercise import Exercise


def listing_side(side: int) -> int:
    """Follow a side through the printed listing, up to its Flatten.

    c: a 3x3 convolution without padding, p: a pooling, u: an enlargement by 2.
    """
    for layer in "cpcpcpucucucu":
        side = {"c": side - 2, "p": side // 2, "u": 2 * side}[layer]
    return side


def dense_bytes(side: int, units: int = 128) -> int:
    """Give the bytes that the listing's first dense layer holds, in float32."""
    return 4 * units * (32 * listing_side(side) ** 2 + 1)


def bytes_cases(rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Give a small image, where biases count, then the listing's and larger ones."""
    yield from ((32, 1), (32, 128), (224, 128), (512, 128))
    for side in rng.integers(33, 400, size=4):
        yield int(side), int(rng.integers(2, 64))


EXERCISES = {
    # rows and columns of 100 x 76: from the mended listing, from the printed one
    "ex-code-fcn-sides": Exercise(
        solution=(96, 72, 132, 84),
        wrong={
            "poolings round down, and enlarging does not undo that": (
                100,
                76,
                132,
                84,
            ),
            "poolings round down": (104, 80, 132, 84),
            "the printed listing enlarges four times": (96, 72, 66, 42),
        },
    ),
    "ex-code-fcn-bytes": Exercise(
        solution=dense_bytes,
        cases=bytes_cases,
        wrong={
            "the biases are missing": lambda side, units: (
                4 * units * 32 * listing_side(side) ** 2
            ),
            "that is a count; a float32 takes four bytes": lambda side, units: (
                units * (32 * listing_side(side) ** 2 + 1)
            ),
            "the printed convolutions do not pad": lambda side, units: (
                4 * units * (32 * (2 * side) ** 2 + 1)
            ),
            "the map has 32 channels": lambda side, units: (
                4 * units * (listing_side(side) ** 2 + 1)
            ),
        },
    ),
}
