"""The palette: fixed, distinguishable by everyone, readable under text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import deltaE_ciede2000, rgb2lab

from seglab.plots import BACKGROUND_COLOR, CLASS_COLORS, IGNORE_COLOR, class_colors
from seglab.plots.colors import hex_to_rgb, readable_on, relative_luminance

# Machado, Oliveira & Fernandes (2009), table of matrices at severity 1.0, on linear
# RGB: vision without red cones and without green cones.
VISION = {
    "full color": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}


def simulate(rgb, matrix):
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ matrix.T, 0, 1)
    return np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)


def least_difference(colors, matrix):
    lab = rgb2lab(simulate(colors, matrix))
    distance = deltaE_ciede2000(lab[:, None], lab[None])
    return distance[~np.eye(len(lab), dtype=bool)].min()


# A just noticeable difference is about 1 to 2.3. Okabe and Ito's own palette comes
# to 11.6 (orange and yellow-green, without red cones), so we ask no more of ours.
@pytest.mark.parametrize(("classes", "threshold"), [(8, 11.5), (16, 11), (21, 8.5)])
@pytest.mark.parametrize("vision", VISION)
def test_colors_differ_for_every_reader(vision, classes, threshold):
    colors = class_colors(classes)
    assert least_difference(colors, VISION[vision]) >= threshold


@pytest.mark.parametrize("vision", VISION)
def test_ignored_pixels_differ_from_every_class(vision):
    seen = simulate(np.array(hex_to_rgb(IGNORE_COLOR)), VISION[vision])
    classes = simulate(class_colors(21), VISION[vision])
    assert deltaE_ciede2000(rgb2lab(classes), rgb2lab(seen)[None]).min() >= 10.5


def test_the_threshold_can_fail():
    # Pure red and green of one lightness: the pair that charts should not use.
    colors = np.array([[0.80, 0.20, 0.20], [0.30, 0.50, 0.10]])
    assert least_difference(colors, VISION["full color"]) > 40
    assert least_difference(colors, VISION["deuteranopia"]) < 11


def test_class_colors_are_okabe_and_ito():
    colors = class_colors(8)
    # Published as 8-bit RGB: orange, sky blue, bluish green, yellow, blue,
    # vermilion, reddish purple.
    published = [
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (240, 228, 66),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
    ]
    np.testing.assert_allclose(colors[1:] * 255, published)
    np.testing.assert_allclose(colors[0], hex_to_rgb(BACKGROUND_COLOR))


@given(st.integers(1, 60), st.integers(1, 60))
def test_a_color_depends_on_the_class_alone(few, many):
    few, many = sorted((few, many))
    np.testing.assert_array_equal(class_colors(few), class_colors(many)[:few])


def test_colors_start_again_but_never_with_the_background():
    colors = class_colors(2 * len(CLASS_COLORS) + 1)
    np.testing.assert_array_equal(colors[1], colors[1 + len(CLASS_COLORS)])
    assert not (colors[1:] == colors[0]).all(axis=1).any()


@pytest.mark.parametrize("bad", [0, -1, 2.0, "3", True, None])
def test_class_colors_refuses(bad):
    with pytest.raises(ValueError, match="num_classes is"):
        class_colors(bad)


def test_luminance_is_that_of_wcag():
    # The two ends, and #767676, which WCAG texts give as the lightest gray with a
    # contrast of 4.5 on white.
    white, black, gray = (
        relative_luminance(np.array(c)) for c in ([1.0] * 3, [0.0] * 3, [118 / 255] * 3)
    )
    assert (white + 0.05) / (black + 0.05) == pytest.approx(21)
    assert 4.5 <= 1.05 / (gray + 0.05) < 4.6


@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_text_is_readable_on_any_color(rgb):
    text = {"white": 1.0, "black": 0.0}[readable_on(np.array(rgb))]
    back = float(relative_luminance(np.array(rgb)))
    light, dark = max(text, back), min(text, back)
    assert (light + 0.05) / (dark + 0.05) >= 4.5
