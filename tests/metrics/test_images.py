"""Means over images by a loop; the bootstrap by all resamples there are, and scipy."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from seglab import metrics
from seglab.metrics import bootstrap, bootstrap_interval, imagewise
from seglab.metrics import images as module


@st.composite
def stacks(draw):
    """Confusion matrices of a few images; some lack classes, some are empty."""
    N, C = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    return draw(arrays(np.int64, (N, C, C), elements=st.integers(0, 5)))


MATRICES = np.array(
    [
        [[50, 2, 0], [3, 9, 0], [0, 0, 0]],
        [[40, 0, 0], [8, 16, 0], [0, 0, 0]],
        [[44, 4, 0], [2, 10, 4], [0, 0, 0]],
    ]
)


# Means over images


@settings(max_examples=50)
@given(stacks())
def test_imagewise_is_a_loop_over_images_that_have_the_class(stack):
    N, C = stack.shape[:2]
    for k in range(C):
        values = []
        for n in range(N):
            union = stack[n, k].sum() + stack[n, :, k].sum() - stack[n, k, k]
            if union > 0:
                values.append(stack[n, k, k] / union)
        got = imagewise(metrics.iou, stack)[k]
        if values:
            assert got == pytest.approx(sum(values) / len(values), rel=1e-12)
        else:
            assert np.isnan(got)


@settings(max_examples=50)
@given(stacks())
def test_imagewise_of_one_number_for_each_image(stack):
    values = [metrics.mean_iou(matrix) for matrix in stack]
    defined = [value for value in values if not np.isnan(value)]
    got = imagewise(metrics.mean_iou, stack)
    assert type(got) is float
    if defined:
        assert got == pytest.approx(sum(defined) / len(defined), rel=1e-12)
    else:
        assert np.isnan(got)


def test_imagewise_is_not_the_data_sets_number_nor_the_mean_of_the_classes():
    by_image = imagewise(metrics.mean_iou, MATRICES)
    assert by_image != metrics.mean_iou(MATRICES.sum(axis=0))
    # Class 2 was invented in one image: IoU 0 there, nothing in the others.
    assert imagewise(metrics.iou, MATRICES)[2] == 0
    assert by_image != np.nanmean(imagewise(metrics.iou, MATRICES))


@pytest.mark.parametrize("matrices", [MATRICES[0], MATRICES[None], [[1, 2]]])
def test_one_matrix_is_no_stack_of_images(matrices):
    for function in (
        lambda: imagewise(metrics.iou, matrices),
        lambda: bootstrap(matrices),
        lambda: bootstrap_interval(matrices),
    ):
        with pytest.raises(ValueError, match="matri"):
            function()


# The bootstrap


def test_resamples_are_those_of_all_draws():
    """Of 3 images, all 27 draws with replacement can be listed."""
    totals = [
        MATRICES[list(draw)].sum(axis=0)
        for draw in itertools.product(range(3), repeat=3)
    ]
    exact = np.array([metrics.mean_iou(total) for total in totals])
    got = bootstrap(MATRICES, resamples=20_000)
    assert set(got.round(12)) == set(exact.round(12))
    # Each draw has probability 1/27: 20000 resamples leave an error of 0.5 % of it.
    for value in set(exact.round(12)):
        share = (got.round(12) == value).mean()
        expected = (exact.round(12) == value).mean()
        assert share == pytest.approx(expected, abs=4 * np.sqrt(expected / 20_000))


def test_interval_is_scipys_percentile_interval():
    """Of images of one size, the pixel accuracy is a mean over images."""
    rng = np.random.default_rng(1)
    right = rng.integers(50, 101, 40)
    matrices = np.array([[[r, 100 - r], [0, 0]] for r in right])
    theirs = stats.bootstrap(
        (right / 100,),
        np.mean,
        method="percentile",
        n_resamples=20_000,
        random_state=0,
        confidence_level=0.9,
    ).confidence_interval
    ours = bootstrap_interval(
        matrices, metrics.pixel_accuracy, confidence=0.9, resamples=20_000
    )
    # Both are random: an end of 20000 resamples moves by about 0.02 of its spread.
    spread = right.std() / 100 / np.sqrt(40)
    np.testing.assert_allclose(ours, theirs, atol=0.1 * spread)


def test_same_seed_draws_the_same_images_for_two_models():
    # The second model is right on one more pixel in each image, whichever are drawn.
    better = MATRICES + np.array([[1, 0, 0], [-1, 0, 0], [0, 0, 0]])
    gain = bootstrap(better, metrics.pixel_accuracy, resamples=50) - bootstrap(
        MATRICES, metrics.pixel_accuracy, resamples=50
    )
    drawn = bootstrap(MATRICES, lambda m: m.sum(axis=(-2, -1)), resamples=50)
    np.testing.assert_allclose(gain, 3 / drawn, rtol=1e-9)
    assert not np.array_equal(
        bootstrap(MATRICES, resamples=50), bootstrap(MATRICES, resamples=50, seed=1)
    )


def test_blocks_of_resamples_change_nothing(monkeypatch):
    whole = bootstrap(MATRICES, metrics.iou, resamples=23)
    assert whole.shape == (23, 3)
    monkeypatch.setattr(module, "_BLOCK", 5 * (3 + 9))
    np.testing.assert_array_equal(bootstrap(MATRICES, metrics.iou, resamples=23), whole)


def test_interval_widens_with_confidence_and_shrinks_with_images():
    narrow, wide = (
        bootstrap_interval(MATRICES, confidence=level) for level in (0.5, 0.99)
    )
    assert wide.low <= narrow.low <= metrics.mean_iou(MATRICES.sum(axis=0))
    assert narrow.high <= wide.high
    many = bootstrap_interval(np.tile(MATRICES, (30, 1, 1)), confidence=0.99)
    assert many.high - many.low < wide.high - wide.low


def test_absent_classes_and_single_images_have_no_interval():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matrices = np.pad(MATRICES, [(0, 0), (0, 1), (0, 1)])  # class 3 is nowhere
        low, high = bootstrap_interval(matrices, metrics.iou)
        assert np.isnan([low[3], high[3]]).all()
        # Class 2 was only ever invented, in one image: 0 where that is drawn.
        assert low[2] == high[2] == 0
        for few in (MATRICES[:1], MATRICES[:0]):
            assert np.isnan(bootstrap_interval(few)).all()
            low, high = bootstrap_interval(few, metrics.iou)
            assert low.shape == high.shape == (3,)
            assert np.isnan([low, high]).all()
        # Identical images: nothing moves.
        low, high = bootstrap_interval(MATRICES[[0, 0, 0]])
        assert low == high == pytest.approx(metrics.mean_iou(MATRICES[0]))


def test_interval_of_few_images_is_too_narrow_by_what_the_docstring_says():
    for N, coverage in ((10, 0.90), (30, 0.94)):
        t = 1.96 * np.sqrt((N - 1) / N)
        assert 1 - 2 * stats.t.sf(t, N - 1) == pytest.approx(coverage, abs=0.005)


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.1, np.nan])
def test_confidence_is_a_share(confidence):
    with pytest.raises(ValueError, match="confidence is"):
        bootstrap_interval(MATRICES, confidence=confidence)


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="no image to draw"):
        bootstrap(MATRICES[:0])
    with pytest.raises(ValueError, match="resamples is 0"):
        bootstrap(MATRICES, resamples=0)
