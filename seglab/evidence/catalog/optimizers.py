"""Optimizers, each at every learning rate, for a narrow and a wide network.

A rule on two optimizers gives each of them, in each setting, the rate that did best on
validation images. A rule on two rates compares them for one optimizer.
"""

from __future__ import annotations

from seglab.evidence.catalog.recipe import METRICS, TOLERANCE, scores, train
from seglab.evidence.catalog.rules import better, better_at_best
from seglab.evidence.experiment import Experiment, Value

RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
NARROW, WIDE = 4, 16
NAMES = {"adam": "Adam", "sgd": "Gradient descent"}


def measure(
    data: str, optimizer: str, rate: float, width: int, *, seed: int
) -> dict[str, Value]:
    """Train with an optimizer and a rate, and score the network."""
    return scores(train(data, rate, seed, optimizer=optimizer, width=width))


EXPERIMENT = Experiment(
    name="optimizers",
    question="Which optimizer, and at which learning rate?",
    measure=measure,
    factors={
        "data": ("cells", "digits"),
        "optimizer": ("sgd", "momentum", "rmsprop", "adam"),
        "rate": RATES,
        "width": (NARROW, WIDE),
    },
    metrics=METRICS,
    rules=(
        better_at_best(
            *("optimizer", "sgd", "adam"),
            "For a narrow network, gradient descent is better than Adam.",
            settles="Q8a",
            width=NARROW,
        ),
        *(
            better_at_best(
                *("optimizer", optimizer, "sgd"),
                f"For a wide network, {name} is better than gradient descent.",
                settles="Q8a",
                width=WIDE,
            )
            for optimizer, name in (("adam", "Adam"), ("rmsprop", "RMSprop"))
        ),
        better_at_best(
            *("optimizer", "adam", "momentum"),
            "Adam is better than gradient descent with momentum.",
            settles="Q8a",
        ),
        *(
            better_at_best(
                *("optimizer", "adam", optimizer),
                f"Adam is faster than {name}: its mean IoU is higher on the average "
                "over all epochs.",
                metric="speed",
                by=0.02,
                settles="Q8c",
            )
            for optimizer, name in (
                ("sgd", "gradient descent"),
                ("momentum", "gradient descent with momentum"),
            )
        ),
        better_at_best(
            *("optimizer", "adam", "sgd"),
            "Adam is less stable than gradient descent: it loses more from one epoch "
            "to the next.",
            metric="wobble",
            by=0.005,
            settles="Q8d",
        ),
        better(
            *("rate", 0.1, 0.01),
            "Adam is better at a rate of 0.1 than at 0.01.",
            by=0.02,
            settles="Q12c",
            optimizer="adam",
        ),
        better(
            *("rate", 0.01, 0.1),
            "Gradient descent is better at a rate of 0.01 than at 0.1.",
            by=0.02,
            settles="Q12c",
            optimizer="sgd",
        ),
        *(
            better(
                *("rate", 0.1, 0.01),
                f"{name} is better at a rate of 0.1 than at 0.01 on the hard task.",
                by=0.02,
                settles="Q12a",
                data="digits",
                optimizer=optimizer,
            )
            for optimizer, name in NAMES.items()
        ),
        *(
            better(
                *("rate", 0.01, 0.1),
                f"{name} is better at a rate of 0.01 than at 0.1 on the easy task.",
                by=0.02,
                settles="Q12a",
                data="cells",
                optimizer=optimizer,
            )
            for optimizer, name in NAMES.items()
        ),
        *(
            better(
                *("rate", 0.1, 0.01),
                f"{name} is better at a rate of 0.1 than at 0.01 for a wide network.",
                by=0.02,
                settles="Q12b",
                width=WIDE,
                optimizer=optimizer,
            )
            for optimizer, name in NAMES.items()
        ),
        *(
            better(
                *("rate", 0.01, 0.1),
                f"{name} is better at a rate of 0.01 than at 0.1 for a narrow network.",
                by=0.02,
                settles="Q12b",
                width=NARROW,
                optimizer=optimizer,
            )
            for optimizer, name in NAMES.items()
        ),
        *(
            better(
                *("rate", 0.1, 0.01),
                f"{name} is faster at a rate of 0.1 than at 0.01.",
                metric="speed",
                by=0.02,
                settles="Q12d",
                optimizer=optimizer,
            )
            for optimizer, name in NAMES.items()
        ),
    ),
    tolerance=TOLERANCE,
    full={"width": (NARROW, WIDE, 64), "seed": range(20)},
)
