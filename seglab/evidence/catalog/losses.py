"""Losses and last layers, each at its best rate: for all classes, and for the rarest.

Those of regions (Dice, Tversky, Lovasz) and those of pixels (cross-entropy, focal,
squared errors) are measured by what is wanted, the IoU, not by their own values, which
do not compare. A loss and a last layer belong together: cross-entropy is that of a
softmax; sigmoid asks for each class whether it is this one; mse is the squared error of
the softmax, and relu that of the output's positive part, which should be 1 for the
right class and else 0.

The rates are those among which Adam's best one was, with cross-entropy, in
`seglab.evidence.catalog.optimizers`. The narrow and the wide network are for the two
losses that the tutorial compares.
"""

from __future__ import annotations

from seglab.evidence.catalog.recipe import METRICS, TOLERANCE, scores, train
from seglab.evidence.catalog.rules import better_at_best
from seglab.evidence.experiment import Experiment, Value

NARROW, MIDDLE, WIDE = 4, 8, 16
CE, MSE = "cross-entropy", "mse"
FOR_RARE = {
    "weighted": "Weighting the classes raises",
    "focal": "The focal loss raises",
    "dice": "Dice raises",
    "tversky": "Tversky, misses counting more than twice as much, raises",
    "lovasz": "Lovasz raises",
    "ce+dice": "Adding Dice raises",
}
LAST_LAYERS = ("sigmoid", "relu")


def measure(
    data: str, loss: str, rate: float, width: int, *, seed: int
) -> dict[str, Value]:
    """Train with a loss and a rate, and score the network."""
    return scores(train(data, rate, seed, loss=loss, width=width))


def skip(data: str, loss: str, rate: float, width: int) -> bool:
    """Vary the width for cross-entropy and the squared error alone."""
    return width != MIDDLE and loss not in (CE, MSE)


EXPERIMENT = Experiment(
    name="losses",
    question="Which loss, and which activation for the last layer?",
    measure=measure,
    factors={
        "data": ("cells", "digits"),
        "loss": (CE, MSE, *FOR_RARE, *LAST_LAYERS),
        "rate": (0.003, 0.01, 0.03),
        "width": (NARROW, MIDDLE, WIDE),
    },
    metrics=METRICS,
    skip=skip,
    rules=(
        better_at_best(
            *("loss", CE, MSE),
            "Cross-entropy is better than the squared error.",
            settles="Q9a",
        ),
        better_at_best(
            *("loss", MSE, CE),
            "The squared error is better than cross-entropy for a narrow network.",
            settles="Q9b",
            width=NARROW,
        ),
        better_at_best(
            *("loss", CE, MSE),
            "Cross-entropy is better than the squared error for a wide network.",
            settles="Q9b",
            width=WIDE,
        ),
        better_at_best(
            *("loss", MSE, CE),
            "The squared error is faster than cross-entropy: its mean IoU is higher on "
            "the average over all epochs.",
            metric="speed",
            by=0.02,
            settles="Q9d",
        ),
        *(
            better_at_best(
                *("loss", loss, CE),
                f"{words} the IoU of the rarest class over that of cross-entropy.",
                metric="rarest_iou",
                by=0.02,
                width=MIDDLE,
            )
            for loss, words in FOR_RARE.items()
        ),
        *(
            better_at_best(
                *("loss", loss, "relu"),
                f"For classes, {name} at the end is better than a ReLU.",
                settles="Q10a",
                width=MIDDLE,
            )
            for loss, name in ((CE, "a softmax"), ("sigmoid", "a sigmoid"))
        ),
        better_at_best(
            *("loss", CE, "sigmoid"),
            "For classes that exclude each other, a softmax is better than sigmoids.",
            settles="Q10a",
            width=MIDDLE,
        ),
    ),
    tolerance=TOLERANCE,
    full={"width": (NARROW, MIDDLE, WIDE, 64), "seed": range(20)},
)
