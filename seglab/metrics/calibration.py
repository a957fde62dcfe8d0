"""Do probabilities mean what they say? Reliability, and the expected calibration error.

A model is calibrated if, of all pixels that it labels with a confidence of 0.8, 80 %
are right. Networks trained with cross-entropy are often too sure of themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seglab.metrics.overlap import confusion_matrix


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often predictions of each confidence were right: counts, which add up.

    Of batches, ``reliability(batch 1) + reliability(batch 2)`` is that of both.

    Parameters
    ----------
    counts : ndarray of int64, shape (bins,)
        Pixels in each bin of confidence; bin m is from ``m / bins`` (not included,
        but for 0) to ``(m + 1) / bins`` (included).
    correct : ndarray of int64, shape (bins,)
        How many of them were labeled right.
    total_confidence : ndarray of float64, shape (bins,)
        Sum of their confidences.

    Examples
    --------
    >>> import numpy as np
    >>> one = Reliability(np.array([0, 4]), np.array([0, 3]), np.array([0, 3.6]))
    >>> both = one + one
    >>> both.confidence.tolist(), both.accuracy.tolist(), round(both.error, 3)
    ([nan, 0.9], [nan, 0.75], 0.15)
    """

    counts: NDArray[np.int64]
    correct: NDArray[np.int64]
    total_confidence: NDArray[np.float64]

    @property
    def edges(self) -> NDArray[np.float64]:
        """Edges of the bins, from 0 to 1, (bins + 1,)."""
        return np.linspace(0, 1, len(self.counts) + 1)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Mean confidence in each bin, (bins,); NaN in an empty one."""
        return _divide(self.total_confidence, self.counts)

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Share of right pixels in each bin, (bins,); NaN in an empty one."""
        return _divide(self.correct, self.counts)

    @property
    def error(self) -> float:
        r"""Expected calibration error, :math:`\sum_m (n_m / n)\,|acc_m - conf_m|`."""
        total = int(self.counts.sum())
        gaps = np.abs(self.correct - self.total_confidence)  # n_m |acc_m - conf_m|
        return float(gaps.sum() / total) if total else math.nan

    def __add__(self, other: Reliability) -> Reliability:
        if len(self.counts) != len(other.counts):
            raise ValueError(
                f"one has {len(self.counts)} bins and the other {len(other.counts)}; "
                "only the same bins can be added."
            )
        return Reliability(
            self.counts + other.counts,
            self.correct + other.correct,
            self.total_confidence + other.total_confidence,
        )


def reliability(
    probabilities: ArrayLike,
    y_true: ArrayLike,
    bins: int = 15,
    ignore_index: int | None = None,
) -> Reliability:
    """Sort pixels by the confidence of their label, and count the right ones.

    Parameters
    ----------
    probabilities : array of float, shape (..., C)
        Of each class at each pixel: softmax, not logits. The label is the class with
        the highest one (the first of equals), the confidence that probability. Of a
        model with one sigmoid output p, pass ``np.stack([1 - p, p], axis=-1)``.
    y_true : array of int, shape (...)
        True labels.
    bins : int, default 15
        Number of bins, all of the same width, from 0 to 1. With C classes, no
        confidence is below 1/C: the first bins stay empty.
    ignore_index : int, optional
        Pixels with this true label are left out. What is predicted there may be
        anything, NaN too.

    Returns
    -------
    Reliability
        Draw its ``confidence``, ``accuracy`` and ``counts``: a reliability diagram.

    Raises
    ------
    ValueError
        When these are no probabilities, or the labels do not fit them.

    Source
    ------
    Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML
    2017, section 2.

    Examples
    --------
    >>> probabilities = [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]
    >>> table = reliability(probabilities, [0, 1, 1, 0], bins=5)
    >>> table.counts.tolist(), table.correct.tolist()
    ([0, 0, 1, 2, 1], [0, 0, 1, 1, 1])
    """
    if bins != int(bins) or bins < 1:
        raise ValueError(f"bins is {bins!r}; it must be an integer, 1 or more.")
    bins = int(bins)
    truth, shape = np.asarray(y_true), np.shape(probabilities)
    if truth.shape != shape[:-1]:
        raise ValueError(
            f"probabilities has shape {shape} and y_true {truth.shape}; y_true must "
            f"have the shape of the pixels, {shape[:-1]}."
        )
    kept = np.ones(truth.shape, bool)
    if ignore_index is not None:
        kept = truth != ignore_index
    truth = truth[kept]  # (pixels,)
    probabilities = _check_probabilities(np.asarray(probabilities)[kept])
    labels = probabilities.argmax(axis=-1)
    confusion_matrix(truth, labels, probabilities.shape[-1])  # checks the labels
    confidence = probabilities.max(axis=-1).astype(np.float64)
    right = labels == truth
    # Bin m holds what lies in (edge m, edge m + 1]. Rounding may exceed 1 by a hair.
    edges = np.linspace(0, 1, bins + 1)
    m = np.searchsorted(edges, confidence, side="left").clip(1, bins) - 1
    return Reliability(
        np.bincount(m, minlength=bins).astype(np.int64),
        np.bincount(m[right], minlength=bins).astype(np.int64),
        np.bincount(m, weights=confidence, minlength=bins).astype(np.float64),
    )


def expected_calibration_error(
    probabilities: ArrayLike,
    y_true: ArrayLike,
    bins: int = 15,
    ignore_index: int | None = None,
) -> float:
    r"""Mean gap between confidence and accuracy (ECE).

    It judges the confidence alone: a model that always says how often each class
    occurs is calibrated, and useless. Show it beside the IoU.

    Parameters
    ----------
    probabilities, y_true, bins, ignore_index
        See `reliability`.

    Returns
    -------
    float
        :math:`\sum_m (n_m / n)\,|acc_m - conf_m|` over bins m of the confidence: 0 is
        calibrated, 1 the worst. NaN where no pixel was counted.

    Raises
    ------
    ValueError
        See `reliability`.

    Notes
    -----
    The number depends on the bins: compare only what was measured with the same. It is
    that of the *labeled* class; MONAI's, of each class and each image apart, is
    another one. torchmetrics counts confidences of exactly 1 in a bin of their own.

    Source
    ------
    Guo, Pleiss, Sun and Weinberger (2017), equation 3; after Naeini, Cooper and
    Hauskrecht, AAAI 2015.

    Examples
    --------
    Always sure, and right on three pixels of four:

    >>> expected_calibration_error([[1, 0], [1, 0], [0, 1], [0, 1]], [0, 0, 0, 1])
    0.25
    """
    return reliability(probabilities, y_true, bins, ignore_index).error


_SUM = 0.01
"""How far the probabilities of a pixel may be from adding up to 1: half precision
rounds each to three digits."""


def _check_probabilities(probabilities: ArrayLike) -> NDArray[np.floating]:
    values = np.asarray(probabilities)
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if values.ndim == 0 or values.shape[-1] < 2:
        raise ValueError(
            f"probabilities has shape {values.shape}; it must be (..., C), one for "
            "each of C classes, 2 or more. Of a sigmoid's p, pass "
            "np.stack([1 - p, p], axis=-1)."
        )
    if values.size == 0:
        return values
    low, high = values.min(), values.max()  # NaN if there is one
    if not (low >= 0 and high <= 1 + _SUM):
        raise ValueError(
            f"probabilities has values from {low:.4g} to {high:.4g}; they must lie "
            "from 0 to 1. Of logits, take the softmax over the classes first."
        )
    sums = values.sum(axis=-1, dtype=np.float64)
    if np.abs(sums - 1).max() > _SUM:
        worst = sums.flat[np.abs(sums - 1).argmax()]
        raise ValueError(
            f"the probabilities of a pixel add up to {worst:.4g}; over the last axis "
            f"of shape {values.shape} they must add up to 1."
        )
    return values


def _divide(
    part: NDArray[np.float64 | np.int64], whole: NDArray[np.int64]
) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        ratio: NDArray[np.float64] = np.true_divide(part, whole)
    return ratio
