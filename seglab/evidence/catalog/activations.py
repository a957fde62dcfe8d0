"""Hidden layers' activations, each at its best rate, in shallow and deep networks.

Without batch normalization, which would hide most of what they do; the deep network of
the two that the tutorial compares is trained with it too. The shallow network pools
once, the deep one three times.
"""

from __future__ import annotations

from typing import Any

from seglab.evidence.catalog.recipe import METRICS, TOLERANCE, Training, scores, train
from seglab.evidence.catalog.rules import better_at_best
from seglab.evidence.experiment import Experiment, Value

SHALLOW, DEEP = 1, 3


def measure(
    data: str, activation: str, rate: float, depth: int, norm: bool, *, seed: int
) -> dict[str, Value]:
    """Train with an activation, and score the network."""
    found = train(data, rate, seed, activation=activation, depth=depth, norm=norm)
    return {"dead": dead(found), **scores(found)}


def dead(found: Training) -> float:
    """Give the share of hidden channels that are 0 on all validation images."""
    import keras
    import numpy as np

    hidden: list[Any] = [
        layer.output
        for layer in found.model.layers
        if isinstance(layer, keras.layers.Activation)
    ]
    values = keras.Model(found.model.input, hidden)(found.dataset.val.images)
    silent = [
        np.abs(keras.ops.convert_to_numpy(x)).max(axis=(0, 1, 2)) == 0 for x in values
    ]
    return float(np.concatenate(silent).mean())


def skip(data: str, activation: str, rate: float, depth: int, norm: bool) -> bool:
    """Normalize the deep network alone, and only with ReLU and sigmoid."""
    return norm and (depth == SHALLOW or activation not in ("relu", "sigmoid"))


EXPERIMENT = Experiment(
    name="activations",
    question="Which activation for the hidden layers?",
    measure=measure,
    factors={
        "data": ("cells", "digits"),
        "activation": ("relu", "leaky_relu", "tanh", "sigmoid"),
        "rate": (0.001, 0.003, 0.01),
        "depth": (SHALLOW, DEEP),
        "norm": (False, True),
    },
    metrics={
        "dead": "share of hidden channels that are 0 on all validation images, at last",
        **METRICS,
    },
    skip=skip,
    rules=(
        better_at_best(
            *("activation", "relu", "sigmoid"),
            "ReLU is better than the sigmoid in a shallow network.",
            settles="Q10b",
            depth=SHALLOW,
        ),
        better_at_best(
            *("activation", "sigmoid", "relu"),
            "The sigmoid is better than ReLU in a deep network.",
            settles="Q10b",
            depth=DEEP,
        ),
        better_at_best(
            *("activation", "relu", "sigmoid"),
            "ReLU is faster than the sigmoid: its mean IoU is higher on the average "
            "over all epochs.",
            metric="speed",
            by=0.02,
            settles="Q10d",
        ),
        better_at_best(
            *("activation", "relu", "tanh"),
            "ReLU is better than tanh.",
            norm=False,
        ),
        better_at_best(
            *("activation", "leaky_relu", "relu"),
            "A leaky ReLU is better than ReLU.",
            norm=False,
        ),
    ),
    tolerance=TOLERANCE,
    full={
        "activation": ("relu", "leaky_relu", "gelu", "tanh", "sigmoid"),
        "rate": (0.0003, 0.001, 0.003, 0.01, 0.03),
        "seed": range(20),
    },
)
