"""Calibration against a loop over pixels, and against cases with a known answer."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seglab.metrics import expected_calibration_error, reliability


def brute_force(probabilities, truth, bins, ignore_index=None):
    """The definition, one pixel at a time: counts, right ones, sums of confidence."""
    table = np.zeros((3, bins))
    for p, t in zip(probabilities, truth, strict=True):
        if t == ignore_index:
            continue
        confidence, label = max(
            zip(p.tolist(), [-k for k in range(len(p))], strict=True)
        )
        m = 0
        while m < bins - 1 and confidence > np.linspace(0, 1, bins + 1)[m + 1]:
            m += 1
        table[:, m] += 1, -label == t, confidence
    return table


@st.composite
def predictions(draw):
    n, C = draw(st.integers(0, 12)), draw(st.integers(2, 4))
    weights = draw(arrays(np.float64, (n, C), elements=st.integers(0, 5)))
    weights += 1e-3 * np.eye(C)[0]  # no pixel without any
    truth = draw(arrays(np.int64, n, elements=st.sampled_from([*range(C), 255])))
    return weights / weights.sum(axis=1, keepdims=True), truth


@settings(max_examples=40)
@given(predictions(), st.integers(1, 20))
def test_table_and_error_equal_a_loop_over_pixels(pair, bins):
    probabilities, truth = pair
    table = reliability(probabilities, truth, bins, 255)
    counts, right, total = brute_force(probabilities, truth, bins, 255)
    np.testing.assert_array_equal(table.counts, counts)
    np.testing.assert_array_equal(table.correct, right)
    np.testing.assert_allclose(table.total_confidence, total, atol=1e-12)
    n = counts.sum()
    if n == 0:
        assert math.isnan(table.error)
        return
    used = counts > 0
    accuracy, confidence = right[used] / counts[used], total[used] / counts[used]
    np.testing.assert_allclose(table.accuracy[used], accuracy)
    np.testing.assert_allclose(table.confidence[used], confidence)
    assert np.isnan(table.accuracy[~used]).all()
    assert np.isnan(table.confidence[~used]).all()
    expected = (counts[used] / n * abs(accuracy - confidence)).sum()
    error = expected_calibration_error(probabilities, truth, bins, 255)
    assert error == table.error == pytest.approx(expected, abs=1e-12)
    # The confidence of a bin lies in the bin.
    assert (table.confidence[used] <= table.edges[1:][used] + 1e-12).all()
    assert (table.confidence[used] >= table.edges[:-1][used] - 1e-12).all()


@settings(max_examples=20)
@given(predictions(), st.integers(0, 12))
def test_batches_add_up(pair, cut):
    probabilities, truth = pair
    whole = reliability(probabilities, truth, 10, 255)
    parts = [
        reliability(probabilities[part], truth[part], 10, 255)
        for part in (slice(None, cut), slice(cut, None))
    ]
    both = parts[0] + parts[1]
    np.testing.assert_array_equal(both.counts, whole.counts)
    np.testing.assert_array_equal(both.correct, whole.correct)
    np.testing.assert_allclose(both.total_confidence, whole.total_confidence)


def test_labels_drawn_from_the_probabilities_are_calibrated():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], size=(100, 400))  # (H, W, C)
    chosen = rng.random((100, 400, 1)) < probabilities.cumsum(axis=-1)
    truth = chosen.argmax(axis=-1)
    # 15 bins of 40000 pixels: the gaps that chance leaves add up to about 0.006.
    assert expected_calibration_error(probabilities, truth) < 0.015
    # Sharpened, the same labels are over-confident.
    sharp = probabilities**4 / (probabilities**4).sum(axis=-1, keepdims=True)
    table = reliability(sharp, truth)
    assert table.error > 0.15
    assert table.confidence[-1] > table.accuracy[-1]


def test_always_sure_has_the_error_rate_as_its_error():
    truth = np.array([0, 1, 1, 1])
    sure = np.eye(2)[[0, 0, 1, 1]]
    assert expected_calibration_error(sure, truth) == 0.25
    table = reliability(sure, truth, bins=4)
    assert table.counts.tolist() == [0, 0, 0, 4]  # 1 is in the last bin


def test_confidence_on_an_edge_is_in_the_bin_below():
    table = reliability([[0.5, 0.5], [0.25, 0.75]], [0, 1], bins=4)
    assert table.counts.tolist() == [0, 1, 1, 0]


def test_half_precision_and_whole_numbers_are_probabilities():
    half = np.full((5, 3), 1 / 3, np.float16)
    assert reliability(half, [0, 1, 2, 0, 1]).counts.sum() == 5
    assert reliability([[1, 0]], [0]).error == 0


@pytest.mark.parametrize(
    ("probabilities", "truth", "options", "message"),
    [
        ([[2.0, -1.0]], [0], {}, r"from -1 to 2.*softmax"),
        ([[np.nan, 1.0]], [0], {}, "from nan to nan"),
        ([[0.4, 0.4]], [0], {}, r"add up to 0\.8"),
        ([[0.9], [0.2]], [0, 1], {}, r"np\.stack\(\[1 - p, p\]"),
        (0.5, 0, {}, r"must be \(\.\.\., C\)"),
        ([[0.9, 0.1]], [0, 1], {}, r"shape \(1, 2\) and y_true \(2,\)"),
        ([[0.9, 0.1]], [2], {}, "y_true has labels that are no class: 2"),
        ([[0.9, 0.1]], [0], {"bins": 0}, "bins is 0"),
        ([[0.9, 0.1]], [0], {"bins": 2.5}, r"bins is 2\.5"),
    ],
)
def test_what_is_no_probability_is_refused(probabilities, truth, options, message):
    with pytest.raises(ValueError, match=message):
        reliability(probabilities, truth, **options)


def test_different_bins_do_not_add_up():
    with pytest.raises(ValueError, match="10 bins and the other 5"):
        reliability([[0.9, 0.1]], [0], 10) + reliability([[0.9, 0.1]], [0], 5)


def test_what_is_predicted_at_ignored_pixels_is_not_looked_at():
    probabilities = [[math.nan, math.nan], [0.9, 0.1], [7.0, 7.0]]
    table = reliability(probabilities, [255, 0, 255], bins=5, ignore_index=255)
    assert table.counts.tolist() == [0, 0, 0, 0, 1]
    with pytest.raises(ValueError, match="values from nan"):
        reliability(probabilities, [0, 0, 255], ignore_index=255)


def test_a_whole_float_of_bins_will_do():
    assert len(reliability([[0.9, 0.1]], [0], bins=15.0).counts) == 15
