"""How far apart two boundaries are: Hausdorff distance, surface Dice, boundary F1.

Overlap is decided by areas; a thin structure or a ragged edge hardly shows in it. The
measures here compare the outlines instead. What every one of them needs first is a
definition of an outline and of its absence, and libraries differ in both. Here:

* **The boundary** of a mask is the pixels of the mask that touch, with an edge, a
  pixel outside of it: the mask minus its 4-connected erosion. What lies beyond the
  image's border is outside.
* **Distances** are Euclidean, between centers of pixels, in pixels or in the unit of
  `spacing`.
* **Exactly one mask is empty**: the distance is infinite, and the scores are 0.
* **Both are empty**: there is nothing to measure, NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from seglab.metrics.overlap import confusion_matrix, nan_mean
from seglab.progress import Mode, show

Spacing = float | Sequence[float]

_BF_TOLERANCE = 0.0075
"""Share of the image's diagonal within which boundaries agree: Badrinarayanan et al.
(2017)."""

_ROUNDING = 1e-9
"""Relative room for the last digits, so that three steps of 0.1 are within 0.3."""


def boundary(mask: ArrayLike) -> NDArray[np.bool_]:
    """Find the pixels of a mask that touch what is outside of it.

    Parameters
    ----------
    mask : array of bool, shape (H, W) or (D, H, W)
        Zeros and ones will do.

    Returns
    -------
    ndarray of bool, same shape
        The mask minus its erosion with the 4-connected cross (6-connected in 3-D).
        What is beyond the border of the image counts as outside.

    Raises
    ------
    ValueError
        When the mask holds anything but 0 and 1.

    Examples
    --------
    >>> mask = [[0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1]]
    >>> boundary(mask).astype(int)
    array([[0, 1, 1, 1],
           [0, 1, 0, 1],
           [0, 1, 1, 1]])
    """
    mask = _check_mask(mask, "mask")
    inside: NDArray[np.bool_] = ndimage.binary_erosion(mask)
    return mask & ~inside


def surface_distances(
    a: ArrayLike, b: ArrayLike, spacing: Spacing = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure from each boundary pixel of one mask to the nearest one of the other.

    Every boundary measure is a statistic of these two lists, which are not the same:
    all of a small mask may lie close to a large one, and not the other way around.

    Parameters
    ----------
    a, b : array of bool, shape (H, W) or (D, H, W)
        Two masks.
    spacing : float or sequence of float, default 1
        Distance between neighboring pixels, along each axis or along all.

    Returns
    -------
    from_a, from_b : ndarray of float64, shape (boundary pixels of a), (... of b)
        In the order of the pixels, row by row. Infinite where the other mask is
        empty.

    Raises
    ------
    ValueError
        When the masks differ in shape or hold anything but 0 and 1, or the spacing
        does not fit.

    Examples
    --------
    >>> from_a, from_b = surface_distances([[1, 1, 0, 0]], [[1, 1, 1, 1]])
    >>> from_a.tolist(), from_b.tolist()
    ([0.0, 0.0], [0.0, 0.0, 1.0, 2.0])
    """
    a, b = _check_mask(a, "a"), _check_mask(b, "b")
    if a.shape != b.shape:
        raise ValueError(f"a has shape {a.shape} and b {b.shape}; they must be equal.")
    scale = _check_spacing(spacing, a.ndim)
    points_a = np.argwhere(boundary(a)) * scale  # (boundary pixels, axes)
    points_b = np.argwhere(boundary(b)) * scale
    return _nearest(points_a, points_b), _nearest(points_b, points_a)


def hausdorff(
    a: ArrayLike, b: ArrayLike, percentile: float = 100.0, spacing: Spacing = 1.0
) -> float:
    r"""Hausdorff distance of two masks' boundaries, or a percentile of it.

    The farthest that any point of one boundary is from the other boundary. One stray
    pixel decides it, so the 95th percentile ("HD95") is often given instead.

    Parameters
    ----------
    a, b : array of bool, shape (H, W) or (D, H, W)
        Two masks.
    percentile : float, default 100
        Of the distances from one boundary to the other, before the larger of the two
        directions is taken. 100 is the Hausdorff distance itself.
    spacing : float or sequence of float, default 1
        Distance between neighboring pixels, along each axis or along all.

    Returns
    -------
    float
        :math:`\max(P(d_{a \to b}), P(d_{b \to a}))`, in pixels or the unit of the
        spacing. Infinite if exactly one mask is empty, NaN if both are.

    Raises
    ------
    ValueError
        As `surface_distances`, and when the percentile is not from 0 to 100.

    Notes
    -----
    Percentiles are interpolated linearly. MONAI too takes the larger one of the two
    directions; MedPy takes one percentile of both lists thrown together, which the
    longer boundary dominates. On the Hausdorff distance itself they and torchmetrics
    agree with this. DeepMind's surface-distance has another boundary, pieces of line
    between the pixels, and weighs them by their length.
    Between *filled* masks, which scikit-image measures if given those, it is another
    distance: a hole of one pixel is then 1, however far from the outline it is.

    Source
    ------
    Huttenlocher, Klanderman and Rucklidge, "Comparing Images Using the Hausdorff
    Distance", IEEE PAMI 15 (1993), equations 1 and 2. Its "partial" distances are the
    percentiles.

    Examples
    --------
    >>> hausdorff([[1, 1, 0, 0]], [[1, 1, 1, 1]])
    2.0
    >>> hausdorff([[1, 1, 0, 0]], [[1, 1, 1, 1]], spacing=(1, 0.5))
    1.0
    """
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile is {percentile}; it must be from 0 to 100.")
    from_a, from_b = surface_distances(a, b, spacing)
    if from_a.size == from_b.size == 0:
        return math.nan
    if from_a.size == 0 or from_b.size == 0:
        return math.inf
    return float(
        max(np.percentile(from_a, percentile), np.percentile(from_b, percentile))
    )


def surface_dice(
    a: ArrayLike, b: ArrayLike, tolerance: float, spacing: Spacing = 1.0
) -> float:
    r"""Share of two boundaries that lies within a tolerance of the other one.

    Also called normalized surface distance, NSD. Choose the tolerance by what two
    careful people differ: then 1 means "as good as a second annotator".

    Parameters
    ----------
    a, b : array of bool, shape (H, W) or (D, H, W)
        Two masks.
    tolerance : float
        Distance up to which boundaries agree, in pixels or the unit of `spacing`; 0
        or more.
    spacing : float or sequence of float, default 1
        Distance between neighboring pixels, along each axis or along all.

    Returns
    -------
    float
        :math:`(|\{d_{a \to b} \le \tau\}| + |\{d_{b \to a} \le \tau\}|) / (|d_{a \to
        b}| + |d_{b \to a}|)`; 0 if exactly one mask is empty, NaN if both are.

    Raises
    ------
    ValueError
        As `surface_distances`, and when the tolerance is negative.

    Notes
    -----
    This counts boundary *pixels*, as MONAI does by default. The paper's own code,
    DeepMind's surface-distance, and MONAI with ``use_subvoxels=True`` weigh surface
    elements between the pixels by their length or area: another number.

    Source
    ------
    Nikolov et al., "Clinically Applicable Segmentation of Head and Neck Anatomy for
    Radiotherapy", J. Med. Internet Res. 23 (2021).

    Examples
    --------
    >>> surface_dice([[1, 1, 0, 0]], [[1, 1, 1, 1]], tolerance=1)
    0.8333333333333334
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance}; it must be 0 or more.")
    from_a, from_b = surface_distances(a, b, spacing)
    if from_a.size + from_b.size == 0:
        return math.nan
    if from_a.size == 0 or from_b.size == 0:
        return 0.0  # also where any distance would be tolerated
    near = _count_near(from_a, tolerance) + _count_near(from_b, tolerance)
    return near / (from_a.size + from_b.size)


def boundary_f1(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    num_classes: int,
    ignore_index: int | None = None,
    *,
    tolerance: float | None = None,
    progress: Mode = False,
) -> float:
    """Boundary F1 of a set of images: SegNet's "BF".

    `image_boundary_f1`, averaged over the classes of each image, then over images.

    Parameters
    ----------
    y_true, y_pred, num_classes, ignore_index, tolerance, progress
        See `image_boundary_f1`.

    Returns
    -------
    float
        From 0 to 1; NaN where no image has a class.

    Raises
    ------
    ValueError
        See `image_boundary_f1`.

    Source
    ------
    Csurka, Larlus and Perronnin, BMVC 2013; Badrinarayanan, Kendall and Cipolla,
    "SegNet", IEEE PAMI 39 (2017).

    Examples
    --------
    >>> truth = [[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0]]
    >>> shifted = [[0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]]
    >>> boundary_f1([truth], [shifted], 2, tolerance=1)
    1.0
    """
    scores = image_boundary_f1(
        y_true,
        y_pred,
        num_classes,
        ignore_index,
        tolerance=tolerance,
        progress=progress,
    )
    return float(nan_mean(nan_mean(scores)))


def image_boundary_f1(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    num_classes: int,
    ignore_index: int | None = None,
    *,
    tolerance: float | None = None,
    progress: Mode = False,
) -> NDArray[np.float64]:
    r"""Boundary F1 of each class in each image.

    Precision is the share of the predicted boundary that is near the true one, recall
    the share of the true boundary that is near the predicted one.

    Parameters
    ----------
    y_true : array of int, shape (N, H, W)
        True labels.
    y_pred : array of int, shape (N, H, W)
        Predicted labels.
    num_classes : int
        Number of classes, C.
    ignore_index : int, optional
        Pixels with this true label belong to no class, in truth and in prediction:
        what lies there counts as outside, as what lies beyond the border does.
    tolerance : float, optional
        Distance up to which boundaries agree, in pixels. Default: 0.75 % of the
        image's diagonal, which is 4.5 pixels for 360 x 480 and less than one for
        images smaller than about 94 x 94, where it allows no error at all.
    progress : bool or "lines", default False
        See `seglab.progress.show`.

    Returns
    -------
    ndarray of float64, shape (N, C)
        :math:`2PR / (P + R)`. 0 for a class that is only in truth or only in the
        prediction; NaN for one in neither.

    Raises
    ------
    ValueError
        When the labels are not those of images, or the tolerance is negative.

    Notes
    -----
    Two choices differ from SegNet's. Its script matches boundary pixels one to one
    (the Berkeley benchmark's assignment), which is stricter than distances. And the
    paper averages over the classes of the true image alone, so that an invented
    object costs nothing; its script, and this function, count a class that is in
    either.

    Examples
    --------
    >>> truth = [[[0, 0, 0, 1, 1, 1]]]
    >>> shifted = [[[0, 0, 1, 1, 1, 1]]]
    >>> image_boundary_f1(truth, shifted, 3, tolerance=0).round(3)
    array([[0.8  , 0.857,   nan]])
    """
    truth, prediction = np.asarray(y_true), np.asarray(y_pred)
    counts = confusion_matrix(
        truth, prediction, num_classes, ignore_index, per_image=True
    )
    present = counts.sum(axis=1) + counts.sum(axis=2) > 0  # (N, C)
    if truth.ndim != 3:
        raise ValueError(
            f"y_true has shape {truth.shape}; it must be (N, H, W), label maps of "
            "images. For one image, pass y_true[None] and y_pred[None]."
        )
    if tolerance is None:
        tolerance = _BF_TOLERANCE * math.hypot(*truth.shape[1:])
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance}; it must be 0 pixels or more.")
    N = len(truth)
    scores = np.full(present.shape, np.nan)
    with show(progress) as display:
        for n in range(N):
            kept = truth[n] != ignore_index if ignore_index is not None else True
            for k in np.flatnonzero(present[n]):
                a, b = (truth[n] == k) & kept, (prediction[n] == k) & kept  # (H, W)
                scores[n, k] = _f1(*surface_distances(a, b), tolerance)
            display.step((n + 1) / N, f"Boundaries of image {n + 1} of {N}")
    return scores


def _f1(
    from_truth: NDArray[np.float64], from_prediction: NDArray[np.float64], limit: float
) -> float:
    if from_truth.size == 0 or from_prediction.size == 0:
        return 0.0  # one of them has the class
    recall = _count_near(from_truth, limit) / from_truth.size
    precision = _count_near(from_prediction, limit) / from_prediction.size
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def _count_near(distances: NDArray[np.float64], limit: float) -> int:
    return int(np.count_nonzero(distances <= limit * (1 + _ROUNDING)))


def _nearest(
    points: NDArray[np.float64], others: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance from each point to the nearest of the others, (len(points),)."""
    if len(points) == 0 or len(others) == 0:
        return np.full(len(points), np.inf)
    # Boundaries are few pixels of many: a tree of points beats a distance transform.
    distances: NDArray[np.float64] = KDTree(others).query(points)[0]
    return distances


def _check_mask(mask: ArrayLike, name: str) -> NDArray[np.bool_]:
    mask = np.asarray(mask)
    if mask.dtype != bool:
        if mask.dtype.kind not in "iuf" or not ((mask == 0) | (mask == 1)).all():
            raise ValueError(
                f"{name} must hold True and False, or 1 and 0. Of a label map, pass "
                f"one class: {name} == k. Of probabilities, {name} > 0.5."
            )
        mask = mask.astype(bool)
    if mask.ndim == 0:
        raise ValueError(f"{name} is a single number; it must be an image, (H, W).")
    return mask


def _check_spacing(spacing: Spacing, axes: int) -> NDArray[np.float64]:
    scale = np.asarray(spacing, np.float64)
    if scale.shape not in ((), (axes,)) or not ((scale > 0) & np.isfinite(scale)).all():
        raise ValueError(
            f"spacing is {spacing}; it must be a positive, finite number, or {axes} of "
            "them, one for each axis of the masks."
        )
    return scale
