"""What the last layer does, with the loss that belongs to it.

Cross-entropy is that of a softmax; sigmoid asks for each class whether it is this one;
mse is the squared error of the softmax, and linear and relu that of the plain output
and of its positive part, whose answers should be 1 for the right class and else 0.
"""

from __future__ import annotations

from seglab.evidence.catalog.recipe import METRICS, TOLERANCE, scores, train
from seglab.evidence.catalog.rules import better_at_best
from seglab.evidence.experiment import Experiment, Value


def measure(data: str, output: str, rate: float, *, seed: int) -> dict[str, Value]:
    """Train with an output and its loss, and score the network."""
    return scores(train(data, rate, seed, loss=output))


EXPERIMENT = Experiment(
    name="outputs",
    question="Which activation for the last layer?",
    measure=measure,
    factors={
        "data": ("cells", "digits"),
        "output": ("cross-entropy", "sigmoid", "mse", "linear", "relu"),
        "rate": (0.001, 0.003, 0.01, 0.03),
    },
    metrics=METRICS,
    rules=(
        *(
            better_at_best(
                *("output", output, "relu"),
                f"For classes, {name} at the end is better than a ReLU.",
                settles="Q10a",
            )
            for output, name in (
                ("cross-entropy", "a softmax"),
                ("sigmoid", "a sigmoid"),
            )
        ),
        better_at_best(
            *("output", "cross-entropy", "sigmoid"),
            "For classes that exclude each other, a softmax is better than sigmoids.",
            settles="Q10a",
        ),
    ),
    tolerance=TOLERANCE,
)
