"""First weights: none, small, large, and scaled to the layer, without normalization.

Batch normalization undoes the scale of what comes before it, and so most of what the
first weights decide; the deep network is trained with it too. All convolutions begin
alike, the last one included.
"""

from __future__ import annotations

from seglab.evidence.catalog.recipe import METRICS, TOLERANCE, scores, train
from seglab.evidence.catalog.rules import better_at_best
from seglab.evidence.experiment import Experiment, Value

SHALLOW, DEEP = 1, 3
RATES = {"sgd": (0.03, 0.1, 0.3), "adam": (0.001, 0.003, 0.01)}
NAMES = {"he": "He's", "glorot": "Glorot's"}


def measure(
    data: str,
    initializer: str,
    optimizer: str,
    rate: float,
    depth: int,
    norm: bool,
    *,
    seed: int,
) -> dict[str, Value]:
    """Train from first weights of a kind, and score the network."""
    found = train(
        *(data, rate, seed),
        initializer=initializer,
        optimizer=optimizer,
        depth=depth,
        norm=norm,
    )
    return scores(found)


def skip(
    data: str, initializer: str, optimizer: str, rate: float, depth: int, norm: bool
) -> bool:
    """Give each optimizer its rates, and normalize Adam's deep network alone.

    From weights that are all 0 the hidden layers never move, and large ones are there
    as a warning: one rate shows it. What gradient descent and normalization change is
    asked of He's and of small weights.
    """
    if rate not in RATES[optimizer]:
        return True
    if initializer in ("zeros", "large") and rate != RATES[optimizer][1]:
        return True
    if initializer not in ("he", "small") and optimizer == "sgd":
        return True
    return norm and (
        depth == SHALLOW or optimizer == "sgd" or initializer not in ("he", "small")
    )


EXPERIMENT = Experiment(
    name="initializers",
    question="Which first weights?",
    measure=measure,
    factors={
        "data": ("cells", "digits"),
        "initializer": ("zeros", "small", "glorot", "he", "large"),
        "optimizer": ("sgd", "adam"),
        "rate": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
        "depth": (SHALLOW, DEEP),
        "norm": (False, True),
    },
    metrics=METRICS,
    skip=skip,
    rules=(
        *(
            better_at_best(
                *("initializer", initializer, "small"),
                f"{name} weights are better than small ones.",
                settles="Q13a",
                norm=False,
                optimizer="adam",  # that has both
            )
            for initializer, name in NAMES.items()
        ),
        better_at_best(
            *("initializer", "small", "he"),
            "Small weights are better than He's in a shallow network.",
            settles="Q13b",
            depth=SHALLOW,
            norm=False,
        ),
        better_at_best(
            *("initializer", "he", "small"),
            "He's weights are better than small ones in a deep network.",
            settles="Q13b",
            depth=DEEP,
            norm=False,
        ),
        better_at_best(
            *("initializer", "he", "small"),
            "He's weights are better than small ones with Adam.",
            settles="Q13c",
            optimizer="adam",
            norm=False,
        ),
        better_at_best(
            *("initializer", "small", "he"),
            "Small weights are better than He's with gradient descent.",
            settles="Q13c",
            optimizer="sgd",
            norm=False,
        ),
        better_at_best(
            *("initializer", "he", "small"),
            "He's weights are faster than small ones: the mean IoU is higher on the "
            "average over all epochs.",
            metric="speed",
            by=0.02,
            settles="Q13d",
            norm=False,
        ),
        better_at_best(
            *("initializer", "he", "small"),
            "He's weights are better than small ones also where batch normalization "
            "follows.",
            norm=True,
        ),
    ),
    tolerance=TOLERANCE,
    full={"seed": range(20)},
)
