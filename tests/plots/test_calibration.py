"""Reliability diagrams: bars where the numbers say, and the error of all of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seglab.plots import alt_text, reliability_diagram


def table(confidence, right, bins=10):
    """Mean confidence, accuracy and number of pixels in each bin, pixel by pixel."""
    members = [[] for _ in range(bins)]
    for c, r in zip(confidence, right, strict=True):
        members[min(int(c * bins), bins - 1)].append((c, r))
    means = [np.mean(m, axis=0) if m else (np.nan, np.nan) for m in members]
    return [m[0] for m in means], [m[1] for m in means], list(map(len, members))


@settings(max_examples=8)
@given(st.integers(0, 999))
def test_bars_are_the_numbers_and_the_error_is_their_weighted_mean(seed):
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.3, 1, 50)
    right = rng.random(50) < confidence**2
    conf, acc, n = table(confidence, right)
    figure = reliability_diagram(conf, acc, n)
    above, below = figure.axes
    bars = [bar for bar in above.patches if not bar.get_hatch()]
    seen = np.array(n) > 0
    np.testing.assert_allclose([bar.get_height() for bar in bars], np.array(acc)[seen])
    gaps = [bar for bar in above.patches if bar.get_hatch()]
    tops = [bar.get_y() + bar.get_height() for bar in gaps]
    np.testing.assert_allclose(tops, np.array(conf)[seen])
    shares = [bar.get_height() for bar in below.patches]
    np.testing.assert_allclose(shares, np.array(n) / 50)
    error = sum(k / 50 * abs(a - c) for c, a, k in zip(conf, acc, n, strict=True) if k)
    assert above.texts[0].get_text() == f"ECE {error:.3f}"
    assert f"error: {error:.3f}" in alt_text(figure)


def test_bins_stand_at_their_confidence():
    figure = reliability_diagram(
        [np.nan, 0.4, 0.6, 1], [np.nan, 0.5, 0.5, 1], [0, 1, 1, 2]
    )
    bars = [bar for bar in figure.axes[0].patches if not bar.get_hatch()]
    assert [bar.get_x() for bar in bars] == [0.25, 0.5, 0.75]
    assert figure.axes[0].get_xlim() == (0, 1)
    assert figure.axes[1].get_xlabel() == "confidence"


def test_what_metrics_count_can_be_drawn():
    metrics = pytest.importorskip("seglab.metrics")
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), size=(2, 8, 8))
    truth = rng.integers(0, 3, (2, 8, 8))
    counted = metrics.reliability(p, truth)
    figure = reliability_diagram(counted.confidence, counted.accuracy, counted.counts)
    expected = metrics.expected_calibration_error(p, truth)
    assert f"error: {expected:.3f}" in alt_text(figure)


def test_many_bins_still_have_a_largest_gap():
    bins = 50  # with 2 % of the pixels each
    conf = (np.arange(bins) + 0.5) / bins
    figure = reliability_diagram(conf, conf * 0.5, np.ones(bins))
    assert "confidence 0.99, 50 % are right" in alt_text(figure)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (([0.5], [0.5, 0.5], [1, 1]), r"confidence has shape \(1,\)"),
        (([[0.5]], [[0.5]], [[1]]), "one number for each bin"),
        (([0.5], [0.5], [0]), "not all 0"),
        (([0.5], [0.5], [-1]), "0 or more"),
        (([0.5], [1.5], [1]), r"accuracy is \[1.5\]"),
        (([np.nan], [0.5], [1]), r"confidence is \[nan\]"),
    ],
)
def test_what_does_not_fit_is_named(arrays, message):
    with pytest.raises(ValueError, match=message):
        reliability_diagram(*arrays)
