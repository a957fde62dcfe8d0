"""Which loss finds a rare class of real images, each at its best rate.

*road*: potholes, fewer than one pixel in fifty, with cracks beside them. The images and
the training are those of `seglab.evidence.catalog.carry_over`: 96 images of 48 x 48
pixels, the same for all seeds, so an interval says nothing about other images. They are
the windows at the bottom of a larger view. In them the class with the fewest pixels is
the strip beside the lane, so the class that counts is *named*, and the IoU of every
class is kept. At full scale, *nuclei* too, with the rim of each nucleus.
"""

from __future__ import annotations

from seglab.evidence.catalog.carry_over import train
from seglab.evidence.catalog.knobs import RATES
from seglab.evidence.catalog.losses import CE, FOR_RARE
from seglab.evidence.catalog.recipe import METRICS, TOLERANCE, confusion, scores
from seglab.evidence.catalog.rules import better_at_best
from seglab.evidence.experiment import Experiment, Value

RARE = {"nuclei": "boundary", "road": "pothole"}
ALSO_RARE = "crack"  # of a road


def measure(data: str, loss: str, rate: float, *, seed: int) -> dict[str, Value]:
    """Train with a loss, and score the network class by class."""
    from seglab import metrics

    found = train(data, rate, seed, loss=loss)
    scored = scores(found)  # it leaves the weights of the best epoch in the network
    classes = found.dataset.classes
    iou = metrics.iou(confusion(found.model, found.dataset.test))
    of = dict(zip(classes, iou.tolist(), strict=True))
    rare = of.pop(RARE[data])
    return {
        **scored,
        "rare_iou": rare,
        "crack_iou": of.get(ALSO_RARE, float("nan")),
        "others_iou": sum(of.values()) / len(of),
        "class_iou": iou.tolist(),
    }


EXPERIMENT = Experiment(
    name="rare-classes",
    question="Which loss finds a rare class of real images?",
    measure=measure,
    factors={"data": ("road",), "loss": (CE, *FOR_RARE), "rate": RATES},
    metrics={
        **METRICS,
        "rare_iou": "test IoU of the rim (nuclei) or of potholes (road), best epoch",
        "crack_iou": "the same of cracks (road), else no number",
        "others_iou": "mean test IoU of the classes but that of rare_iou, best epoch",
        "class_iou": "test IoU of each class, best epoch",
    },
    rules=(
        *(
            better_at_best(
                *("loss", loss, CE),
                f"{raises} the IoU of a rare class of real images.",
                metric="rare_iou",
                by=0.02,
            )
            for loss, raises in FOR_RARE.items()
        ),
        *(
            better_at_best(
                *("loss", loss, CE),
                f"{raises} the IoU of cracks.",
                metric="crack_iou",
                by=0.02,
                data="road",
            )
            for loss, raises in FOR_RARE.items()
        ),
        *(
            better_at_best(
                *("loss", CE, loss),
                f"The other classes have more with {CE} than with {loss}.",
                metric="others_iou",
            )
            for loss in FOR_RARE
        ),
    ),
    tolerance=TOLERANCE,
    full={"data": tuple(RARE), "seed": range(20)},
)
