"""Class weights from how many pixels each class has."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seglab.data import Split


def median_frequency_weights(counts: ArrayLike | Split) -> NDArray[np.float64]:
    r"""Weight each class by the median frequency of all, divided by its own.

    In a `CrossEntropy` with these weights all classes count alike, whatever their
    sizes (exactly, where every image has every class).

    Parameters
    ----------
    counts : array of int, shape (N, C) or (C,), or Split
        Pixels of each class in each of N images, or in all images together; or the
        split to count them in, whose ignored pixels are left out.

    Returns
    -------
    ndarray of float64, shape (C,)
        :math:`\mathrm{median}(f) / f_k`, where :math:`f_k` is the number of pixels of
        class k divided by the number of pixels in the images **that have the class**.
        Counts of shape (C,) are taken as one image. A class without a pixel has no
        frequency, is not in the median, and gets weight 0.

    Raises
    ------
    ValueError
        When the counts are no counts, or all are 0.

    Source
    ------
    Eigen and Fergus, "Predicting Depth, Surface Normals and Semantic Labels with a
    Common Multi-Scale Convolutional Architecture", ICCV 2015; used by SegNet
    (Badrinarayanan et al., 2017).

    Examples
    --------
    >>> median_frequency_weights([900, 90, 10]).round(2).tolist()
    [0.1, 1.0, 9.0]
    """
    table = _check_counts(counts)  # (N, C)
    there = table > 0
    totals = table.sum(axis=1) @ there  # (C,): pixels of the images that have it
    seen = there.any(axis=0)
    frequency = table.sum(axis=0)[seen] / totals[seen]
    weights = np.zeros(table.shape[1])
    weights[seen] = np.median(frequency) / frequency
    return weights


def effective_number_weights(
    counts: ArrayLike | Split, beta: float
) -> NDArray[np.float64]:
    r"""Weight each class by one over its effective number of pixels.

    Pixels resemble each other, so that the thousandth of a class tells less than the
    first. `beta` says from how many on they tell nothing new: about
    :math:`1 / (1 - \beta)`. It leads from no weights (0) to one over the number of
    pixels (towards 1).

    Parameters
    ----------
    counts : array of int, shape (N, C) or (C,), or Split
        As for `median_frequency_weights`; only the sums over images count.
    beta : float
        At least 0 and below 1. The paper's 0.9 to 0.9999 are meant for numbers of
        images. Pixels go into the millions, for which all of these give equal weights:
        take 1 - 1e-6, say.

    Returns
    -------
    ndarray of float64, shape (C,)
        Proportional to :math:`(1 - \beta) / (1 - \beta^{n_k})`, with
        mean 1 over the classes that have a pixel; 0 for one that has none.

    Raises
    ------
    ValueError
        When `beta` is out of range, the counts are no counts, or all are 0.

    Source
    ------
    Cui, Jia, Lin, Song and Belongie, "Class-Balanced Loss Based on Effective Number of
    Samples", CVPR 2019, sections 3 and 4.

    Examples
    --------
    >>> effective_number_weights([900, 90, 10], beta=0.99).round(2).tolist()
    [0.23, 0.38, 2.39]
    """
    if not 0 <= beta < 1:
        raise ValueError(
            f"beta is {beta!r}; it must be at least 0 and below 1. For weights of one "
            "over the number of pixels, take 1 / counts."
        )
    n = _check_counts(counts).sum(axis=0)  # (C,)
    weights = np.zeros(len(n))
    seen = n > 0
    # 1 - beta**n, exact also for a beta near 1; the factor 1 - beta cancels below.
    share = -np.expm1(n[seen] * np.log(beta)) if beta else np.ones(seen.sum())
    weights[seen] = (1 / share) / np.mean(1 / share)
    return weights


def _check_counts(counts: ArrayLike | Split) -> NDArray[np.float64]:
    """Give counts as a table of images and classes, (N, C)."""
    if isinstance(counts, Split):
        labels = range(counts.num_classes)
        counts = [[np.sum(mask == k) for k in labels] for mask in counts.masks]
    numbers = np.atleast_2d(np.asarray(counts, np.float64))
    # A comparison with NaN is false, so this refuses NaN too.
    if numbers.ndim != 2 or not (numbers >= 0).all() or not 0 < numbers.sum() < np.inf:
        raise ValueError(
            f"counts is {counts!r}; it must hold numbers of pixels, 0 or more and not "
            "all 0, in an array of shape (C,) or (N, C)."
        )
    return numbers
