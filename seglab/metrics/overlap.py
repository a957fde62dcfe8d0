"""The confusion matrix and the overlap metrics that are arithmetic on it.

Three conventions decide what a metric says, and libraries differ in each of them.
Here:

* **Ignored pixels** are those whose *truth* is the ignore label. What the model
  predicts there is never looked at.
* **A class that is in neither truth nor prediction** has no IoU: NaN, left out of
  the mean. A class that is predicted but not in the truth has IoU 0: an invented
  object must cost something.
* **Over a data set**, counts are summed first and the metric is taken once. Metrics
  of one image each are the same functions applied to a stack of matrices; their mean
  is another number, and has another name: `seglab.metrics.imagewise`.

The metrics take a matrix of shape (C, C), or a stack of shape (..., C, C), and work
on the last two axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def confusion_matrix(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    num_classes: int,
    ignore_index: int | None = None,
    *,
    per_image: bool = False,
) -> NDArray[np.int64]:
    """Count the pixels of each (true class, predicted class) pair.

    Matrices of batches add up, so a data set never has to be in memory: this is
    the one thing to accumulate, and every overlap metric follows from it.

    Parameters
    ----------
    y_true : array of int, any shape
        True labels: 0 to ``num_classes - 1``, or `ignore_index`. Booleans and
        floats without fractions are taken as integers.
    y_pred : array of int, same shape
        Predicted labels, 0 to ``num_classes - 1``. Not scores: take
        ``scores.argmax(axis=-1)`` first.
    num_classes : int
        Number of classes, C.
    ignore_index : int, optional
        Pixels with this *true* label are left out.
    per_image : bool, default False
        Keep the first axis of the labels, (N, ...), and return one matrix for each
        of the N images.

    Returns
    -------
    ndarray of int64, shape (C, C) or (N, C, C)
        Entry ``[i, j]`` counts the pixels of class ``i`` that were labeled ``j``.

    Raises
    ------
    ValueError
        When the shapes differ, or a label is a fraction, negative or too large.

    Notes
    -----
    Each pair (i, j) becomes one number, ``C * i + j``, and one ``bincount`` counts
    them all: as in ``score.py`` of Long, Shelhamer and Darrell's FCN code
    (CVPR 2015).

    Examples
    --------
    >>> truth = [[0, 0, 1], [1, 1, 255]]
    >>> prediction = [[0, 1, 1], [1, 0, 0]]
    >>> confusion_matrix(truth, prediction, 2, ignore_index=255)
    array([[1, 1],
           [1, 2]])
    >>> confusion_matrix(truth, prediction, 2, ignore_index=255, per_image=True)
    array([[[1, 1],
            [0, 1]],
    <BLANKLINE>
           [[0, 0],
            [1, 1]]])
    """
    C = _check_num_classes(num_classes)
    truth, prediction = np.asarray(y_true), np.asarray(y_pred)
    _check_shapes(truth, prediction)
    if per_image and truth.ndim == 0:
        raise ValueError(
            "per_image=True needs labels with a first axis of images, (N, ...); "
            "these are single numbers."
        )
    N = len(truth) if per_image else 1
    P = truth.size // max(N, 1)
    prediction = _whole_numbers(prediction, "y_pred", truth, ignore_index)
    truth = _whole_numbers(truth, "y_true")
    truth, prediction = truth.reshape(N, P), prediction.reshape(N, P)
    counts = np.zeros((N, C * C), np.int64)
    block = max(_BLOCK, C * C)
    for n in range(N):
        for start in range(0, P, block):
            part = slice(start, start + block)
            found = _count_pairs(truth[n, part], prediction[n, part], C, ignore_index)
            if found is None:
                raise _bad_labels(truth, prediction, C, ignore_index)
            counts[n] += found
    return counts.reshape((N, C, C) if per_image else (C, C))


_BLOCK = 2**17
"""Pixels counted at a time: few enough that what is read twice, once to check it and
once to count it, is still in the processor's cache."""


def _count_pairs(
    truth: NDArray[Any],
    prediction: NDArray[Any],
    num_classes: int,
    ignore_index: int | None,
) -> NDArray[np.intp] | None:
    """Count the pairs (true class, predicted class) of pixels that are not ignored.

    Returns C * C counts; None where a label is no class.
    """
    C = num_classes
    ignored = truth == ignore_index if ignore_index is not None else np.False_
    if ignored.any():
        # Any class will do here: these pixels are counted apart, below.
        truth = np.where(ignored, 0, truth)
        if not _are_classes(prediction, C):
            prediction = np.where(ignored, 0, prediction)
    if not (_are_classes(truth, C) and _are_classes(prediction, C)):
        return None
    # As narrow as holds all pairs, and nothing that bincount refuses to count.
    dtype = np.result_type(truth, prediction, np.min_scalar_type(C * C))
    dtype = dtype if np.can_cast(dtype, np.intp) else np.dtype(np.intp)
    pair = np.multiply(truth, C, dtype=dtype, casting="unsafe")
    np.add(pair, prediction, out=pair, casting="unsafe")
    if ignored.any():
        np.putmask(pair, ignored, C * C)
    return np.bincount(pair, minlength=C * C + 1)[:-1]


def _are_classes(labels: NDArray[Any], num_classes: int) -> bool:
    """Whether integers lie from 0 to ``num_classes - 1``, in one pass over them."""
    # Read as an unsigned number, a negative one is larger than any class.
    unsigned = labels.view(labels.dtype.str.replace("i", "u"))
    return bool(unsigned.max() < num_classes)


def iou(matrix: ArrayLike) -> NDArray[np.float64]:
    r"""Intersection over union (Jaccard index) of each class.

    The metric of the field: of all pixels that are the class in truth or in
    prediction, the share that is so in both.

    Parameters
    ----------
    matrix : array, shape (..., C, C)
        Confusion matrices, rows = truth.

    Returns
    -------
    ndarray of float64, shape (..., C)
        :math:`TP / (TP + FP + FN)`; NaN for a class in neither truth nor
        prediction.

    Source
    ------
    Jaccard (1901); for segmentation, Everingham et al., "The Pascal Visual Object
    Classes Challenge", IJCV 88 (2010).

    Examples
    --------
    >>> iou([[6, 2, 0], [1, 3, 0], [0, 0, 0]]).round(3)
    array([0.667, 0.5  ,   nan])
    """
    hit, truth, prediction = _counts(matrix)
    return _divide(hit, truth + prediction - hit)


def dice(matrix: ArrayLike) -> NDArray[np.float64]:
    r"""Dice coefficient of each class, also called F1.

    Twice the intersection over the two sizes added. It ranks predictions of one
    mask exactly as IoU :math:`J` does, by :math:`D = 2J / (1 + J)`, and is always
    the larger number: never compare one with the other.

    Parameters
    ----------
    matrix : array, shape (..., C, C)
        Confusion matrices, rows = truth.

    Returns
    -------
    ndarray of float64, shape (..., C)
        :math:`2\,TP / (2\,TP + FP + FN)`; NaN for a class in neither truth nor
        prediction.

    Source
    ------
    Dice, "Measures of the Amount of Ecologic Association Between Species",
    Ecology 26 (1945).

    Examples
    --------
    >>> dice([[6, 2], [1, 3]]).round(3)
    array([0.8  , 0.667])
    """
    hit, truth, prediction = _counts(matrix)
    return _divide(2 * hit, truth + prediction)


f1 = dice
"""The harmonic mean of precision and recall is the Dice coefficient: one number."""


def precision(matrix: ArrayLike) -> NDArray[np.float64]:
    """Of the pixels that were labeled as a class, the share that are that class.

    Parameters
    ----------
    matrix : array, shape (..., C, C)
        Confusion matrices, rows = truth.

    Returns
    -------
    ndarray of float64, shape (..., C)
        TP / (TP + FP); NaN for a class that was never predicted.

    Examples
    --------
    >>> precision([[6, 2], [1, 3]]).round(3)
    array([0.857, 0.6  ])
    """
    hit, _, prediction = _counts(matrix)
    return _divide(hit, prediction)


def recall(matrix: ArrayLike) -> NDArray[np.float64]:
    """Of the pixels of a class, the share that was found: the class's accuracy.

    Parameters
    ----------
    matrix : array, shape (..., C, C)
        Confusion matrices, rows = truth.

    Returns
    -------
    ndarray of float64, shape (..., C)
        TP / (TP + FN); NaN for a class that is not in the truth.

    Examples
    --------
    >>> recall([[6, 2], [1, 3]]).round(3)
    array([0.75, 0.75])
    """
    hit, truth, _ = _counts(matrix)
    return _divide(hit, truth)


def pixel_accuracy(matrix: ArrayLike) -> Any:
    """Share of all pixels that were labeled correctly.

    Never show it alone: where the background covers 90 % of the pixels, a model
    that finds nothing reaches 0.9.

    Parameters
    ----------
    matrix : array, shape (..., C, C)
        Confusion matrices, rows = truth.

    Returns
    -------
    float, or ndarray of float64 of shape (...)
        NaN where no pixel was counted.

    Examples
    --------
    >>> pixel_accuracy([[90, 0], [10, 0]])
    0.9
    """
    matrix = check_matrix(matrix)
    correct = np.trace(matrix, axis1=-2, axis2=-1)  # (...)
    return scalar(_divide(correct, matrix.sum(axis=(-2, -1))))


def mean_accuracy(matrix: ArrayLike) -> Any:
    """Recall averaged over the classes that are in the truth.

    Every class counts the same, however few its pixels; what is labeled too much
    costs nothing directly.

    Parameters
    ----------
    matrix : array, shape (..., C, C)
        Confusion matrices, rows = truth.

    Returns
    -------
    float, or ndarray of float64 of shape (...)
        NaN where no pixel was counted.

    Source
    ------
    Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic
    Segmentation", CVPR 2015, section 5.

    Examples
    --------
    >>> mean_accuracy([[90, 0], [10, 0]])
    0.5
    """
    return scalar(nan_mean(recall(matrix)))


def mean_iou(matrix: ArrayLike) -> Any:
    """IoU averaged over the classes that are in the truth or the prediction.

    Parameters
    ----------
    matrix : array, shape (..., C, C)
        Confusion matrices, rows = truth. Of a summed matrix it is the data set's
        mean IoU; of a stack, each image's, whose average is *another* number.

    Returns
    -------
    float, or ndarray of float64 of shape (...)
        NaN where no pixel was counted.

    Source
    ------
    Long, Shelhamer and Darrell, CVPR 2015, section 5.

    Examples
    --------
    >>> round(mean_iou([[6, 2, 0], [1, 3, 0], [0, 0, 0]]), 4)
    0.5833
    """
    return scalar(nan_mean(iou(matrix)))


def fw_iou(matrix: ArrayLike) -> Any:
    """IoU averaged with each class weighted by its share of the true pixels.

    Close to pixel accuracy in what it rewards: large classes decide it.

    Parameters
    ----------
    matrix : array, shape (..., C, C)
        Confusion matrices, rows = truth.

    Returns
    -------
    float, or ndarray of float64 of shape (...)
        NaN where no pixel was counted.

    Source
    ------
    Long, Shelhamer and Darrell, CVPR 2015, section 5 ("frequency weighted IU").

    Examples
    --------
    >>> round(fw_iou([[6, 2], [1, 3]]), 4)
    0.6111
    """
    _, truth, _ = _counts(matrix)  # (..., C)
    share = _divide(truth, truth.sum(axis=-1, keepdims=True))  # (..., C)
    # A class without true pixels has share 0, and maybe an IoU of NaN: it adds 0.
    weighted = np.where(truth > 0, share * iou(matrix), 0 * share)
    return scalar(weighted.sum(axis=-1))


def cohen_kappa(matrix: ArrayLike) -> Any:
    r"""Agreement beyond what chance would give (Cohen's kappa).

    Chance is two labelers who know how frequent each class is, and nothing else:
    they agree in a share :math:`p_e = \sum_k r_k c_k` of the pixels, where
    :math:`r_k` and :math:`c_k` are the shares of class k in truth and prediction.
    1 is full agreement, 0 is chance, below 0 is worse than chance. It is used for
    maps and for two people who labeled the same image.

    Parameters
    ----------
    matrix : array, shape (..., C, C)
        Confusion matrices, rows = truth.

    Returns
    -------
    float, or ndarray of float64 of shape (...)
        :math:`(p_o - p_e) / (1 - p_e)`, where :math:`p_o` is the pixel accuracy. NaN
        where no pixel was counted, or all are of one class in truth and prediction:
        chance agrees fully, too.

    Source
    ------
    Cohen, "A Coefficient of Agreement for Nominal Scales", Educational and
    Psychological Measurement 20 (1960), equation 1.

    Examples
    --------
    Right on 90 % of the pixels, and yet it found nothing:

    >>> cohen_kappa([[90, 0], [10, 0]])
    0.0
    """
    hit, truth, prediction = _counts(matrix)  # (..., C)
    total = truth.sum(axis=-1)  # (...)
    observed = _divide(hit.sum(axis=-1), total)
    rows = _divide(truth, total[..., None])  # (..., C) shares
    columns = _divide(prediction, total[..., None])
    chance = (rows * columns).sum(axis=-1)
    return scalar(_divide(observed - chance, 1 - chance))


def _counts(
    matrix: ArrayLike,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Pixels of each class: labeled correctly, in truth, in prediction."""
    matrix = check_matrix(matrix)
    hit = np.diagonal(matrix, axis1=-2, axis2=-1)  # (..., C) true positives
    truth = matrix.sum(axis=-1)  # (..., C) row sums, TP + FN
    prediction = matrix.sum(axis=-2)  # (..., C) column sums, TP + FP
    return hit, truth, prediction


def _divide(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Divide; nothing out of nothing is NaN, without a warning."""
    with np.errstate(invalid="ignore"):
        ratio: NDArray[np.float64] = np.true_divide(part, whole)
    return ratio


def nan_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis of what is not NaN; NaN, not a warning, of nothing."""
    return _divide(np.nansum(values, axis=-1), (~np.isnan(values)).sum(axis=-1))


def scalar(value: NDArray[np.float64]) -> Any:
    """Turn a 0-dimensional result into a plain float."""
    return float(value) if np.ndim(value) == 0 else value


def check_matrix(matrix: ArrayLike) -> NDArray[Any]:
    """Refuse what is no confusion matrix and no stack of them."""
    matrix = np.asarray(matrix)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(
            f"matrix has shape {matrix.shape}; a confusion matrix is (C, C), or a "
            "stack of them (..., C, C). Make it with confusion_matrix(y_true, y_pred, "
            "num_classes)."
        )
    if matrix.dtype.kind in "biu":  # sums and products of counts must not wrap round
        matrix = matrix.astype(np.int64, copy=False)
    return matrix


def _check_num_classes(num_classes: int) -> int:
    if (
        isinstance(num_classes, bool)
        or not isinstance(num_classes, (int, np.integer))
        or num_classes < 1
    ):
        raise ValueError(
            f"num_classes is {num_classes!r}; it must be an int, 1 or more."
        )
    return int(num_classes)


def _check_shapes(truth: NDArray[Any], prediction: NDArray[Any]) -> None:
    if truth.shape == prediction.shape:
        return
    hint = ""
    if prediction.ndim == truth.ndim + 1 and prediction.shape[:-1] == truth.shape:
        hint = (
            " The last axis of y_pred looks like one score for each class: pass "
            "y_pred.argmax(axis=-1)."
            if prediction.shape[-1] > 1
            else " Take off y_pred's last axis: y_pred[..., 0]. If it holds "
            "probabilities, pass y_pred[..., 0] > 0.5."
        )
    elif truth.ndim == prediction.ndim + 1 and truth.shape[:-1] == prediction.shape:
        hint = (
            " The last axis of y_true looks like a one-hot encoding: pass "
            "y_true.argmax(axis=-1)."
            if truth.shape[-1] > 1
            else " Take off y_true's last axis: y_true[..., 0]."
        )
    raise ValueError(
        f"y_true has shape {truth.shape} and y_pred {prediction.shape}; they must be "
        f"label maps of the same shape.{hint}"
    )


def _whole_numbers(
    labels: NDArray[Any],
    name: str,
    truth: NDArray[Any] | None = None,
    ignore_index: int | None = None,
) -> NDArray[Any]:
    """Give labels as integers; those under an ignored pixel are not looked at."""
    if labels.dtype.kind in "biu":
        return labels
    if labels.dtype.kind != "f":
        raise ValueError(
            f"{name} has dtype {labels.dtype}; it must hold integer class numbers."
        )
    if truth is not None and ignore_index is not None:
        labels = np.where(truth == ignore_index, 0, labels)
    with np.errstate(invalid="ignore"):
        numbers = labels.astype(np.int64)
    wrong = numbers != labels  # True for NaN, and for what int64 cannot hold
    if wrong.any():
        raise ValueError(
            f"{name} holds {labels[wrong][0]:.4g}, which is no class number. "
            "Probabilities or scores must be turned into labels first (argmax over "
            "the classes, or p > 0.5); a true mask with fractions was resized with "
            "interpolation: use nearest neighbor."
        )
    return numbers


def _bad_labels(
    truth: NDArray[Any],
    prediction: NDArray[Any],
    num_classes: int,
    ignore_index: int | None,
) -> ValueError:
    """Say which labels, of the pixels that count, are no class."""
    kept = truth != ignore_index if ignore_index is not None else ...
    name, labels = "y_true", truth[kept]
    wrong = (labels < 0) | (labels >= num_classes)
    if not wrong.any():
        name, labels = "y_pred", prediction[kept]
        wrong = (labels < 0) | (labels >= num_classes)
    values, counts = np.unique(labels[wrong], return_counts=True)
    listed = ", ".join(
        f"{value} ({count} pixels)"
        for value, count in zip(values[:5], counts[:5], strict=True)
    )
    more = f" and {len(values) - 5} more" if len(values) > 5 else ""
    if name == "y_true" and ignore_index is None and values.tolist() == [255]:
        hint = (
            " If 255 means not annotated, pass ignore_index=255; if it means "
            "foreground, pass y_true == 255."
        )
    else:
        hint = " num_classes counts all classes, the background too."
    return ValueError(
        f"{name} has labels that are no class: {listed}{more}. With num_classes="
        f"{num_classes} the classes are 0 to {num_classes - 1}.{hint}"
    )
