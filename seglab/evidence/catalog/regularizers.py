"""Remedies for overfitting, on few images and with many epochs.

Two dozen images are trained on until the network knows them. Each remedy is one line of
the table; penalties are tried in three strengths, since theirs is not known beforehand.
The rate is the recipe's for all. The last epoch is scored too, without looking at the
validation images: what early stopping is worth is the difference.
"""

from __future__ import annotations

from typing import Any

from seglab.evidence.catalog.recipe import METRICS, TOLERANCE, scores, train
from seglab.evidence.catalog.rules import better
from seglab.evidence.experiment import Experiment, Value

COUNT, EPOCHS_EACH, BATCH_EACH, RATE = 24, 60, 8, 0.01
NARROW, WIDE = 4, 16
REMEDIES: dict[str, dict[str, Any]] = {
    "none": {},
    "l2 1e-4": {"l2": 1e-4},
    "l2 1e-3": {"l2": 1e-3},
    "l2 1e-2": {"l2": 1e-2},
    "l1 1e-5": {"l1": 1e-5},
    "l1 1e-4": {"l1": 1e-4},
    "l1 1e-3": {"l1": 1e-3},
    "dropout": {"dropout": 0.5},
    "augment": {"augment": True},
    "three times the images": {"count": 3 * COUNT},
}
WORDS = {
    "l2 1e-4": "An L2 penalty of 1e-4",
    "l2 1e-3": "An L2 penalty of 1e-3",
    "l1 1e-5": "An L1 penalty of 1e-5",
    "l1 1e-4": "An L1 penalty of 1e-4",
    "dropout": "Dropout of half of the deepest values",
    "augment": "Augmentation",
    "three times the images": "To have three times the images",
}


def measure(data: str, remedy: str, width: int, *, seed: int) -> dict[str, Value]:
    """Train with a remedy, for equally many steps, and score the network."""
    options = {"count": COUNT, **REMEDIES[remedy]}
    epochs = EPOCHS_EACH * COUNT // options["count"]
    found = train(
        *(data, RATE, seed), width=width, batch=BATCH_EACH, epochs=epochs, **options
    )
    # A curve of equally many values, whatever the epochs.
    found.curve[1:] = [v for v in found.curve[1:] for _ in range(EPOCHS_EACH // epochs)]
    return scores(found)


EXPERIMENT = Experiment(
    name="regularizers",
    question="What helps against overfitting?",
    measure=measure,
    factors={
        "data": ("cells", "digits"),
        "remedy": tuple(REMEDIES),
        "width": (NARROW, WIDE),
    },
    metrics=METRICS,
    rules=(
        *(
            better(
                *("remedy", remedy, "none"),
                f"{words} raises the IoU of the last epoch.",
                metric="last_iou",
                by=0.02,
                settles={"l": "Q7c", "d": "Q7c", "t": "Q7a"}.get(remedy[0], ""),
            )
            for remedy, words in WORDS.items()
        ),
        better(
            *("remedy", "augment", "l2 1e-3"),
            "Augmentation is worth more than an L2 penalty of 1e-3.",
            metric="last_iou",
            by=0.02,
        ),
        better(
            *("remedy", "l2 1e-4", "l1 1e-5"),
            "A weak L2 penalty is better than a weak L1 penalty.",
            metric="last_iou",
            settles="Q14a",
        ),
        better(
            *("width", NARROW, WIDE),
            "Without a remedy, the narrow network is better in the last epoch than the "
            "wide one.",
            metric="last_iou",
            by=0.02,
            settles="Q7b",
            remedy="none",
        ),
    ),
    tolerance=TOLERANCE,
    full={"width": (NARROW, WIDE, 64), "seed": range(20)},
)
