"""Losses, each at its best rate: for all classes, and for the rarest.

Those of regions (Dice, Tversky, Lovasz) and those of pixels (cross-entropy, focal, the
squared error of the probabilities) are measured by what is wanted, the IoU, not by
their own values, which do not compare.
"""

from __future__ import annotations

from seglab.evidence.catalog.recipe import METRICS, TOLERANCE, scores, train
from seglab.evidence.catalog.rules import better_at_best
from seglab.evidence.experiment import Experiment, Value

NARROW, WIDE = 4, 16
FOR_RARE = {
    "weighted": "Weighting the classes raises",
    "focal": "The focal loss raises",
    "dice": "Dice raises",
    "tversky": "Tversky, misses counting more than twice as much, raises",
    "lovasz": "Lovasz raises",
    "ce+dice": "Adding Dice raises",
}


def measure(
    data: str, loss: str, rate: float, width: int, *, seed: int
) -> dict[str, Value]:
    """Train with a loss and a rate, and score the network."""
    return scores(train(data, rate, seed, loss=loss, width=width))


EXPERIMENT = Experiment(
    name="losses",
    question="Which loss?",
    measure=measure,
    factors={
        "data": ("cells", "digits"),
        "loss": ("cross-entropy", "mse", *FOR_RARE),
        "rate": (0.001, 0.003, 0.01, 0.03),
        "width": (NARROW, WIDE),
    },
    metrics=METRICS,
    rules=(
        better_at_best(
            *("loss", "cross-entropy", "mse"),
            "Cross-entropy is better than the squared error.",
            settles="Q9a",
        ),
        better_at_best(
            *("loss", "mse", "cross-entropy"),
            "The squared error is better than cross-entropy for a narrow network.",
            settles="Q9b",
            width=NARROW,
        ),
        better_at_best(
            *("loss", "cross-entropy", "mse"),
            "Cross-entropy is better than the squared error for a wide network.",
            settles="Q9b",
            width=WIDE,
        ),
        better_at_best(
            *("loss", "mse", "cross-entropy"),
            "The squared error is faster than cross-entropy: its mean IoU is higher on "
            "the average over all epochs.",
            metric="speed",
            by=0.02,
            settles="Q9d",
        ),
        *(
            better_at_best(
                *("loss", loss, "cross-entropy"),
                f"{words} the IoU of the rarest class over that of cross-entropy.",
                metric="rarest_iou",
                by=0.02,
            )
            for loss, words in FOR_RARE.items()
        ),
    ),
    tolerance=TOLERANCE,
)
