"""Statistics over images: means image by image, and how far a result can be trusted.

Everything here starts from a stack with one confusion matrix for each image, (N, C, C),
as ``confusion_matrix(..., per_image=True)`` gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seglab.metrics.overlap import check_matrix, mean_iou, nan_mean, scalar

Metric = Callable[[Any], Any]
"""A function of matrices (..., C, C) that works on the last two axes."""

_BLOCK = 2**22
"""Numbers in a block of resampled matrices: 32 MB at a time, however many classes."""


class Interval(NamedTuple):
    """The two ends of an interval: floats, or arrays with one value for each class.

    Examples
    --------
    >>> low, high = Interval(0.7, 0.8)
    """

    low: Any
    high: Any


def imagewise(metric: Metric, matrices: ArrayLike) -> Any:
    """Take a metric of each image alone, and average over the images.

    Every image counts the same, however many pixels of a class it has; in the data
    set's number, from the summed matrix, every pixel counts the same. The two differ,
    often by a lot: always say which one you show.

    Parameters
    ----------
    metric : callable
        A function of this package that takes matrices: ``iou``, ``mean_iou``,
        ``dice``, ...
    matrices : array, shape (N, C, C)
        One confusion matrix for each image, rows = truth.

    Returns
    -------
    float, or ndarray of float64, shape (C,)
        The mean over the images in which the metric is defined. For a metric of each
        class, such as ``iou``, of each class: over the images that have it in truth
        or prediction. NaN where there is no such image.

    Raises
    ------
    ValueError
        When there is no axis of images.

    Notes
    -----
    ``imagewise(mean_iou, matrices)`` averages over the classes of each image, then
    over images; ``nanmean(imagewise(iou, matrices))`` over images, then classes. They
    differ where images lack a class. The first is the mean of the numbers that one
    would write beside the images.

    Source
    ------
    Csurka, Larlus and Perronnin, "What Is a Good Evaluation Measure for Semantic
    Segmentation?", BMVC 2013, which argues for it.

    Examples
    --------
    A large cell that is found, and a small one that is not:

    >>> from seglab.metrics import iou
    >>> found, missed = [[60, 0], [0, 40]], [[96, 0], [4, 0]]
    >>> imagewise(iou, [found, missed]).round(3)
    array([0.98, 0.5 ])
    >>> iou(np.add(found, missed)).round(3)
    array([0.975, 0.909])
    """
    stack = check_stack(matrices)
    values = np.asarray(metric(stack), np.float64)  # (N,) or (N, C)
    return scalar(nan_mean(np.moveaxis(values, 0, -1)))


def bootstrap(
    matrices: ArrayLike,
    metric: Metric = mean_iou,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Measure again on data sets that might have been drawn instead.

    Each resample draws N of the N images, with replacement, adds up their matrices and
    takes the metric of the sum: the data set's metric, not a mean over images.

    Parameters
    ----------
    matrices : array, shape (N, C, C)
        One confusion matrix for each image, rows = truth.
    metric : callable, default `mean_iou`
        A function of this package that takes matrices.
    resamples : int, default 2000
        How many data sets are drawn, R.
    seed : int, default 0
        The same seed and N draw the same images. So two models that were measured on
        the same images are compared by ``bootstrap(a) - bootstrap(b)``: what an image
        adds to both cancels.

    Returns
    -------
    ndarray of float64, shape (R,) or (R, C)
        NaN where a resample has no pixel of a class.

    Raises
    ------
    ValueError
        When there is no axis of images, no image, or no resample.

    Source
    ------
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 6.

    Examples
    --------
    >>> matrices = [[[6, 2], [1, 3]], [[7, 0], [1, 4]], [[5, 1], [4, 2]]]
    >>> bootstrap(matrices, resamples=4).round(2)
    array([0.58, 0.39, 0.66, 0.58])
    """
    stack = check_stack(matrices)
    N, C = stack.shape[:2]
    if N == 0:
        raise ValueError("matrices has no image to draw.")
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; it must be 1 or more.")
    rng = np.random.default_rng(seed)
    # In float64, which holds counts below 2**53 exactly, the product is fast.
    flat = stack.reshape(N, C * C).astype(np.float64)
    block = max(_BLOCK // (N + C * C), 1)
    values = []
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        times = rng.multinomial(N, np.full(N, 1 / N), size=rows)  # (rows, N)
        totals = (times.astype(np.float64) @ flat).reshape(rows, C, C)
        values.append(np.asarray(metric(totals), np.float64))
    return np.concatenate(values)


def bootstrap_interval(
    matrices: ArrayLike,
    metric: Metric = mean_iou,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    r"""Percentile interval for a metric of the data set, from resampled images.

    It says how much the number would move with other images *from the same source*.
    It knows nothing of other sources, nor of another training of the model.

    Parameters
    ----------
    matrices : array, shape (N, C, C)
        One confusion matrix for each image, rows = truth. Images must be independent:
        of tiles of one photograph, or slices of one patient, first add up the
        matrices.
    metric : callable, default `mean_iou`
        A function of this package that takes matrices.
    confidence : float, default 0.95
        Share of the resamples that lie inside.
    resamples, seed : int
        See `bootstrap`.

    Returns
    -------
    Interval
        ``low`` and ``high``: floats, or arrays with a value for each class. NaN where
        the metric has no value in any resample, and everywhere for fewer than two
        images: one image says nothing about others.

    Raises
    ------
    ValueError
        As `bootstrap`, and when the confidence is not between 0 and 1.

    Notes
    -----
    Resamples without a value (no pixel of the class) are left out.

    Few images make the interval too narrow: for the mean of N normal values, 95 %
    percentile intervals of many resamples cover
    :math:`P(|t_{N-1}| < 1.96 \sqrt{(N-1)/N})` instead: 0.90 for 10 images, 0.94 for
    30.

    Source
    ------
    Efron and Tibshirani (1993), chapter 13.

    Examples
    --------
    >>> matrices = [[[6, 2], [1, 3]], [[7, 0], [1, 4]], [[5, 1], [4, 2]]]
    >>> low, high = bootstrap_interval(matrices)
    >>> round(low, 3), round(high, 3)
    (0.393, 0.838)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1.")
    stack = check_stack(matrices)
    if len(stack) < 2:
        nothing = np.full(np.shape(metric(stack.sum(axis=0))), np.nan)
        return Interval(scalar(nothing), scalar(nothing))
    values = bootstrap(stack, metric, resamples=resamples, seed=seed)  # (R, ...)
    ends = np.full((2, *values.shape[1:]), np.nan)
    defined = ~np.isnan(values).all(axis=0)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    ends[:, defined] = np.nanquantile(values[:, defined], tails, axis=0)
    return Interval(scalar(ends[0]), scalar(ends[1]))


def check_stack(matrices: ArrayLike) -> NDArray[Any]:
    """Refuse what is not one confusion matrix for each image."""
    stack = check_matrix(matrices)
    if stack.ndim != 3:
        raise ValueError(
            f"matrices has shape {stack.shape}; it must be (N, C, C), one confusion "
            "matrix for each image: confusion_matrix(..., per_image=True)."
        )
    return stack
