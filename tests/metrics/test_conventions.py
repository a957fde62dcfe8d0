"""Other libraries' rules: published numbers, and the libraries that are always here.

Against the libraries that seglab does not need, they are tested in tests/peers.
"""

import math
import warnings

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import jaccard_score

from seglab import metrics
from seglab.metrics import conventions

# Two images of 4 x 4 pixels. In each, one pixel of foreground is missed.
TRUTH = np.zeros((2, 4, 4), int)
PREDICTION = np.zeros((2, 4, 4), int)
TRUTH[0] = PREDICTION[0] = 1
PREDICTION[0, 0, 0] = 0
TRUTH[1, 3, 3] = 1


@pytest.fixture
def two_images():
    return metrics.confusion_matrix(TRUTH, PREDICTION, 2, per_image=True)


def test_five_numbers_for_the_same_two_images(two_images):
    """What the libraries print for TRUTH and PREDICTION, run once and noted."""
    printed = {
        "Keras 3.15.1, MeanIoU": 0.882,
        "torchmetrics 1.9.0, JaccardIndex, macro": 0.882,
        "torchmetrics 1.9.0, segmentation.MeanIoU": 0.469,
        "segmentation-models-pytorch 0.6.0, iou_score, macro": 0.882,
        "segmentation-models-pytorch 0.6.0, iou_score, macro-imagewise": 0.469,
        "MONAI 1.6.1, MeanIoU, mean": 0.703,
    }
    for name, value in printed.items():
        assert round(conventions.RULES[name](two_images), 3) == value, name
    by_class = conventions.monai_iou(two_images, "mean_batch")
    np.testing.assert_allclose(by_class, [0.9375, 0.46875])


def test_by_hand(two_images):
    # All images together: 15 of 17 pixels in both, for either class.
    assert conventions.pooled_mean_iou(two_images) == 15 / 17
    # Each image: 0 and 15/16; MONAI leaves out the background that image 0 lacks.
    assert conventions.torchmetrics_mean_iou(two_images) == 15 / 32
    assert conventions.monai_iou(two_images) == (15 / 16 + 15 / 32) / 2
    assert conventions.smp_iou(two_images, "micro") == 30 / 34
    assert conventions.smp_iou(two_images, "micro-imagewise") == 15 / 17
    # Foreground alone: 15/16 and 0.
    assert conventions.nnunet_iou(two_images) == 15 / 32


@st.composite
def stacks(draw):
    N, C = draw(st.integers(1, 3)), draw(st.integers(2, 3))
    counts = st.sampled_from([0, 0, 1, 2, 7])
    return draw(arrays(np.int64, (N, C, C), elements=counts))


def labels_of(stack):
    """Labels whose confusion matrix is that: all images in one list."""
    total = stack.sum(axis=0).ravel()
    pair = np.repeat(np.arange(total.size), total)
    return np.divmod(pair, stack.shape[-1])


@settings(max_examples=30)
@given(stacks())
def test_scikit_learn(stack):
    truth, prediction = labels_of(stack)
    got = conventions.pooled_mean_iou(stack)
    if truth.size == 0:
        assert math.isnan(got)
    else:
        expected = jaccard_score(truth, prediction, average="macro", zero_division=0)
        assert got == pytest.approx(expected)


@settings(max_examples=15)
@given(stacks())
def test_keras(stack):
    truth, prediction = labels_of(stack)
    theirs = keras.metrics.MeanIoU(stack.shape[-1])
    if truth.size:
        theirs.update_state(truth, prediction)
    # atol: Keras computes in float32 and adds 1e-7 to each denominator.
    expected = pytest.approx(float(theirs.result()), abs=1e-6)
    assert conventions.keras_mean_iou(stack) == expected


@settings(max_examples=30)
@given(stacks())
def test_rules_agree_where_nothing_is_absent(stack):
    """The same image N times, with all classes: only the choice of classes is left."""
    stack = np.repeat(stack[:1] + 1, 3, axis=0)
    same = metrics.mean_iou(stack.sum(axis=0))
    foreground = metrics.iou(stack.sum(axis=0))[1:].mean()
    for name, rule in conventions.RULES.items():
        if "micro" not in name:
            expected = foreground if "foreground" in name else same
            assert rule(stack) == pytest.approx(expected), name


def test_nothing_counted_and_classes_never_seen():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        empty = np.zeros((2, 2, 2), int)
        got = [rule(empty) for rule in conventions.RULES.values()]
        nan = math.nan
        np.testing.assert_array_equal(got, [0, nan, nan, nan, 1, 1, 0, nan, nan, nan])
        perfect = np.array([[[3, 0, 0], [0, 4, 0], [0, 0, 0]]])  # class 2 is nowhere
        for name, rule in conventions.RULES.items():
            assert rule(perfect) == 1 or (math.isnan(rule(perfect)) and "nnU" in name)
        assert math.isnan(conventions.nnunet_iou(np.ones((2, 1, 1), int)))


def test_an_invented_class_costs_nothing_at_monai_alone():
    invented = np.array([[[6, 2], [0, 0]]])
    assert conventions.monai_iou(invented) == 0.75
    assert conventions.pooled_mean_iou(invented) == 0.375


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: conventions.smp_iou(m, "weighted"), "reduction is 'weighted'"),
        (lambda m: conventions.monai_iou(m, "sum"), "reduction is 'sum'"),
        (lambda m: conventions.pooled_mean_iou(m[0]), r"must be \(N, C, C\)"),
    ],
)
def test_bad_input_is_refused(call, message, two_images):
    with pytest.raises(ValueError, match=message):
        call(two_images)
