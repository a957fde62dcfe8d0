"""How well do two label maps agree? One confusion matrix, and what follows from it.

Count once with `confusion_matrix`, over as many images as there are; every overlap
metric of the field is then arithmetic on that matrix. Rows are the truth.

Examples
--------
>>> from seglab.metrics import confusion_matrix, iou
>>> matrix = confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], num_classes=2)
>>> matrix.tolist()
[[1, 1], [0, 2]]
>>> iou(matrix).round(3).tolist()
[0.5, 0.667]
"""

from seglab.metrics.overlap import (
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

__all__ = [
    "confusion_matrix",
    "dice",
    "f1",
    "fw_iou",
    "iou",
    "mean_accuracy",
    "mean_iou",
    "pixel_accuracy",
    "precision",
    "recall",
]
