"""The overlap metrics against a loop, scikit-learn, identities and published rules."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn import metrics as sklearn_metrics

from seglab import metrics
from seglab.metrics import confusion_matrix, overlap

few = settings(max_examples=40)
IGNORE = 255
OF_CLASSES = ("dice", "f1", "iou", "precision", "recall")
OF_ALL = ("cohen_kappa", "fw_iou", "mean_accuracy", "mean_iou", "pixel_accuracy")


def brute_force(truth, prediction, num_classes, ignore_index=None):
    """The definition, one pixel at a time."""
    matrix = np.zeros((num_classes, num_classes), np.int64)
    for t, p in zip(np.ravel(truth), np.ravel(prediction), strict=True):
        if ignore_index is None or t != ignore_index:
            matrix[int(t), int(p)] += 1
    return matrix


@st.composite
def label_pairs(draw):
    """Two label maps of one shape, odd sizes and absent classes included."""
    num_classes = draw(st.integers(1, 5))
    shape = draw(array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6))
    used = draw(st.integers(1, num_classes))  # classes from here on are absent
    dtype = draw(st.sampled_from([np.uint8, np.int32, np.int64, np.float32]))
    labels = st.integers(0, used - 1)
    truth_labels = st.one_of(labels, st.just(IGNORE)) if draw(st.booleans()) else labels
    truth = draw(arrays(dtype, shape, elements=truth_labels))
    prediction = draw(arrays(dtype, shape, elements=labels))
    return truth, prediction, num_classes


@few
@given(label_pairs())
def test_matrix_equals_a_loop_over_pixels(pair):
    truth, prediction, num_classes = pair
    matrix = confusion_matrix(truth, prediction, num_classes, IGNORE)
    assert matrix.dtype == np.int64
    assert matrix.shape == (num_classes, num_classes)
    expected = brute_force(truth, prediction, num_classes, IGNORE)
    np.testing.assert_array_equal(matrix, expected)
    assert matrix.sum() == np.count_nonzero(truth != IGNORE)


@few
@given(label_pairs(), st.integers(1, 40))
def test_blocks_change_nothing(pair, block):
    truth, prediction, num_classes = pair
    expected = confusion_matrix(truth, prediction, num_classes, IGNORE, per_image=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "_BLOCK", block)
        got = confusion_matrix(truth, prediction, num_classes, IGNORE, per_image=True)
    np.testing.assert_array_equal(got, expected)


@few
@given(label_pairs())
def test_matrices_of_images_are_a_loop_over_images_and_add_up(pair):
    truth, prediction, num_classes = pair
    stack = confusion_matrix(truth, prediction, num_classes, IGNORE, per_image=True)
    assert stack.shape == (len(truth), num_classes, num_classes)
    for one, t, p in zip(stack, truth, prediction, strict=True):
        np.testing.assert_array_equal(one, brute_force(t, p, num_classes, IGNORE))
    total = confusion_matrix(truth, prediction, num_classes, IGNORE)
    np.testing.assert_array_equal(stack.sum(axis=0), total)


@few
@given(label_pairs())
def test_metrics_of_a_stack_are_those_of_each_matrix(pair):
    truth, prediction, num_classes = pair
    stack = confusion_matrix(truth, prediction, num_classes, IGNORE, per_image=True)
    for name in (*OF_CLASSES, *OF_ALL):
        metric = getattr(metrics, name)
        together = metric(stack)
        for one, matrix in zip(together, stack, strict=True):
            np.testing.assert_array_equal(one, metric(matrix), err_msg=name)


@few
@given(label_pairs())
def test_per_class_metrics_equal_scikit_learn(pair):
    truth, prediction, num_classes = pair
    kept = truth != IGNORE
    matrix = confusion_matrix(truth, prediction, num_classes, IGNORE)
    if not kept.any():
        for name in ("iou", "dice", "precision", "recall"):
            assert np.isnan(getattr(metrics, name)(matrix)).all()
        return
    options = {"labels": range(num_classes), "average": None}
    pairs = [
        (metrics.precision, sklearn_metrics.precision_score, np.nan),
        (metrics.recall, sklearn_metrics.recall_score, np.nan),
        (metrics.f1, sklearn_metrics.f1_score, np.nan),
        (metrics.dice, sklearn_metrics.f1_score, np.nan),
        # jaccard_score takes no NaN for 0/0: compare where it is defined.
        (metrics.iou, sklearn_metrics.jaccard_score, 0),
    ]
    for ours, theirs, zero in pairs:
        expected = theirs(truth[kept], prediction[kept], zero_division=zero, **options)
        got = ours(matrix)
        if ours is metrics.iou:
            empty = matrix.sum(axis=0) + matrix.sum(axis=1) == 0
            assert np.isnan(got[empty]).all()
            got, expected = got[~empty], expected[~empty]
        # Both divide the same integers once; the last bit may differ in f1.
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    np.testing.assert_allclose(
        metrics.pixel_accuracy(matrix),
        sklearn_metrics.accuracy_score(truth[kept], prediction[kept]),
        rtol=1e-12,
    )


@few
@given(label_pairs())
def test_identities_between_metrics(pair):
    truth, prediction, num_classes = pair
    matrix = confusion_matrix(truth, prediction, num_classes, IGNORE)
    jaccard, dice = metrics.iou(matrix), metrics.dice(matrix)
    # rtol: a few roundings of float64.
    np.testing.assert_allclose(dice, 2 * jaccard / (1 + jaccard), rtol=1e-12)
    np.testing.assert_array_equal(np.isnan(jaccard), np.isnan(dice))
    # Swapping truth and prediction swaps precision and recall, and no overlap.
    swapped = matrix.T
    np.testing.assert_array_equal(metrics.precision(swapped), metrics.recall(matrix))
    np.testing.assert_array_equal(metrics.iou(swapped), jaccard)
    for value in (jaccard, dice, metrics.fw_iou(matrix), metrics.mean_iou(matrix)):
        assert np.isnan(value).all() or np.nanmin(value) >= 0
        assert np.isnan(value).all() or np.nanmax(value) <= 1 + 1e-12


@few
@given(label_pairs())
def test_the_metrics_of_long_et_al_equal_their_code(pair):
    """score.py of the FCN authors, written out: hist, then four numbers."""
    truth, prediction, num_classes = pair
    hist = brute_force(truth, prediction, num_classes, IGNORE)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing
        acc = np.diag(hist).sum() / hist.sum()
        accs = np.diag(hist) / hist.sum(1)
        iu = np.diag(hist) / (hist.sum(1) + hist.sum(0) - np.diag(hist))
        freq = hist.sum(1) / hist.sum()
        fw = (freq[freq > 0] * iu[freq > 0]).sum() if hist.sum() else np.nan
        expected = [acc, np.nanmean(accs), np.nanmean(iu), fw]
    got = [
        metrics.pixel_accuracy(hist),
        metrics.mean_accuracy(hist),
        metrics.mean_iou(hist),
        metrics.fw_iou(hist),
    ]
    assert all(type(value) is float for value in got)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@few
@given(label_pairs())
def test_kappa_equals_scikit_learn(pair):
    truth, prediction, num_classes = pair
    kept = truth != IGNORE
    matrix = confusion_matrix(truth, prediction, num_classes, IGNORE)
    labels = np.unique([truth[kept], prediction[kept]])
    if labels.size < 2:  # nothing, or one class: chance agrees fully, too
        assert np.isnan(metrics.cohen_kappa(matrix))
        return
    expected = sklearn_metrics.cohen_kappa_score(truth[kept], prediction[kept])
    # atol: 1 - p_o and 1 - p_e are differences of numbers near 1.
    np.testing.assert_allclose(metrics.cohen_kappa(matrix), expected, atol=1e-12)


def test_kappa_of_cohens_own_table():
    """Table 1 of Cohen (1960): three categories, shares in percent, kappa 0.492."""
    shares = [[44, 5, 1], [7, 20, 3], [9, 5, 6]]
    assert metrics.cohen_kappa(shares) == pytest.approx(0.492, abs=5e-4)


def test_absent_and_invented_classes():
    # Class 2 is nowhere: no IoU. Class 1 is invented: IoU 0, not left out.
    matrix = confusion_matrix([0, 0, 0, 0], [0, 0, 0, 1], 3)
    np.testing.assert_array_equal(metrics.iou(matrix), [0.75, 0.0, np.nan])
    assert metrics.mean_iou(matrix) == 0.375
    # Found nothing of class 1: its precision is undefined, its recall 0.
    matrix = confusion_matrix([0, 1], [0, 0], 2)
    assert np.isnan(metrics.precision(matrix)[1])
    assert metrics.recall(matrix)[1] == 0


def test_perfect_prediction_of_a_set_with_an_absent_class_scores_one():
    matrix = confusion_matrix([0, 1, 1], [0, 1, 1], 4)
    assert metrics.mean_iou(matrix) == metrics.fw_iou(matrix) == 1.0


def test_ignored_pixels_are_chosen_by_the_truth_alone():
    truth = np.array([0, 1, IGNORE, IGNORE])
    # Whatever stands under an ignored pixel is not looked at, not even checked.
    clean = confusion_matrix(truth, np.array([0, 1, 0, 0]), 2, IGNORE)
    wild = confusion_matrix(truth, np.array([0, 1, IGNORE, -7]), 2, IGNORE)
    np.testing.assert_array_equal(clean, wild)
    # A prediction of the ignore label where the truth counts is an error.
    with pytest.raises(ValueError, match=r"y_pred has labels that are no class: 255"):
        confusion_matrix(truth, np.array([0, IGNORE, 0, 0]), 2, IGNORE)


def test_everything_ignored_or_empty_is_nan_and_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for truth in (np.full((2, 3), IGNORE), np.zeros((0, 3), int)):
            matrix = confusion_matrix(truth, np.zeros_like(truth), 2, IGNORE)
            assert not matrix.any()
            assert np.isnan(metrics.mean_iou(matrix))
            assert np.isnan(metrics.mean_accuracy(matrix))
            assert np.isnan(metrics.pixel_accuracy(matrix))
            assert np.isnan(metrics.fw_iou(matrix))


def test_booleans_whole_floats_and_lists_are_labels():
    truth = [[True, False]]
    assert confusion_matrix(truth, [[1.0, 1.0]], 2).tolist() == [[0, 1], [0, 1]]
    assert confusion_matrix(1, 0, 2).tolist() == [[0, 0], [1, 0]]


def test_unsigned_bytes_do_not_wrap_around():
    # 21 * 20 + 20 does not fit into uint8, the type that masks are often read as.
    matrix = confusion_matrix(np.full(9, 20, np.uint8), np.full(9, 20, np.uint8), 21)
    assert matrix[20, 20] == 9


INTEGERS = ["?", "u1", "i1", "u2", "<i4", ">i4", "u4", "i8", "u8"]


@pytest.mark.parametrize("other", INTEGERS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_every_pair_of_integer_types_counts_alike(dtype, other):
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 2, (2, 3, 50))
    expected = brute_force(truth, prediction, 2)
    got = confusion_matrix(truth.astype(dtype), prediction.astype(other), 2)
    np.testing.assert_array_equal(got, expected)
    # Also where the pixels are not next to each other in memory.
    got = confusion_matrix(truth.astype(dtype).T, prediction.astype(other).T, 2)
    np.testing.assert_array_equal(got, expected)


def test_more_classes_than_the_labels_type_has_numbers():
    labels = np.arange(256, dtype=np.uint8)
    matrix = confusion_matrix(labels, labels, 300, ignore_index=7)
    np.testing.assert_array_equal(np.diag(matrix)[:256], labels != 7)
    assert matrix.sum() == 255


def test_class_zero_and_a_negative_label_can_be_ignored():
    truth, prediction = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0])
    assert confusion_matrix(truth, prediction, 2, 0).tolist() == [[0, 0], [1, 1]]
    truth = np.where(truth == 0, -1, truth)
    assert confusion_matrix(truth, prediction, 2, -1).tolist() == [[0, 0], [1, 1]]


def test_wrong_labels_are_counted_in_the_whole_array(monkeypatch):
    monkeypatch.setattr(overlap, "_BLOCK", 4)
    truth = np.array([0, 0, 5, 0, 0, 5, 9, 0, 0])
    with pytest.raises(
        ValueError, match=r"y_true .*: 5 \(2 pixels\), 9 \(1 pixels\)\."
    ):
        confusion_matrix(truth, np.zeros(9, int), 2)
    # Labels under ignored pixels are not among them, not even fractions.
    with pytest.raises(ValueError, match=r"y_pred .*: 7 \(1 pixels\)\."):
        confusion_matrix([0, 255, 1], [7, 7, 1], 2, IGNORE)
    matrix = confusion_matrix([0, 255, 1], [0.0, np.nan, 1.0], 2, IGNORE)
    assert matrix.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([0, 1], [0, 1, 1], r"shape \(2,\) and y_pred \(3,\)"),
        ([0, 1], [[0.9, 0.1], [0.2, 0.8]], r"argmax\(axis=-1\)"),
        ([[0, 1]], [[[0.9], [0.2]]], r"y_pred\[\.\.\., 0\] > 0\.5"),
        ([[[1, 0], [0, 1]]], [[0, 1]], r"one-hot.*y_true\.argmax"),
        ([[[1], [0]]], [[0, 1]], r"y_true\[\.\.\., 0\]"),
        ([0, 1], [0.3, 0.9], r"y_pred holds 0\.3, which is no class number"),
        ([0.5, 1], [0, 1], r"y_true holds 0\.5.*nearest neighbor"),
        ([np.nan, 1], [0, 1], r"y_true holds nan"),
        ([np.inf, 1], [0, 1], r"y_true holds inf"),
        ([-1, -1, 1], [0, 0, 1], r"y_true has labels that are no class: -1 \(2 pix"),
        ([0, 255], [0, 1], r"255 \(1 pixels\).*ignore_index=255"),
        ([0, 1], [0, 2], r"y_pred has labels that are no class: 2 \(1 pixels\)"),
        ([0, 1], ["cell", "cell"], r"dtype <U4"),
    ],
)
def test_what_is_no_label_map_is_refused_with_the_fix(truth, prediction, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(truth, prediction, 2)


def test_single_numbers_are_no_images():
    with pytest.raises(ValueError, match=r"first axis of images, \(N, \.\.\.\)"):
        confusion_matrix(1, 0, 2, per_image=True)


@pytest.mark.parametrize("num_classes", [0, -1, 2.0, True, None])
def test_num_classes_must_be_a_positive_int(num_classes):
    with pytest.raises(ValueError, match="num_classes"):
        confusion_matrix([0], [0], num_classes)


@pytest.mark.parametrize("matrix", [[1, 2], [[1, 2]], 3])
def test_metrics_refuse_what_is_no_confusion_matrix(matrix):
    for name in (*OF_CLASSES, *OF_ALL):
        with pytest.raises(ValueError, match="a confusion matrix is"):
            getattr(metrics, name)(matrix)


def test_import_loads_no_deep_learning_backend():
    import subprocess
    import sys

    code = (
        "import sys, seglab.metrics, seglab.report; "
        "assert not {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_a_narrow_matrix_does_not_wrap_round(dtype):
    """Other libraries count in 32 bits; twice a count must not become negative."""
    largest = np.iinfo(dtype).max
    matrix = np.array([[largest - 5, 3], [2, largest // 2]], dtype)
    wide = matrix.astype(np.int64)
    names = ("iou", "dice", "precision", "recall", "pixel_accuracy", "mean_iou")
    for name in names:
        metric = getattr(metrics, name)
        np.testing.assert_array_equal(metric(matrix), metric(wide), err_msg=name)
    hit, total = int(wide[0, 0]), int(wide[0].sum() + wide[:, 0].sum())
    assert metrics.dice(matrix)[0] == pytest.approx(2 * hit / total, rel=1e-15)
