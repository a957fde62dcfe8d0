"""Exercises of the page `6-faq/choosing-a-model`."""

from collections.abc import Iterator, Sequence

import numpy as np

from seglab.checks.exercise import Exercise


def best_iou(shares: Sequence[float]) -> float:
    """Give the highest IoU of one label for each block, from shares of object."""
    largest = np.sort(np.asarray(shares, np.float64))[::-1]
    inside, outside = np.cumsum(largest), np.cumsum(1 - largest)
    return float(np.max(inside / (largest.sum() + outside)))


def iou_above(shares: Sequence[float], cut: float) -> float:
    """Give the IoU of the blocks whose share is above a cut."""
    values = np.asarray(shares, np.float64)
    chosen = values > cut
    return float(values[chosen].sum() / (values.sum() + (1 - values)[chosen].sum()))


def best_precision(shares: Sequence[float]) -> float:
    """Forget the object that lies in blocks that are not chosen."""
    largest = np.sort(np.asarray(shares, np.float64))[::-1]
    return float(np.max(np.cumsum(largest) / np.arange(1, len(largest) + 1)))


def in_order(shares: Sequence[float]) -> float:
    """Take the blocks in the order in which they come."""
    values = np.asarray(shares, np.float64)
    inside, outside = np.cumsum(values), np.cumsum(1 - values)
    return float(np.max(inside / (values.sum() + outside)))


def share_cases(rng: np.random.Generator) -> Iterator[tuple[list[float]]]:
    """Give one block, a thin line, then more."""
    yield ([0.25],)
    yield ([0.0, 0.45, 0.45, 0.0],)
    yield ([0.1, 1.0, 0.6, 0.0, 0.4],)
    yield ([round(float(r), 2) for r in rng.random(12)],)


EXERCISES = {
    # highest IoU of a vessel of 3 pixels in blocks of 8; field for a ship of 20
    "ex-faq-choosing-a-model-ruler": Exercise(
        solution=(3 / 8, 39),
        wrong={
            "the vessel is the smaller of the two, and no IoU is above 1": (8 / 3, 39),
            "to call nothing a vessel has an IoU of 0: one column is called it": (
                0.0,
                39,
            ),
            "the union is the whole block, not the block without the vessel": (
                3 / 5,
                39,
            ),
            "a field reaches equally far to both sides of its pixel": (3 / 8, 20),
            "the pixel at the end is a part of the ship": (3 / 8, 41),
            "the field has a pixel in its center": (3 / 8, 40),
        },
    ),
    "ex-faq-choosing-a-model-blocks": Exercise(
        solution=best_iou,
        cases=share_cases,
        wrong={
            "the majority of a block has the most right pixels, not the best IoU": (
                lambda shares: iou_above(shares, 0.5)
            ),
            "blocks with a little object cost more than they bring": lambda shares: (
                iou_above(shares, 0.0)
            ),
            "the union holds the object of the blocks that are not chosen, too": (
                best_precision
            ),
            "the blocks with the largest shares come first": in_order,
        },
    ),
}
