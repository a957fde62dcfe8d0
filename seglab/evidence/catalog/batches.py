"""Batch sizes, each at every learning rate, with equally many epochs.

So a batch that is twice as large takes half as many steps. There are more training
images than elsewhere and fewer epochs, so that a batch of 128 still takes four steps an
epoch. Each optimizer has rates about its usual one, thirtyfold apart from end to end.
"""

from __future__ import annotations

from seglab.evidence.catalog.recipe import METRICS, TOLERANCE, scores, train
from seglab.evidence.catalog.rules import better, better_at_best
from seglab.evidence.experiment import Experiment, Value

COUNT, EPOCHS_EACH = 512, 6
NAMES = {"adam": "Adam", "momentum": "gradient descent with momentum"}
RATES = {
    "momentum": (0.01, 0.03, 0.1, 0.3),
    "adam": (0.003, 0.01, 0.03, 0.1),
}


def measure(
    data: str, optimizer: str, batch: int, rate: float, *, seed: int
) -> dict[str, Value]:
    """Train in batches of a size, and score the network."""
    found = train(
        *(data, rate, seed),
        optimizer=optimizer,
        batch=batch,
        count=COUNT,
        epochs=EPOCHS_EACH,
    )
    return scores(found)


def skip(data: str, optimizer: str, batch: int, rate: float) -> bool:
    """Give each optimizer its rates."""
    return rate not in RATES[optimizer]


EXPERIMENT = Experiment(
    name="batches",
    question="How large a batch?",
    measure=measure,
    factors={
        "data": ("cells", "digits"),
        "optimizer": ("momentum", "adam"),
        "batch": (8, 32, 128),
        "rate": (0.003, 0.01, 0.03, 0.1, 0.3),
    },
    metrics=METRICS,
    skip=skip,
    rules=(
        better_at_best(
            *("batch", 128, 32),
            "Batches of 128 are better than of 32, at equal epochs.",
            settles="Q11b",
        ),
        better_at_best(
            *("batch", 128, 32),
            "Batches of 128 learn faster than of 32: the mean IoU is higher on the "
            "average over equally many epochs.",
            metric="speed",
            by=0.02,
            settles="Q11b",
        ),
        *(
            better(
                *("batch", 128, 8),
                f"At a small rate of {name}, batches of 128 are better than of 8.",
                by=0.02,
                settles="Q11d",
                optimizer=optimizer,
                rate=min(RATES[optimizer]),
            )
            for optimizer, name in NAMES.items()
        ),
        *(
            better(
                *("batch", 8, 128),
                f"At a large rate of {name}, batches of 8 are better than of 128.",
                by=0.02,
                settles="Q11d",
                optimizer=optimizer,
                rate=max(RATES[optimizer]),
            )
            for optimizer, name in NAMES.items()
        ),
    ),
    tolerance=TOLERANCE,
    full={"batch": (2, 8, 32, 128, 256), "seed": range(20)},
)
