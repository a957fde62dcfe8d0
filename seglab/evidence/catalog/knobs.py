"""One knob at a time, each at its best rate, to find what pays.

All begin at the recipe's U-Net of width 8, and change one thing. What the recipe has
was not tuned, so that a knob has something to gain; how much depends on where one
starts.
"""

from __future__ import annotations

from typing import Any

from seglab.evidence.catalog.recipe import METRICS, TOLERANCE, scores, train
from seglab.evidence.catalog.rules import better, better_at_best
from seglab.evidence.experiment import Experiment, Value

KNOBS: dict[str, dict[str, Any]] = {
    "none": {},
    "small weights": {"initializer": "small"},
    "momentum": {"optimizer": "momentum"},
    "batches of 4": {"batch": 4},
    "augmentation": {"augment": True},
    "kernels of 5": {"kernel": 5},
    "three levels": {"depth": 3},
    "no normalization": {"norm": False},
}
MORE_KNOBS: dict[str, dict[str, Any]] = {  # with more time
    "rmsprop": {"optimizer": "rmsprop"},
    "batches of 64": {"batch": 64},
    "kernels of 1": {"kernel": 1},
    "one level": {"depth": 1},
    "half the channels": {"width": 4},
    "twice the channels": {"width": 16},
    "dice": {"loss": "dice"},
}
RATES = (0.003, 0.01, 0.03)
RATES_OF_MOMENTUM = (0.03, 0.1, 0.3)
SETTLES = {
    "Q6a": ("small weights",),
    "Q6b": ("momentum", "batches of 4"),
    "Q6c": ("augmentation",),
    "Q6d": ("kernels of 5", "three levels"),
}


def measure(data: str, knob: str, rate: float, *, seed: int) -> dict[str, Value]:
    """Train with one knob turned, and score the network."""
    return scores(train(data, rate, seed, **{**KNOBS, **MORE_KNOBS}[knob]))


def skip(data: str, knob: str, rate: float) -> bool:
    """Give momentum its own rates, which are higher."""
    return rate not in (RATES_OF_MOMENTUM if knob == "momentum" else RATES)


EXPERIMENT = Experiment(
    name="knobs",
    question="Which knob pays?",
    measure=measure,
    factors={
        "data": ("cells", "digits"),
        "knob": tuple(KNOBS),
        "rate": tuple(sorted({*RATES, *RATES_OF_MOMENTUM})),
    },
    metrics=METRICS,
    skip=skip,
    rules=(
        *(
            better(
                *("rate", rate, other),
                f"A rate of {rate} is better than {other}.",
                by=0.02,
                settles="Q6a",
                knob="none",
            )
            for rate, other in ((0.003, 0.03), (0.03, 0.003))
        ),
        *(
            better_at_best(
                *("knob", knob, "none"),
                f"Changing to {knob} helps.",
                settles=statement,
            )
            for statement, knobs in SETTLES.items()
            for knob in knobs
        ),
        better_at_best(
            *("knob", "none", "no normalization"),
            "Leaving normalization out harms.",
            settles="Q6c",
        ),
    ),
    tolerance=TOLERANCE,
    full={"knob": (*KNOBS, *MORE_KNOBS), "seed": range(20)},
)
