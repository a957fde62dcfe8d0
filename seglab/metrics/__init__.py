"""How well do two label maps agree? One confusion matrix, and what follows from it.

Count once with `confusion_matrix`, over as many images as there are; every overlap
metric of the field is then arithmetic on that matrix. Rows are the truth. Outlines,
probabilities and objects need other counts, and have modules of their own.

================  ===================================================================
overlap           `confusion_matrix`; `iou`, `dice`, `precision`, ... of a matrix
over images       `imagewise` means; `bootstrap` intervals
boundaries        `hausdorff`, `surface_dice`, `boundary_f1`
probabilities     `reliability`, `expected_calibration_error`
objects           `panoptic_quality`, `dsb2018_score`, `coco_ap`
while training    `MeanIoU`, a Keras metric; only it loads Keras
other libraries   `conventions`: what each of them calls mean IoU
================  ===================================================================

Examples
--------
>>> from seglab.metrics import confusion_matrix, iou
>>> matrix = confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], num_classes=2)
>>> matrix.tolist()
[[1, 1], [0, 2]]
>>> iou(matrix).round(3).tolist()
[0.5, 0.667]
"""

from typing import TYPE_CHECKING, Any

from seglab.metrics import conventions
from seglab.metrics.boundaries import (
    boundary,
    boundary_f1,
    hausdorff,
    image_boundary_f1,
    surface_dice,
    surface_distances,
)
from seglab.metrics.calibration import (
    Reliability,
    expected_calibration_error,
    reliability,
)
from seglab.metrics.images import Interval, bootstrap, bootstrap_interval, imagewise
from seglab.metrics.instances import (
    PanopticQuality,
    coco_ap,
    dsb2018_score,
    panoptic_quality,
)
from seglab.metrics.overlap import (
    cohen_kappa,
    confusion_matrix,
    dice,
    f1,
    fw_iou,
    iou,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
    precision,
    recall,
)

if TYPE_CHECKING:
    from seglab.metrics.streaming import MeanIoU

__all__ = [
    "Interval",
    "MeanIoU",
    "PanopticQuality",
    "Reliability",
    "bootstrap",
    "bootstrap_interval",
    "boundary",
    "boundary_f1",
    "coco_ap",
    "cohen_kappa",
    "confusion_matrix",
    "conventions",
    "dice",
    "dsb2018_score",
    "expected_calibration_error",
    "f1",
    "fw_iou",
    "hausdorff",
    "image_boundary_f1",
    "imagewise",
    "iou",
    "mean_accuracy",
    "mean_iou",
    "panoptic_quality",
    "pixel_accuracy",
    "precision",
    "recall",
    "reliability",
    "surface_dice",
    "surface_distances",
]


def __getattr__(name: str) -> Any:
    """Load the Keras metric, and Keras, on first use (PEP 562)."""
    if name == "MeanIoU":
        from seglab.metrics.streaming import MeanIoU

        return MeanIoU
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the Keras metric too, so that tab completion finds it."""
    return sorted({*globals(), *__all__})
