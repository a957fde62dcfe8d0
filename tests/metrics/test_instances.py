"""Objects against a loop over all pairs of them, and the definitions written out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from seglab.metrics import coco_ap, dsb2018_score, panoptic_quality

few = settings(max_examples=40)
VOID = 99
TEN = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]


@st.composite
def instance_pairs(draw, void=False):
    """A true map, and a prediction that often agrees with it."""
    shape = draw(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=5))
    ids = st.sampled_from([0, 0, 3, 5, 6])
    truth = draw(arrays(np.int64, shape, elements=ids))
    other = draw(arrays(np.int64, shape, elements=ids))
    kept = draw(arrays(bool, shape, elements=st.sampled_from([True, True, False])))
    prediction = np.where(kept, truth, other)
    if void:
        hidden = draw(arrays(bool, shape, elements=st.sampled_from([True, False])))
        truth = np.where(hidden, VOID, truth)
    return truth, prediction


def brute_ious(truth, prediction, void=None):
    """IoU of every pair of objects, the void's pixels taken out of both."""
    out = truth == void
    trues = [i for i in np.unique(truth) if i not in (0, void)]
    preds = [j for j in np.unique(prediction) if j != 0]
    ious = np.zeros((len(trues), len(preds)))
    for a, i in enumerate(trues):
        for b, j in enumerate(preds):
            t, p = (truth == i) & ~out, (prediction == j) & ~out
            ious[a, b] = (t & p).sum() / (t | p).sum()
    lost = [out[prediction == j].mean() > 0.5 for j in preds]
    return ious, np.array(lost, bool)


def brute_counts(ious, lost, passes):
    """TP, FP and FN of pairs that pass; of them, at most one for each object."""
    matched = passes(ious)
    assert (matched.sum(axis=0) <= 1).all()
    assert (matched.sum(axis=1) <= 1).all()
    tp = int(matched.sum())
    fp = int((~matched.any(axis=0) & ~lost).sum())
    return tp, fp, len(ious) - tp


@few
@given(instance_pairs(), st.booleans())
def test_an_iou_above_one_half_matches_only_once(pair, swap):
    """Theorem 1 of Kirillov et al. (2019), which makes matching trivial."""
    ious, _ = brute_ious(*(pair[::-1] if swap else pair))
    assert ((ious > 0.5).sum(axis=0) <= 1).all()
    assert ((ious > 0.5).sum(axis=1) <= 1).all()


@few
@given(st.booleans().flatmap(instance_pairs))
def test_panoptic_quality_is_equation_1(pair):
    quality = panoptic_quality(*pair, VOID)
    ious, lost = brute_ious(*pair, VOID)
    tp, fp, fn = brute_counts(ious, lost, lambda iou: iou > 0.5)
    assert (quality.tp, quality.fp, quality.fn) == (tp, fp, fn)
    if tp + fp + fn == 0:
        assert math.isnan(quality.pq)
        assert math.isnan(quality.rq)
        return
    total = ious[ious > 0.5].sum()
    assert quality.pq == pytest.approx(total / (tp + fp / 2 + fn / 2))
    assert quality.rq == pytest.approx(2 * tp / (2 * tp + fp + fn))
    if tp:
        assert quality.sq == pytest.approx(total / tp)
        assert quality.pq == pytest.approx(quality.sq * quality.rq)
    else:
        assert math.isnan(quality.sq)
        assert quality.pq == 0


@few
@given(st.booleans().flatmap(instance_pairs))
def test_dsb_score_is_the_definition_written_out(pair):
    ious, lost = brute_ious(*pair, VOID)
    scores = []
    for threshold in TEN:
        counts = brute_counts(ious, lost, lambda iou, t=threshold: iou > t)
        scores.append(counts[0] / sum(counts) if sum(counts) else math.nan)
    np.testing.assert_allclose(dsb2018_score(*pair, VOID), np.mean(scores), atol=1e-12)


def test_dsb_score_averages_images_and_leaves_empty_ones_out():
    perfect = np.array([[1, 0, 2]])
    nothing = np.zeros_like(perfect)
    truth = [perfect, nothing, perfect]
    prediction = [perfect, nothing, nothing]
    assert dsb2018_score(truth, prediction) == 0.5
    assert math.isnan(dsb2018_score([nothing], [nothing]))
    assert math.isnan(dsb2018_score([], []))
    # One threshold: an IoU of 3/4 passes 0.7, and is not more than 0.75.
    truth, prediction = [[1, 1, 1, 1]], [[4, 4, 4, 0]]
    assert dsb2018_score(truth, prediction, thresholds=[0.7]) == 1
    assert dsb2018_score(truth, prediction, thresholds=[0.75]) == 0


def test_counts_of_images_add_up_and_numbers_do_not_matter():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, (3, 6, 7))
    prediction = np.where(rng.random(truth.shape) < 0.8, truth, 0)
    whole = panoptic_quality(truth, prediction)
    parts = [panoptic_quality(t, p) for t, p in zip(truth, prediction, strict=True)]
    total = parts[0] + parts[1] + parts[2]
    assert (total.tp, total.fp, total.fn) == (whole.tp, whole.fp, whole.fn)
    assert total.pq == pytest.approx(whole.pq)
    renamed = np.array([0, 70, 2, 9], np.uint8)[prediction]
    assert panoptic_quality(truth, renamed) == whole
    # Images of several sizes, in a list.
    assert panoptic_quality([truth[0], truth[1, :3]], [truth[0], truth[1, :3]]).pq == 1


def test_an_object_in_the_void_is_no_false_positive_unless_half_of_it_is_out():
    truth = np.array([[VOID, VOID, 0, 0]])
    assert panoptic_quality(truth, [[1, 1, 1, 0]], VOID).fp == 0
    assert panoptic_quality(truth, [[0, 1, 1, 0]], VOID).fp == 1  # exactly half
    # Pixels in the void do not count in the IoU either.
    truth = np.array([[VOID, VOID, VOID, 2, 2]])
    assert panoptic_quality(truth, [[7, 7, 7, 7, 7]], VOID).pq == 1


# COCO


def brute_ap(images, threshold):
    """Average precision by the definition: a list of objects, best score first."""
    total = sum(len(ious) for ious, _, _ in images)
    rows = []
    for ious, lost, scores in images:
        free = set(range(len(ious)))
        for p in sorted(range(len(scores)), key=lambda p: -scores[p]):
            best = max(free, key=lambda t: ious[t, p], default=None)
            hit = best is not None and ious[best, p] >= threshold
            if hit:
                free.discard(best)
            if hit or not lost[p]:
                rows.append((scores[p], hit))
    rows.sort(key=lambda row: -row[0])
    points = []
    for n in range(1, len(rows) + 1):
        tp = sum(hit for _, hit in rows[:n])
        points.append((tp / total, tp / n))
    precisions = [
        max((p for r, p in points if r >= recall), default=0)
        for recall in np.linspace(0, 1, 101)
    ]
    return np.mean(precisions)


@few
@given(
    st.lists(st.booleans().flatmap(instance_pairs), min_size=1, max_size=3),
    st.sampled_from([0.5, 0.6, 0.75]),
    st.randoms(use_true_random=False),
)
def test_coco_ap_equals_the_definition(pairs, threshold, random):
    images, scores = [], []
    for truth, prediction in pairs:
        ious, lost = brute_ious(truth, prediction, VOID)
        values = list(range(ious.shape[1]))  # different scores in one image
        random.shuffle(values)
        scores.append([value + 0.1 * len(scores) for value in values])
        images.append((ious, lost, scores[-1]))
    got = coco_ap(
        [t for t, _ in pairs],
        [p for _, p in pairs],
        scores,
        VOID,
        thresholds=[threshold],
    )
    if sum(len(ious) for ious, _, _ in images) == 0:
        assert math.isnan(got)
    else:
        assert got == pytest.approx(brute_ap(images, threshold))


def test_coco_ap_by_hand():
    truth = [[1, 1, 0, 2, 2, 0, 3, 3]]
    prediction = [[1, 1, 0, 2, 2, 5, 0, 0]]
    # Right, wrong, right: precision 1, then 2/3, to a recall of 2/3.
    scores = [0.9, 0.7, 0.8]  # of objects 1, 2 and 5
    expected = (34 * 1 + 33 * 2 / 3) / 101  # recalls 0 to 0.33, then to 0.66
    assert coco_ap(truth, prediction, scores) == pytest.approx(expected)
    # Only the order of the scores matters.
    assert coco_ap(truth, prediction, [-1, -9, -5]) == pytest.approx(expected)
    assert coco_ap(truth, truth, [1, 1, 1]) == 1
    assert coco_ap(truth, [[0] * 8], []) == 0


@pytest.mark.parametrize("flip", [False, True])
def test_a_match_of_exactly_one_half_goes_to_the_better_score(flip):
    truth, prediction = [[1, 1]], [[1, 2]]  # two halves, IoU 0.5 each
    scores = [0.2, 0.9] if flip else [0.9, 0.2]
    # Precision 1 at once, then a false positive below it.
    assert coco_ap(truth, prediction, scores, thresholds=[0.5]) == 1
    assert coco_ap(prediction, truth, [0.5], thresholds=[0.5]) == pytest.approx(
        51 / 101
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: panoptic_quality([[1]], [[1, 2]]),
            r"true_instances has images of shape",
        ),
        (lambda: panoptic_quality([[1]], [[[1]], [[1]]]), "must be the same"),
        (lambda: panoptic_quality([[0.5]], [[1]]), "dtype float64"),
        (
            lambda: panoptic_quality([[1]], [[-1]]),
            "predicted_instances has the number -1",
        ),
        (
            lambda: panoptic_quality([[-2]], [[1]], -1),
            "true_instances has the number -2",
        ),
        (
            lambda: panoptic_quality(np.ones((1, 1, 1, 1), int), [[1]]),
            r"must be \(H, W\)",
        ),
        (lambda: dsb2018_score([[1]], [[1]], thresholds=[0.4]), r"at least 0\.5"),
        (lambda: dsb2018_score([[1]], [[1]], thresholds=[1.0]), "below 1"),
        (lambda: dsb2018_score([[1]], [[1]], thresholds=[]), "thresholds is"),
        (lambda: coco_ap([[1]], [[1]], [0.5, 0.6]), r"scores has shapes \[\(2,\)\]"),
        (lambda: coco_ap([[1]], [[1]], [np.nan]), "not NaN"),
        (lambda: coco_ap([[[1]], [[1]]], [[[1]], [[1]]], [[0.5]]), "scores has shapes"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_negative_ignore_index_is_allowed():
    assert panoptic_quality([[-1, 1]], [[1, 1]], -1).pq == 1


def test_large_numbers_of_objects_stay_apart():
    """Numbers that only 64 bits tell apart, as a hash would give."""
    labels = np.array([[2**53, 2**53 + 1, 0]], np.uint64)
    assert panoptic_quality(labels, labels).tp == 2


def test_an_iou_of_exactly_the_threshold_is_no_match():
    """As the Bowl has it; Cellpose and StarDist would match."""
    assert dsb2018_score([[1, 1]], [[1, 0]], thresholds=[0.5]) == 0.0
