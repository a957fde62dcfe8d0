"""Boundaries: Hausdorff distance and surface Dice, against five libraries."""

import math
import warnings

import numpy as np
import pytest
import surface_distance
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from medpy.metric import binary as medpy
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from skimage.metrics import hausdorff_distance as skimage_hausdorff
from torchmetrics.functional.segmentation import (
    hausdorff_distance as torchmetrics_hausdorff,
)

from seglab.metrics import boundary, hausdorff, surface_dice

FLOAT32 = {"rtol": 1e-5, "atol": 1e-6, "equal_nan": True}
often = settings(max_examples=60)


def tensor(mask):
    return torch.as_tensor(np.asarray(mask)[None, None].astype("float32"))


def ask_monai(a, b, percentile=None, spacing=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of empty masks
        options = {"percentile": percentile, "spacing": spacing}
        return float(
            compute_hausdorff_distance(
                tensor(b), tensor(a), include_background=True, **options
            )
        )


def ask_monai_dice(a, b, tolerance, subvoxels=False):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(
            compute_surface_dice(
                *(tensor(b), tensor(a), [float(tolerance)]),
                include_background=True,
                use_subvoxels=subvoxels,
            )
        )


def ask_torchmetrics(a, b):
    a, b = (tensor(mask).long() for mask in (a, b))
    return float(torchmetrics_hausdorff(b, a, 1, include_background=True))


def ask_deepmind(a, b, percentile=100):
    distances = surface_distance.compute_surface_distances(a, b, (1, 1))
    return float(surface_distance.compute_robust_hausdorff(distances, percentile))


def ask_deepmind_dice(a, b, tolerance):
    distances = surface_distance.compute_surface_distances(a, b, (1, 1))
    return surface_distance.compute_surface_dice_at_tolerance(distances, tolerance)


@st.composite
def mask_pairs(draw):
    """Two masks (H, W): noise, boxes, one pixel, full; neither is empty."""
    shape = draw(st.tuples(st.integers(2, 7), st.integers(2, 7)))

    def mask():
        kind = draw(st.sampled_from(["noise", "box", "pixel", "full"]))
        if kind == "noise":
            return draw(arrays(bool, shape))
        found = np.full(shape, kind == "full")
        i, j = (draw(st.integers(0, size - 1)) for size in shape)
        size = 1 if kind == "pixel" else draw(st.integers(1, 5))
        found[i : i + size, j : j + size] = True
        return found

    a, b = mask(), mask()
    assume(a.any() and b.any())
    return a, b


SHIFT = np.zeros((2, 20, 20), bool)
SHIFT[0, 5:15, 5:15] = True
SHIFT[1, 8:18, 9:19] = True


# Where they agree


@often
@given(mask_pairs())
def test_hausdorff_is_that_of_monai_medpy_torchmetrics_and_scikit_image(pair):
    ours = hausdorff(*pair)
    assert ask_monai(*pair) == pytest.approx(ours, rel=1e-5)
    assert medpy.hd(*pair) == pytest.approx(ours)
    if len(set(pair[0].shape)) == 1:  # see test_images_that_are_not_square
        assert ask_torchmetrics(*pair) == pytest.approx(ours, rel=1e-5)
    assert skimage_hausdorff(*map(boundary, pair)) == pytest.approx(ours)


@often
@given(mask_pairs(), st.sampled_from([1, 50, 95, 99]))
def test_percentiles_are_monais(pair, percentile):
    ours = hausdorff(*pair, percentile)
    np.testing.assert_allclose(ask_monai(*pair, percentile), ours, **FLOAT32)


@often
@given(mask_pairs())
def test_spacing_is_monais_and_medpys(pair):
    spacing = (0.5, 3.0)
    ours = hausdorff(*pair, spacing=spacing)
    assert ask_monai(*pair, spacing=spacing) == pytest.approx(ours, rel=1e-5)
    assert medpy.hd(*pair, voxelspacing=spacing) == pytest.approx(ours)


@often
@given(mask_pairs(), st.sampled_from([0, 1, 1.5, 3]))
def test_surface_dice_is_monais_and_its_subvoxels_are_deepminds(pair, tolerance):
    ours = surface_dice(*pair, tolerance)
    np.testing.assert_allclose(ask_monai_dice(*pair, tolerance), ours, **FLOAT32)
    deepmind = ask_deepmind_dice(*pair, tolerance)
    monai = ask_monai_dice(*pair, tolerance, subvoxels=True)
    np.testing.assert_allclose(monai, deepmind, **FLOAT32)


def test_on_simple_shapes_deepmind_agrees_too():
    assert hausdorff(*SHIFT) == ask_deepmind(*SHIFT) == 5
    pixel = np.zeros_like(SHIFT[0])
    pixel[3, 3] = True
    expected = pytest.approx(hausdorff(pixel, SHIFT[0]))
    assert ask_deepmind(pixel, SHIFT[0]) == expected


# Where they do not


def test_percentiles(differs):
    case, ours = "a shift by (3, 4), HD95", hausdorff(*SHIFT, 95)
    why = "one percentile of both lists of distances"
    differs(case, "MedPy hd95", medpy.hd95(*SHIFT), ours, why)
    why = "pieces of line between pixels, weighed by length; no interpolation"
    differs(case, "DeepMind robust_hausdorff", ask_deepmind(*SHIFT, 95), ours, why)


def test_pieces_of_line(differs):
    case = "a shift by (3, 4), surface Dice at 1"
    ours = surface_dice(*SHIFT, 1)
    why = "weighs pieces of line between pixels by length; seglab counts pixels"
    differs(case, "DeepMind", ask_deepmind_dice(*SHIFT, 1), ours, why)
    monai = ask_monai_dice(*SHIFT, 1, subvoxels=True)
    differs(case, "MONAI, use_subvoxels=True", monai, ours, why)
    # Two pixels at a corner: for DeepMind, one outline goes around both.
    a = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    b = np.array([[0, 0, 0], [0, 0, 0], [0, 0, 1]], bool)
    for masks in ((a, b), (a.T, b)):
        assert ask_monai(*masks) == pytest.approx(hausdorff(*masks), rel=1e-5)


def test_deepminds_hausdorff_is_that_of_another_boundary(differs):
    """Of noise, in one pair of four; the first such pair is shown."""
    rng = np.random.default_rng(0)
    pairs = [rng.random((2, 6, 6)) < 0.5 for _ in range(100)]
    wrong = [p for p in pairs if not math.isclose(ask_deepmind(*p), hausdorff(*p))]
    assert 5 < len(wrong) < 60
    why = "its boundary runs between pixels: other points are near"
    theirs, ours = ask_deepmind(*wrong[0]), hausdorff(*wrong[0])
    differs("noise of 6 x 6 pixels", "DeepMind robust_hausdorff", theirs, ours, why)


def test_images_that_are_not_square(differs):
    pixel = np.zeros((2, 3), bool)
    pixel[0, 0] = True
    theirs = ask_torchmetrics(pixel, pixel)
    why = "its distance transform takes rows of H, not of W, pixels (1.9.0)"
    case = "a mask with itself, 2 x 3 pixels"
    differs(case, "torchmetrics", theirs, hausdorff(pixel, pixel), why)
    with pytest.raises(IndexError):
        ask_torchmetrics(pixel.T, pixel.T)


def test_filled_masks(differs):
    full, holed = np.ones((2, 21, 21), bool)
    holed[10, 10] = False
    why = "measures between filled masks, unless it is given boundaries"
    theirs, ours = skimage_hausdorff(full, holed), hausdorff(full, holed)
    differs("a hole in the middle", "scikit-image", theirs, ours, why)


def test_empty_masks(differs):
    empty = np.zeros_like(SHIFT[0])
    some = SHIFT[0]
    inf, nan = math.inf, math.nan
    for pair in ((empty, some), (some, empty)):
        for ask in (ask_monai, ask_torchmetrics, ask_deepmind, skimage_hausdorff):
            assert ask(*pair) == hausdorff(*pair) == inf
        with pytest.raises(RuntimeError, match="does not contain any binary object"):
            medpy.hd(*pair)
        assert ask_monai_dice(*pair, 1) == surface_dice(*pair, 1) == 0
    why = "interpolates between two infinities (MONAI issue 9095)"
    theirs = ask_monai(empty, some, 95)
    differs("one mask is empty, HD95", "MONAI", theirs, hausdorff(empty, some, 95), why)
    assert math.isnan(ask_monai(empty, empty))
    assert math.isnan(ask_monai_dice(empty, empty, 1))
    assert math.isnan(hausdorff(empty, empty))
    with pytest.raises(RuntimeError):
        ask_torchmetrics(empty, empty)
    case, why = "both masks are empty", "nothing to measure is NaN in seglab"
    theirs = skimage_hausdorff(empty, empty)
    differs(case, "scikit-image", theirs, nan, f"takes it as perfect; {why}")
    theirs = ask_deepmind(empty, empty)
    differs(case, "DeepMind", theirs, nan, f"takes it as a miss; {why}")
