"""Painted masks: each pixel has the color that a loop would give it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from seglab.plots import CLASS_COLORS, IGNORE_COLOR, colorize, instances, overlay
from seglab.plots import class_colors as colors_of
from seglab.plots.arrays import rim
from seglab.plots.colors import hex_to_rgb

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=7)
MASKS = hnp.arrays(np.int32, SHAPES, elements=st.sampled_from([0, 1, 2, 255]))


@given(MASKS)
def test_colorize_like_a_loop(mask):
    painted = colorize(mask, num_classes=3, ignore_index=255)
    palette = {**dict(enumerate(colors_of(3))), 255: hex_to_rgb(IGNORE_COLOR)}
    for place, label in np.ndenumerate(mask):
        np.testing.assert_allclose(painted[place], palette[int(label)])


@given(MASKS)
def test_rim_is_the_region_minus_its_erosion(mask):
    # Another library's definition: 4-connected erosion, the outside being inside.
    expected = np.zeros(mask.shape, bool)
    for label in np.unique(mask):
        region = mask == label
        expected |= region & ~ndimage.binary_erosion(region, border_value=1)
    np.testing.assert_array_equal(rim(mask), expected)


@given(MASKS, st.floats(0, 1))
def test_overlay_leaves_the_background_and_stays_in_range(mask, alpha):
    image = np.linspace(0, 1, mask.size).reshape(mask.shape)
    rgb = overlay(image, mask, ignore_index=255, alpha=alpha)
    assert rgb.shape == (*mask.shape, 3)
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    np.testing.assert_allclose(rgb[mask == 0], image[mask == 0][:, None].repeat(3, 1))


def test_overlay_blends_inside_and_is_opaque_on_the_outline():
    mask = np.zeros((5, 5), int)
    mask[1:4, 1:4] = 1
    rgb = overlay(np.zeros((5, 5)), mask, alpha=0.25)
    orange = np.array(hex_to_rgb(CLASS_COLORS[0]))
    np.testing.assert_allclose(rgb[1, 1], orange)
    np.testing.assert_allclose(rgb[2, 2], 0.25 * orange)
    plain = overlay(np.zeros((5, 5)), mask, alpha=0.25, outline=False)
    np.testing.assert_allclose(plain[1, 1], 0.25 * orange)


def test_overlay_stripes_ignored_pixels_without_painting_them():
    image = np.full((8, 8), 0.2)
    rgb = overlay(image, np.full((8, 8), 255), ignore_index=255)
    shades = np.unique(rgb)
    np.testing.assert_allclose(shades, [0.2, hex_to_rgb(IGNORE_COLOR)[0]])
    assert (rgb == 0.2).all(axis=-1).mean() == 0.5


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4)), np.zeros((4, 4, 1)), np.zeros((4, 4, 3), np.uint8)]
)
def test_overlay_takes_gray_and_bytes_and_keeps_its_input(image):
    before = image.copy()
    overlay(image, np.ones((4, 4), bool))
    np.testing.assert_array_equal(image, before)


def test_bytes_are_scaled():
    rgb = overlay(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), int))
    np.testing.assert_allclose(rgb, 1)


def test_instances_keep_their_color_and_are_parted():
    one = instances(np.array([[0, 5, 5, 5]]))
    two = instances(np.array([[5, 5, 5, 2, 2]]))
    np.testing.assert_allclose(one[0, 3], two[0, 0])
    np.testing.assert_allclose(two[0, 3], 0.1)  # the dark line
    assert not np.allclose(two[0, 4], two[0, 0])


def test_the_first_twenty_instances_all_differ():
    labels = np.arange(21)[None]
    painted = instances(np.repeat(labels, 1, axis=0).repeat(2, axis=1))[:, 1::2]
    assert len(np.unique(painted.reshape(-1, 3), axis=0)) == 21


GOOD_IMAGE, GOOD_MASK = np.zeros((4, 4)), np.zeros((4, 4), int)


@pytest.mark.parametrize(
    ("image", "mask", "options", "message"),
    [
        (np.zeros((2, 4, 4, 1)), GOOD_MASK, {}, r"images\[0\]"),
        (np.zeros((4, 4, 4)), GOOD_MASK, {}, "Drop the transparency"),
        (np.zeros((4, 4), int), GOOD_MASK, {}, "dtype int64"),
        (np.full((4, 4), 7.0), GOOD_MASK, {}, "values from 7 to 7"),
        (np.full((4, 4), np.nan), GOOD_MASK, {}, "nan"),
        (np.zeros((0, 4)), np.zeros((0, 4), int), {}, "shape"),
        (GOOD_IMAGE, np.zeros((4, 5), int), {}, "4 × 4 and mask is 4 × 5"),
        (GOOD_IMAGE, np.zeros((4, 4)), {}, "threshold"),
        (GOOD_IMAGE, np.zeros((4, 4, 1), int), {}, r"mask\[..., 0\]"),
        (GOOD_IMAGE, np.zeros((4, 4, 2), int), {}, "argmax"),
        (GOOD_IMAGE, GOOD_MASK - 1, {}, "labels -1, which are negative"),
        (GOOD_IMAGE, GOOD_MASK + 255, {"num_classes": 2}, "outside 0 to 1.*ignore"),
        (GOOD_IMAGE, GOOD_MASK, {"alpha": 1.5}, "alpha is 1.5"),
    ],
)
def test_overlay_explains_what_is_wrong(image, mask, options, message):
    with pytest.raises(ValueError, match=message):
        overlay(image, mask, **options)


def test_instances_explains_what_is_wrong():
    with pytest.raises(ValueError, match="labels has dtype float64"):
        instances(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="labels is 4 × 4"):
        instances(GOOD_MASK, np.zeros((5, 4)))
    with pytest.raises(ValueError, match="alpha"):
        instances(GOOD_MASK, alpha=-1)
