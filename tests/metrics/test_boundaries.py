"""Boundaries against all pairs of pixels, scikit-image, scipy and published numbers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from skimage.metrics import hausdorff_distance

from seglab.metrics import (
    boundary,
    boundary_f1,
    hausdorff,
    image_boundary_f1,
    surface_dice,
    surface_distances,
)

few = settings(max_examples=30)


def brute_boundary(mask):
    """A pixel of the mask with a 4-neighbor that is not in it, or not in the image."""
    found = np.zeros(mask.shape, bool)
    for index in np.ndindex(mask.shape):
        for axis in range(mask.ndim):
            for step in (-1, 1):
                other = list(index)
                other[axis] += step
                inside = 0 <= other[axis] < mask.shape[axis]
                if mask[index] and not (inside and mask[tuple(other)]):
                    found[index] = True
    return found


def brute_distances(a, b, spacing=1.0):
    """From each boundary pixel of a to all of b, the smallest."""
    ones, others = (
        [np.array(p) * spacing for p in np.argwhere(brute_boundary(mask))]
        for mask in (a, b)
    )
    return [min((math.dist(p, q) for q in others), default=math.inf) for p in ones]


@st.composite
def mask_pairs(draw):
    """Two masks of one shape: empty, full, one pixel and odd sizes included."""
    shape = draw(array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5))
    pixels = st.one_of(st.booleans(), st.just(draw(st.booleans())))
    return tuple(draw(arrays(bool, shape, elements=pixels)) for _ in range(2))


SHIFTED = np.zeros((2, 20, 20), bool)
SHIFTED[0, 5:15, 5:15] = True
SHIFTED[1, 8:18, 9:19] = True  # 3 down, 4 right: 5 pixels away


# The boundary


@few
@given(mask_pairs())
def test_boundary_is_what_touches_the_outside(pair):
    mask, _ = pair
    got = boundary(mask)
    assert got.dtype == bool
    np.testing.assert_array_equal(got, brute_boundary(mask))
    np.testing.assert_array_equal(boundary(mask.astype(np.uint8)), got)
    assert got.any() == mask.any()  # no mask is without a boundary


def test_border_of_the_image_is_outside():
    assert boundary(np.ones((5, 5))).sum() == 16
    assert boundary(np.ones((1, 5))).all()


# Distances


@few
@given(mask_pairs(), st.sampled_from([1.0, 0.25]))
def test_distances_are_the_smallest_of_all_pairs(pair, spacing):
    a, b = pair
    from_a, from_b = surface_distances(a, b, spacing)
    # atol: square roots by another library.
    np.testing.assert_allclose(from_a, brute_distances(a, b, spacing), atol=1e-12)
    np.testing.assert_allclose(from_b, brute_distances(b, a, spacing), atol=1e-12)


def test_distances_equal_a_distance_transform_with_unequal_spacing():
    rng = np.random.default_rng(0)
    a, b = ndimage.gaussian_filter(rng.normal(size=(2, 9, 30, 40)), (0, 1, 3, 3)) > 0
    spacing = (3.0, 0.5, 0.7)
    from_a, from_b = surface_distances(a, b, spacing)
    for got, ones, others in ((from_a, a, b), (from_b, b, a)):
        to_others = ndimage.distance_transform_edt(~boundary(others), sampling=spacing)
        np.testing.assert_allclose(got, to_others[boundary(ones)], atol=1e-12)


# Hausdorff


@few
@given(mask_pairs())
def test_hausdorff_equals_scikit_image_on_boundaries(pair):
    a, b = pair
    got = hausdorff(a, b)
    if not a.any() and not b.any():
        assert math.isnan(got)  # scikit-image says 0
    else:
        expected = hausdorff_distance(boundary(a), boundary(b))
        assert got == pytest.approx(expected, abs=1e-12)
    np.testing.assert_equal(hausdorff(b, a), got)


@few
@given(mask_pairs(), st.floats(0, 100))
def test_percentile_is_the_larger_one_of_two_directions(pair, percentile):
    a, b = pair
    if not (a.any() and b.any()):
        return
    ends = [
        np.percentile(brute_distances(*masks), percentile) for masks in (pair, (b, a))
    ]
    assert hausdorff(a, b, percentile) == pytest.approx(max(ends), abs=1e-9)
    assert hausdorff(a, b, percentile) <= hausdorff(a, b) + 1e-12


def test_a_shift_of_3_and_4_is_5():
    assert hausdorff(*SHIFTED) == 5.0
    stray = SHIFTED[0].copy()
    stray[0, 0] = True
    # One pixel decides: from (0, 0) to the corner of the square, (5, 5).
    assert hausdorff(SHIFTED[0], stray) == pytest.approx(math.hypot(5, 5))
    assert hausdorff(SHIFTED[0], stray, 95) == 0.0


def test_filled_masks_are_another_distance():
    full = np.ones((21, 21), bool)
    holed = full.copy()
    holed[10, 10] = False
    # The hole's rim, row 9, is 9 rows from the outline. Filled masks are 1 apart.
    assert hausdorff(full, holed) == 9.0
    assert hausdorff_distance(full, holed) == 1.0


@pytest.mark.parametrize("percentile", [95, 100])
def test_empty_masks(percentile):
    empty, some = np.zeros((4, 4), bool), np.eye(4, dtype=bool)
    assert hausdorff(empty, some, percentile) == math.inf
    assert hausdorff(some, empty, percentile) == math.inf
    assert math.isnan(hausdorff(empty, empty, percentile))
    assert surface_dice(empty, some, 100) == surface_dice(some, empty, 100) == 0
    assert math.isnan(surface_dice(empty, empty, 1))


# Surface Dice


@few
@given(mask_pairs(), st.sampled_from([0, 0.5, 1, 1.5, 2]))
def test_surface_dice_is_counting_pixels(pair, tolerance):
    distances = [*brute_distances(*pair), *brute_distances(*pair[::-1])]
    got = surface_dice(*pair, tolerance)
    if not distances:
        assert math.isnan(got)
        return
    near = sum(distance <= tolerance + 1e-9 for distance in distances)
    assert got == near / len(distances)
    same = 1.0 if np.any(pair[0]) else math.nan
    np.testing.assert_equal(surface_dice(pair[0], pair[0], 0), same)


@pytest.mark.parametrize("tolerance", [0, 1, math.inf])
def test_surface_dice_with_one_empty_mask_is_0_at_any_tolerance(tolerance):
    empty, full = np.zeros((3, 3), bool), np.ones((3, 3), bool)
    assert surface_dice(empty, full, tolerance) == 0.0
    assert surface_dice(full, empty, tolerance) == 0.0


def test_a_spacing_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="spacing is inf"):
        surface_dice([[1]], [[1]], 1, spacing=math.inf)


def test_rounding_does_not_decide_at_the_tolerance():
    a, b = [[1, 0, 0, 0]], [[0, 0, 0, 1]]
    assert 3 * 0.1 > 0.3  # in floating point
    assert surface_dice(a, b, tolerance=0.3, spacing=0.1) == 1.0
    assert surface_dice(a, b, tolerance=0.2999, spacing=0.1) == 0.0


# Boundary F1


def brute_f1(truth, prediction, num_classes, tolerance, ignore_index=None):
    """By the definition, one image, one class after the other."""
    scores = []
    for k in range(num_classes):
        kept = truth != ignore_index
        a, b = (truth == k) & kept, (prediction == k) & kept
        if not a.any() and not b.any():
            scores.append(math.nan)
            continue
        hits = [
            [d <= tolerance + 1e-9 for d in brute_distances(*masks)]
            for masks in ((b, a), (a, b))
        ]
        if not a.any() or not b.any():
            scores.append(0.0)
            continue
        P, R = (sum(h) / len(h) for h in hits)
        scores.append(2 * P * R / (P + R) if P + R else 0.0)
    return scores


@st.composite
def label_maps(draw):
    shape = draw(st.tuples(*(st.integers(1, n) for n in (3, 5, 5))))
    labels = st.sampled_from([0, 0, 1, 2])
    truth = draw(arrays(np.uint8, shape, elements=labels | st.just(255)))
    return truth, draw(arrays(np.uint8, shape, elements=labels))


@few
@given(label_maps(), st.sampled_from([0, 1, 1.5]))
def test_boundary_f1_equals_the_definition(maps, tolerance):
    got = image_boundary_f1(*maps, 4, 255, tolerance=tolerance)
    expected = [
        brute_f1(truth, prediction, 4, tolerance, 255)
        for truth, prediction in zip(*maps, strict=True)
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    of_images = [np.nanmean(row) for row in expected if not np.isnan(row).all()]
    mean = boundary_f1(*maps, 4, 255, tolerance=tolerance)
    if of_images:
        assert mean == pytest.approx(np.mean(of_images), rel=1e-12)
    else:
        assert math.isnan(mean)


def test_default_tolerance_is_segnets():
    """0.75 % of the diagonal: 4.5 pixels of a 360 x 480 image."""
    truth, near, far = np.zeros((3, 1, 360, 480), np.uint8)
    truth[:, 100:200, 100:200] = 1
    near[:, 104:204, 100:200] = 1
    far[:, 105:205, 100:200] = 1
    assert boundary_f1(truth, near, 2) == 1.0
    assert boundary_f1(truth, far, 2) < 1.0


def test_an_invented_class_costs_and_an_absent_one_does_not():
    truth = np.zeros((2, 6, 6), int)
    prediction = truth.copy()
    prediction[0, 2, 2] = 1
    scores = image_boundary_f1(truth, prediction, 3, tolerance=1)
    np.testing.assert_array_equal(scores[:, 1], [0, np.nan])
    assert np.isnan(scores[:, 2]).all()


def test_what_lies_under_ignored_pixels_is_not_looked_at():
    truth = np.zeros((1, 6, 6), int)
    truth[:, 3:] = 1
    prediction = truth.copy()
    truth[:, :, :2] = 255
    wild = prediction.copy()
    wild[:, :, :2] = 17
    assert boundary_f1(truth, prediction, 2, 255, tolerance=0) == 1.0
    assert boundary_f1(truth, wild, 2, 255, tolerance=0) == 1.0


def test_progress_is_shown_when_asked_for(capsys):
    maps = np.zeros((2, 3, 3), int)
    boundary_f1(maps, maps, 1)
    assert capsys.readouterr().out == ""
    boundary_f1(maps, maps, 1, progress="lines")
    assert "image 2 of 2" in capsys.readouterr().out


# Wrong input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: boundary([[0, 2]]), r"mask == k"),
        (lambda: boundary([[0.3, 1]]), r"mask > 0\.5"),
        (lambda: boundary([[np.nan, 1]]), "mask must hold"),
        (lambda: boundary([["a"]]), "mask must hold"),
        (lambda: boundary(1), "single number"),
        (lambda: hausdorff([[1]], [[1, 0]]), r"a has shape \(1, 1\) and b \(1, 2\)"),
        (lambda: hausdorff([[1]], [[2]]), "b must hold"),
        (lambda: hausdorff([[1]], [[1]], 101), "percentile is 101"),
        (lambda: hausdorff([[1]], [[1]], np.nan), "percentile is nan"),
        (lambda: hausdorff([[1]], [[1]], spacing=0), "spacing is 0"),
        (lambda: hausdorff([[1]], [[1]], spacing=(1, 1, 1)), "or 2 of them"),
        (lambda: surface_dice([[1]], [[1]], -1), "tolerance is -1"),
        (lambda: surface_dice([[1]], [[1]], np.nan), "tolerance is nan"),
        (lambda: boundary_f1([[0]], [[0]], 1), r"must be \(N, H, W\)"),
        (lambda: boundary_f1([[[0]]], [[[0]]], 1, tolerance=-1), "tolerance is -1"),
        (lambda: boundary_f1([[[0]]], [[[3]]], 2), "y_pred has labels"),
    ],
)
def test_bad_input_is_refused_with_the_fix(call, message):
    with pytest.raises(ValueError, match=message):
        call()
