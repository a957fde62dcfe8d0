"""Count a batch of labels: seglab's confusion matrix beside those of its peers.

Eight label maps of 256 x 256 with 21 classes, the numbers of Pascal VOC, 30 % of the
pixels wrong. Every contestant gets the arrays in the type that it likes, and must come
to the same matrix, or the same true positives, or the same IoU.
"""

from __future__ import annotations

import harness
import keras
import numpy as np
from harness import Goal, Result, Row, Table, interleave, ratio

from seglab import metrics

torch = harness.import_torch()

import segmentation_models_pytorch as smp  # noqa: E402
import torchmetrics.segmentation  # noqa: E402
from sklearn import metrics as sklearn_metrics  # noqa: E402

N, SIDE, C = 8, 256, 21


def main() -> None:
    options = harness.arguments(__doc__ or "")
    rng = np.random.default_rng(0)
    truth = rng.integers(0, C, (N, SIDE, SIDE), np.int64)
    wrong = rng.random(truth.shape) < 0.3
    predicted = np.where(wrong, rng.integers(0, C, truth.shape), truth)
    torch_truth, torch_predicted = torch.from_numpy(truth), torch.from_numpy(predicted)
    matrix = np.bincount((C * truth + predicted).ravel(), minlength=C * C).reshape(C, C)

    keras_metric = keras.metrics.MeanIoU(C)
    jaccard = torchmetrics.JaccardIndex("multiclass", num_classes=C)
    segmentation = torchmetrics.segmentation.MeanIoU(C, input_format="index")
    own_metric = metrics.MeanIoU(C)
    contestants = {
        "seglab confusion_matrix": lambda: metrics.confusion_matrix(
            truth, predicted, C
        ),
        "bare NumPy bincount": lambda: np.bincount(
            (C * truth + predicted).ravel(), minlength=C * C
        ),
        "seglab MeanIoU, a Keras metric": lambda: own_metric.update_state(
            truth, predicted
        ),
        "Keras MeanIoU": lambda: keras_metric.update_state(truth, predicted),
        "torchmetrics JaccardIndex": lambda: jaccard.update(
            torch_predicted, torch_truth
        ),
        "torchmetrics segmentation.MeanIoU": lambda: segmentation.update(
            torch_predicted, torch_truth
        ),
        "SMP get_stats": lambda: smp.metrics.get_stats(
            torch_predicted, torch_truth, mode="multiclass", num_classes=C
        ),
        "scikit-learn confusion_matrix": lambda: sklearn_metrics.confusion_matrix(
            truth.ravel(), predicted.ravel(), labels=range(C)
        ),
    }

    # The same work: every one's own result is that of the bincount.
    seglab, _, _, _, _, _, stats, sklearn = (run() for run in contestants.values())
    np.testing.assert_array_equal(seglab, matrix)
    np.testing.assert_array_equal(sklearn, matrix)
    np.testing.assert_array_equal(stats[0].sum(dim=0), np.diag(matrix))
    expected = metrics.mean_iou(matrix)
    for result in (own_metric.result(), keras_metric.result(), jaccard.compute()):
        np.testing.assert_allclose(float(result), expected, rtol=1e-5)

    seconds = interleave(
        contestants, 3 if options.quick else 25, at_least=0.0 if options.quick else 0.1
    )
    ours = seconds["seglab confusion_matrix"]
    Result(
        "metric_update",
        [
            Table(
                f"One update: {N} label maps of {SIDE} × {SIDE}, {C} classes",
                [Row(name, times) for name, times in seconds.items()],
                "seglab confusion_matrix",
            )
        ],
        [
            Goal(
                "confusion matrix over a bare bincount",
                ratio(ours, seconds["bare NumPy bincount"]),
                1.3,
            ),
            Goal(
                "Keras MeanIoU over the confusion matrix",
                ratio(seconds["Keras MeanIoU"], ours),
                5,
                at_most=False,
            ),
        ],
        quick=options.quick,
    ).save()


if __name__ == "__main__":
    main()
