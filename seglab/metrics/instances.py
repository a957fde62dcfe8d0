"""Are the objects right, one by one? Panoptic quality and average precisions.

Maps of instances hold 0 where there is no object, and another number for each object;
which number does not matter. They are of one class: of several, call once for each,
with the objects of the others set to 0.

Of true and predicted objects, whose pixels do not overlap among themselves, at most
one pair that shares an object can have an IoU above 0.5 (Kirillov et al. 2019,
theorem 1). So above 0.5 matching needs no assignment: two objects match, or not. What
is not matched is a false positive (predicted) or a false negative (true).

**Ignored pixels**, whose truth is the ignore label, belong to no object, in truth and
in prediction; and a predicted object that matches nothing, and lay in them with more
than half of its pixels, is no false positive. That is Kirillov's rule for void, and
used for all measures here.

Three numbers are called "average precision" of instances. They are not comparable, so
none of the functions here is called that: `dsb2018_score`, TP / (TP + FP + FN) at ten
thresholds, averaged over thresholds, then images; the same at one threshold, as
Cellpose and StarDist report, which is that function with one threshold, but for what
its docstring says; and `coco_ap`, the area under the curve of precision against recall,
for which each object needs a score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglab.metrics.overlap import nan_mean

Maps = NDArray[Any] | Sequence[Any]
"""An array (H, W) or (N, H, W), or a sequence of arrays (H, W)."""

_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
"""0.5, 0.55, ..., 0.95: of COCO, and of the Data Science Bowl after it."""

_RECALLS = np.linspace(0, 1, 101)
"""Where COCO reads the precision off."""


@dataclass(frozen=True)
class PanopticQuality:
    """Panoptic quality, and the counts that it is made of; those of images add up.

    Parameters
    ----------
    total_iou : float
        Sum of the IoU of the matched pairs.
    tp, fp, fn : int
        Matched pairs, predicted objects without a match, true objects without one.

    Examples
    --------
    >>> image = PanopticQuality(total_iou=1.6, tp=2, fp=1, fn=1)
    >>> round(image.pq, 3), round(image.sq, 3), round(image.rq, 3)
    (0.533, 0.8, 0.667)
    >>> (image + image).tp
    4
    """

    total_iou: float
    tp: int
    fp: int
    fn: int

    @property
    def pq(self) -> float:
        """IoU summed / (TP + FP/2 + FN/2); NaN where there is no object at all."""
        weight = self.tp + self.fp / 2 + self.fn / 2
        return self.total_iou / weight if weight else math.nan

    @property
    def sq(self) -> float:
        """Segmentation quality: mean IoU of the matched pairs; NaN if there is none."""
        return self.total_iou / self.tp if self.tp else math.nan

    @property
    def rq(self) -> float:
        """Recognition quality: F1 of the objects; NaN where there is no object."""
        weight = self.tp + self.fp / 2 + self.fn / 2
        return self.tp / weight if weight else math.nan

    def __add__(self, other: PanopticQuality) -> PanopticQuality:
        return PanopticQuality(
            self.total_iou + other.total_iou,
            self.tp + other.tp,
            self.fp + other.fp,
            self.fn + other.fn,
        )


def panoptic_quality(
    true_instances: Maps,
    predicted_instances: Maps,
    ignore_index: int | None = None,
) -> PanopticQuality:
    """Measure how many objects were found, and how well: PQ = SQ x RQ.

    Parameters
    ----------
    true_instances : array of int, shape (H, W) or (N, H, W), or sequence of (H, W)
        One number for each object, 0 where there is none. Images may differ in size.
    predicted_instances : array of int, same shape
        The same of the prediction.
    ignore_index : int, optional
        Pixels with this number in the truth are left out; see the module.

    Returns
    -------
    PanopticQuality
        With ``pq``, ``sq``, ``rq``, and counts over all images.

    Raises
    ------
    ValueError
        When the maps differ in shape or hold no object numbers.

    Notes
    -----
    SQ is NaN, and PQ 0, where there are objects but no match.

    Source
    ------
    Kirillov, He, Girshick, Rother and Dollár, "Panoptic Segmentation", CVPR 2019,
    equation 1.

    Examples
    --------
    One object cut short by a quarter, and one invented:

    >>> truth = [[1, 1, 1, 1, 0, 0]]
    >>> prediction = [[1, 1, 1, 0, 0, 2]]
    >>> quality = panoptic_quality(truth, prediction)
    >>> quality.sq, round(quality.rq, 3), quality.pq
    (0.75, 0.667, 0.5)
    """
    total = PanopticQuality(0.0, 0, 0, 0)
    for pairs in _compare(true_instances, predicted_instances, ignore_index):
        matched = pairs.iou > 0.5
        found = pairs.predicted[matched]  # each only once
        tp, fp = len(found), pairs.count_unmatched(found)
        iou = float(pairs.iou[matched].sum())
        total += PanopticQuality(iou, tp, fp, pairs.true_count - tp)
    return total


def dsb2018_score(
    true_instances: Maps,
    predicted_instances: Maps,
    ignore_index: int | None = None,
    *,
    thresholds: Sequence[float] = _THRESHOLDS,
) -> float:
    """Score of the 2018 Data Science Bowl: TP / (TP + FP + FN), averaged.

    Of each image, at each threshold of the IoU, objects that overlap by more than the
    threshold are matched; the score of the image is the mean over the thresholds, and
    the result the mean over the images.

    Parameters
    ----------
    true_instances : array of int, shape (H, W) or (N, H, W), or sequence of (H, W)
        One number for each object, 0 where there is none.
    predicted_instances : array of int, same shape
        The same of the prediction.
    ignore_index : int, optional
        Pixels with this number in the truth are left out; see the module.
    thresholds : sequence of float
        Each at least 0.5 and below 1. Default: 0.5, 0.55, ..., 0.95, the Bowl's. One
        threshold gives what Cellpose calls average precision and StarDist accuracy. But
        both match a pair whose IoU *is* the threshold too, and StarDist adds up the
        counts of all images first.

    Returns
    -------
    float
        From 0 to 1. Images without any object, true or predicted, are left out; NaN
        where all are such.

    Raises
    ------
    ValueError
        As `panoptic_quality`, and when a threshold is out of range.

    Source
    ------
    Caicedo et al., "Nucleus Segmentation across Imaging Experiments: the 2018 Data
    Science Bowl", Nature Methods 16 (2019), methods.

    Examples
    --------
    An IoU of 0.75 passes the thresholds 0.5, 0.55, 0.6, 0.65 and 0.7:

    >>> dsb2018_score([[1, 1, 1, 1]], [[5, 5, 5, 0]])
    0.5
    """
    limits = _check_thresholds(thresholds)
    scores = []  # of each image, (thresholds,)
    for pairs in _compare(true_instances, predicted_instances, ignore_index):
        row = []
        for limit in limits:
            found = pairs.predicted[pairs.iou > limit]
            objects = pairs.true_count + pairs.count_unmatched(found)  # TP + FN, + FP
            row.append(len(found) / objects if objects else math.nan)
        scores.append(row)
    return float(nan_mean(np.array(scores).mean(axis=1))) if scores else math.nan


def coco_ap(
    true_instances: Maps,
    predicted_instances: Maps,
    scores: Sequence[float] | Sequence[Sequence[float]],
    ignore_index: int | None = None,
    *,
    thresholds: Sequence[float] = _THRESHOLDS,
) -> float:
    """COCO's average precision of masks, of one class: area under precision-recall.

    Objects of all images are sorted by their score. Going down the list, precision is
    the share of right ones so far, recall the share of the true objects found so far.
    Precision is made to fall only, read at 101 recalls from 0 to 1, and averaged; then
    over the thresholds of the IoU.

    Parameters
    ----------
    true_instances : array of int, shape (H, W) or (N, H, W), or sequence of (H, W)
        One number for each object, 0 where there is none.
    predicted_instances : array of int, same shape
        The same of the prediction.
    scores : sequence of float, or one such sequence for each image
        Scores of the predicted objects, in the order of their numbers: of the
        smallest, the next, ... Only their order matters.
    ignore_index : int, optional
        Pixels with this number in the truth are left out; see the module.
    thresholds : sequence of float
        An IoU of the threshold or above is a match. Each at least 0.5 and below 1.
        Default: COCO's 0.5, 0.55, ..., 0.95.

    Returns
    -------
    float
        From 0 to 1; NaN where there is no true object.

    Raises
    ------
    ValueError
        As `panoptic_quality`, and when the scores do not fit the objects or a
        threshold is out of range.

    Notes
    -----
    COCO keeps the 100 best objects of an image; here all are kept.

    Source
    ------
    Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, and its
    evaluation code, pycocotools.

    Examples
    --------
    Both objects are found, and one more in between:

    >>> round(coco_ap([[1, 2, 0]], [[1, 2, 3]], scores=[0.9, 0.6, 0.8]), 3)
    0.835
    """
    limits = _check_thresholds(thresholds)
    images = _compare(true_instances, predicted_instances, ignore_index)
    of_images = _check_scores(scores, [len(pairs.in_void) for pairs in images])
    total = sum(pairs.true_count for pairs in images)
    if total == 0:
        return math.nan
    areas = []
    for limit in limits:
        right, value = [], []
        for pairs, given in zip(images, of_images, strict=True):
            hit = pairs.assign(given, limit)  # (predicted objects,)
            counted = hit | ~pairs.in_void
            right.append(hit[counted])
            value.append(given[counted])
        order = np.argsort(-np.concatenate(value), kind="stable")
        areas.append(_area(np.concatenate(right)[order], total))
    return float(np.mean(areas))


def _area(right: NDArray[np.bool_], total: int) -> float:
    """Average the precision at 101 recalls, of objects from the best score down."""
    found = np.cumsum(right)
    recall = found / total
    precision = found / np.arange(1, len(right) + 1)
    # At each recall, the best precision at that or a higher recall.
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(recall, _RECALLS, side="left")  # len(right): never
    return float(np.append(precision, 0.0)[reached].mean())


@dataclass(frozen=True)
class _Pairs:
    """The true and predicted objects of one image that overlap, and how much.

    Objects are counted from 0, in the order of their numbers.
    """

    true_count: int
    true: NDArray[np.intp]
    predicted: NDArray[np.intp]
    iou: NDArray[np.float64]
    in_void: NDArray[np.bool_]  # (predicted objects,): more than half of it is ignored

    def count_unmatched(self, found: NDArray[np.intp]) -> int:
        """Count the false positives, if these predicted objects are right."""
        free = ~self.in_void
        free[found] = False
        return int(free.sum())

    def assign(self, scores: NDArray[np.float64], limit: float) -> NDArray[np.bool_]:
        """Say which predicted objects are right; the best score chooses first.

        An IoU of exactly 0.5 is the one case with a choice: two predicted halves of a
        true object, or the other way around.
        """
        right, taken = np.zeros(len(scores), bool), set()
        candidates = np.flatnonzero(self.iou >= limit)
        for k in candidates[
            np.argsort(-scores[self.predicted[candidates]], kind="stable")
        ]:
            p, t = self.predicted[k], self.true[k]
            if not right[p] and t not in taken:
                right[p] = True
                taken.add(t)
        return right


def _compare(
    true_instances: Maps,
    predicted_instances: Maps,
    ignore_index: int | None,
) -> list[_Pairs]:
    """Find the overlapping objects of each image."""
    truths = _as_images(true_instances, "true_instances")
    predictions = _as_images(predicted_instances, "predicted_instances")
    shapes = [[image.shape for image in maps] for maps in (truths, predictions)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"true_instances has images of shape {shapes[0]} and predicted_instances "
            f"{shapes[1]}; they must be the same."
        )
    return [
        _overlaps(truth, prediction, ignore_index)
        for truth, prediction in zip(truths, predictions, strict=True)
    ]


def _overlaps(
    truth: NDArray[np.integer],
    prediction: NDArray[np.integer],
    ignore_index: int | None,
) -> _Pairs:
    void = (
        truth == ignore_index
        if ignore_index is not None
        else np.zeros_like(truth, bool)
    )
    truth = np.where(void, 0, truth)
    for name, labels in {"true": truth, "predicted": prediction}.items():
        if labels.min(initial=0) < 0:
            raise ValueError(
                f"{name}_instances has the number {labels.min()}; objects have numbers "
                "above 0, and 0 is where there is none."
            )
    t, true_count = _number(truth)  # (pixels,): 0 to count - 1, or -1 where none is
    p, count = _number(prediction)
    areas = np.bincount(t[t >= 0], minlength=true_count)
    outside = np.bincount(p[(p >= 0) & ~void.ravel()], minlength=count)
    inside = np.bincount(p[(p >= 0) & void.ravel()], minlength=count)
    both = (t >= 0) & (p >= 0)  # void has no true object
    pair, shared = np.unique(t[both] * count + p[both], return_counts=True)
    i, j = np.divmod(pair, max(count, 1))
    iou = shared / (areas[i] + outside[j] - shared)
    return _Pairs(true_count, i, j, iou, inside > outside)


def _number(labels: NDArray[np.integer]) -> tuple[NDArray[np.intp], int]:
    """Give objects the numbers 0, 1, ... in the order they had; no object is -1."""
    numbers, index = np.unique(
        np.append(labels.ravel(), labels.dtype.type(0)), return_inverse=True
    )
    return index[:-1] - 1, len(numbers) - 1  # 0, no object, is the smallest number


def _as_images(maps: Maps, name: str) -> list[NDArray[Any]]:
    """Give a list of maps (H, W) of integers."""
    single = np.ndim(maps[0]) == 1 if len(maps) else False
    images = [np.asarray(image) for image in ([maps] if single else maps)]
    for image in images:
        if image.ndim != 2 or image.dtype.kind not in "biu":
            raise ValueError(
                f"{name} has an image of shape {image.shape} and dtype {image.dtype}; "
                "it must be (H, W), integers."
            )
    return images


def _check_scores(
    scores: Sequence[float] | Sequence[Sequence[float]], counts: list[int]
) -> list[NDArray[np.float64]]:
    """Give the scores of each image, one for each of its predicted objects."""
    single = len(counts) == 1 and (len(scores) == 0 or np.ndim(scores[0]) == 0)
    lists = [np.asarray(row, np.float64) for row in ([scores] if single else scores)]
    got = [row.shape for row in lists]
    if got != [(count,) for count in counts] or any(
        np.isnan(row).any() for row in lists
    ):
        raise ValueError(
            f"scores has shapes {got}; it must have one number, not NaN, for each "
            f"predicted object: {counts} in the images."
        )
    return lists


def _check_thresholds(thresholds: Sequence[float]) -> list[float]:
    limits = [float(limit) for limit in thresholds]
    if not limits or not all(0.5 <= limit < 1 for limit in limits):
        raise ValueError(
            f"thresholds is {thresholds!r}; each must be at least 0.5, where matches "
            "are unique, and below 1."
        )
    return limits
