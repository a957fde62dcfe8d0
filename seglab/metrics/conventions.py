"""What libraries mean by "mean IoU": their rules, applied to the same counts.

The same label maps get a different mean IoU from each library, and none is wrong: they
answer different questions. Three choices make the difference.

* **Where the mean over images is taken**: before the division (one matrix for the data
  set) or after it (every image has its own IoU).
* **What a class that is absent counts**: nothing, 0, or 1; and whether "absent" means
  absent from the truth, or from truth and prediction.
* **In what order** classes and images are averaged, when some are left out.

Every function takes a stack with one confusion matrix for each image, rows = truth, as
``confusion_matrix(..., per_image=True)`` gives, and computes what the named version of
the library gives for multi-class label maps. They are for understanding other people's
numbers: report `seglab.metrics.mean_iou` of the summed matrix, which is the rule of
mmsegmentation, scikit-learn, Keras and torchmetrics' ``JaccardIndex``.

The rules were read in the libraries' code, and are tested against the libraries
themselves in ``tests/peers``.

Examples
--------
Two images of 4 x 4 pixels. The first is all foreground, and one pixel is missed; the
second has one pixel of foreground, which is missed too:

>>> import numpy as np
>>> matrices = np.array([[[0, 0], [1, 15]], [[15, 0], [1, 0]]])
>>> for name, rule in RULES.items():
...     print(f"{rule(matrices):.3f}  {name}")
0.882  Keras 3.15.1, MeanIoU
0.882  torchmetrics 1.9.0, JaccardIndex, macro
0.469  torchmetrics 1.9.0, segmentation.MeanIoU
0.882  segmentation-models-pytorch 0.6.0, iou_score, micro
0.882  segmentation-models-pytorch 0.6.0, iou_score, macro
0.469  segmentation-models-pytorch 0.6.0, iou_score, macro-imagewise
0.703  MONAI 1.6.1, MeanIoU, mean
0.882  mmsegmentation 1.2.2, mIoU
0.469  nnU-Net 2.8.1, IoU, foreground mean
0.882  scikit-learn 1.9.1, jaccard_score, macro
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from seglab.metrics.images import check_stack, imagewise
from seglab.metrics.overlap import iou, mean_iou, nan_mean, recall


def keras_mean_iou(matrices: ArrayLike) -> float:
    """Keras: one matrix for all images; a class that is nowhere is left out.

    The same rule as `seglab.metrics.mean_iou`, but 0 where no pixel was counted. Labels
    that are no class are dropped without a word, in truth and in prediction.

    Parameters
    ----------
    matrices : array, shape (N, C, C)
        One confusion matrix for each image.

    Returns
    -------
    float

    Source
    ------
    Keras 3.15.1, ``keras/src/metrics/iou_metrics.py``, ``IoU.result``. It adds 1e-7 to
    denominators, which is left out here.

    Examples
    --------
    >>> keras_mean_iou([[[3, 1, 0], [0, 4, 0], [0, 0, 0]]])
    0.775
    """
    value = float(mean_iou(check_stack(matrices).sum(axis=0)))
    return 0.0 if math.isnan(value) else value


def pooled_mean_iou(matrices: ArrayLike) -> float:
    """``JaccardIndex`` of torchmetrics, mmsegmentation, scikit-learn: as Keras.

    * ``torchmetrics.JaccardIndex(task="multiclass")`` with "macro", its default. With
      ``average="none"`` the same metric shows an absent class as 0, and leaves it out
      of the mean all the same. With ``task="binary"`` it is the IoU of class 1 alone.
    * mmsegmentation's mIoU, which it prints in percent with two digits.
    * ``sklearn.metrics.jaccard_score(average="macro")`` of all pixels in one list:
      which classes there are, it learns from the labels.

    Parameters
    ----------
    matrices : array, shape (N, C, C)
        One confusion matrix for each image.

    Returns
    -------
    float
        NaN where no pixel was counted.

    Source
    ------
    torchmetrics 1.9.0, ``functional/classification/jaccard.py``,
    ``_jaccard_index_reduce``; mmsegmentation 1.2.2,
    ``mmseg/evaluation/metrics/iou_metric.py``, ``IoUMetric``; scikit-learn 1.9.1,
    ``sklearn/metrics/_classification.py``, ``jaccard_score``.

    Examples
    --------
    >>> pooled_mean_iou([[[3, 1, 0], [0, 4, 0], [0, 0, 0]]])
    0.775
    """
    return float(mean_iou(check_stack(matrices).sum(axis=0)))


def torchmetrics_mean_iou(matrices: ArrayLike) -> float:
    """``torchmetrics.segmentation.MeanIoU``: one mean over all (image, class) pairs.

    Pairs whose class is in neither truth nor prediction of the image are left out. An
    image with more classes weighs more. The *function* ``mean_iou`` of the same
    library gives one mean for each image instead.

    Parameters
    ----------
    matrices : array, shape (N, C, C)
        One confusion matrix for each image.

    Returns
    -------
    float
        NaN where no pixel was counted.

    Source
    ------
    torchmetrics 1.9.0, ``segmentation/mean_iou.py``, ``update`` and ``compute``.

    Examples
    --------
    >>> torchmetrics_mean_iou([[[3, 1], [0, 4]], [[8, 0], [0, 0]]])
    0.85
    """
    return float(nan_mean(iou(check_stack(matrices)).ravel()))


def smp_iou(matrices: ArrayLike, reduction: str = "macro") -> float:
    """segmentation-models-pytorch: an absent class has IoU 1, and is not left out.

    A perfect score for each class that is nowhere: with many rare classes, image by
    image, most of the mean may be that.

    Parameters
    ----------
    matrices : array, shape (N, C, C)
        One confusion matrix for each image.
    reduction : {"macro", "micro", "macro-imagewise", "micro-imagewise"}
        "micro" adds up the counts of all classes before it divides; with all classes
        included, that is a/(2 - a) of the pixel accuracy a. "-imagewise" takes each
        image alone, then the mean.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        When the reduction is not one of these.

    Notes
    -----
    With ``zero_division=1.0``, the default of ``iou_score``. Not with class weights:
    that version divides by their sum, and then by C.

    Source
    ------
    segmentation-models-pytorch 0.6.0, ``metrics/functional.py``, ``_compute_metric``.

    Examples
    --------
    >>> perfect = [[[3, 0, 0], [0, 4, 0], [0, 0, 0]]]
    >>> half = [[[3, 3, 0], [0, 0, 0], [0, 0, 0]]]
    >>> smp_iou(perfect), smp_iou(half), pooled_mean_iou(half)
    (1.0, 0.5, 0.25)
    """
    if reduction not in ("macro", "micro", "macro-imagewise", "micro-imagewise"):
        raise ValueError(
            f"reduction is {reduction!r}; use 'macro', 'micro', 'macro-imagewise' or "
            "'micro-imagewise'."
        )
    stack = check_stack(matrices)
    if not reduction.endswith("-imagewise"):
        stack = stack.sum(axis=0, keepdims=True)  # as if it were one image
    if reduction.startswith("macro"):
        values = iou(stack)  # (N, C)
    else:
        hit = np.trace(stack, axis1=-2, axis2=-1)  # (N,) right pixels
        # A wrong pixel counts twice: it misses one class, and is invented in another.
        wrong = stack.sum(axis=(-2, -1)) - hit
        with np.errstate(invalid="ignore"):
            values = hit / (hit + 2 * wrong)  # (N,)
    if reduction == "micro":
        return float(values[0])  # the one case in which 0/0 stays NaN
    return float(np.where(np.isnan(values), 1.0, values).mean())


def monai_iou(matrices: ArrayLike, reduction: str = "mean") -> Any:
    """MONAI: IoU of each class in each image that *has* the class; then means.

    A class that is predicted where the truth has none costs nothing there: with
    ``ignore_empty=True``, the default, only the truth decides what is left out.

    Parameters
    ----------
    matrices : array, shape (N, C, C)
        One confusion matrix for each image.
    reduction : {"mean", "mean_batch"}
        "mean": over the classes of each image, then over images. "mean_batch": over
        the images of each class.

    Returns
    -------
    float, or ndarray of float64, shape (C,) for "mean_batch"
        0 where there is nothing to average.

    Raises
    ------
    ValueError
        When the reduction is neither.

    Source
    ------
    MONAI 1.6.1, ``metrics/meaniou.py``, ``compute_iou``, and ``metrics/utils.py``,
    ``do_metric_reduction``.

    Examples
    --------
    Half of the second image is taken for a class that is not there:

    >>> matrices = [[[4, 0], [0, 4]], [[4, 4], [0, 0]]]
    >>> monai_iou(matrices), monai_iou(matrices, "mean_batch").tolist()
    (0.75, [0.75, 1.0])
    """
    stack = check_stack(matrices)
    values = np.where(np.isnan(recall(stack)), np.nan, iou(stack))  # (N, C)
    if reduction == "mean":
        return float(np.nan_to_num(nan_mean(nan_mean(values))))
    if reduction == "mean_batch":
        return np.nan_to_num(nan_mean(values.T))
    raise ValueError(f"reduction is {reduction!r}; use 'mean' or 'mean_batch'.")


def nnunet_iou(matrices: ArrayLike) -> float:
    """nnU-Net's "foreground mean": images first, then classes, class 0 left out.

    Of each class, the mean over the images that have it in truth or prediction; then
    the plain mean over classes, which is NaN if one of them is in no image. (Its
    headline number is the Dice coefficient, by the same rule.)

    Parameters
    ----------
    matrices : array, shape (N, C, C)
        One confusion matrix for each image.

    Returns
    -------
    float

    Source
    ------
    nnU-Net 2.8.1, ``nnunetv2/evaluation/evaluate_predictions.py``,
    ``compute_metrics`` and ``compute_metrics_on_folder``.

    Examples
    --------
    >>> nnunet_iou([[[3, 1], [0, 4]], [[8, 0], [0, 0]]])
    0.8
    """
    classes = np.asarray(imagewise(iou, matrices))[1:]
    return float(classes.mean()) if classes.size else math.nan


def _smp(reduction: str) -> Callable[[ArrayLike], float]:
    return lambda matrices: smp_iou(matrices, reduction)


RULES: dict[str, Callable[[ArrayLike], float]] = {
    "Keras 3.15.1, MeanIoU": keras_mean_iou,
    "torchmetrics 1.9.0, JaccardIndex, macro": pooled_mean_iou,
    "torchmetrics 1.9.0, segmentation.MeanIoU": torchmetrics_mean_iou,
    "segmentation-models-pytorch 0.6.0, iou_score, micro": _smp("micro"),
    "segmentation-models-pytorch 0.6.0, iou_score, macro": _smp("macro"),
    "segmentation-models-pytorch 0.6.0, iou_score, macro-imagewise": _smp(
        "macro-imagewise"
    ),
    "MONAI 1.6.1, MeanIoU, mean": monai_iou,
    "mmsegmentation 1.2.2, mIoU": pooled_mean_iou,
    "nnU-Net 2.8.1, IoU, foreground mean": nnunet_iou,
    "scikit-learn 1.9.1, jaccard_score, macro": pooled_mean_iou,
}
"""Each rule by the library, its version and its metric: what a table of them shows."""
