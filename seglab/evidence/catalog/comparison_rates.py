"""The learning rate of each network in the comparison, chosen on validation images."""

from __future__ import annotations

from seglab.evidence.catalog import comparison
from seglab.evidence.catalog.comparison import RATES_TRIED, WIDTHS, measure_rate
from seglab.evidence.experiment import Experiment


def skip(model: str, data: str, rate: float) -> bool:
    """Leave out what the comparison leaves out."""
    return comparison.skip(model, data, "epochs")


EXPERIMENT = Experiment(
    name="comparison-rates",
    question="At which learning rate does each network of the comparison do best?",
    measure=measure_rate,
    factors={
        "model": tuple(WIDTHS),
        "data": ("cells", "digits"),
        "rate": RATES_TRIED,
    },
    metrics={
        "mean_iou": "mean over the classes of the data set's IoU, validation images",
        "train_seconds": "processor seconds in training steps",
    },
    skip=skip,
    seeds=(100,),
    tolerance={"mean_iou": 0.05},
)
