"""Kernels and feature maps: every value is drawn where it belongs, and in its color."""

import numpy as np
import pytest

from seglab.plots import alt_text, feature_maps, kernels
from seglab.plots.colors import relative_luminance


def tiles(figure):
    """What is drawn: arrays, and their places from the top left, column then row."""
    images = figure.axes[0].images
    ends = [image.get_extent() for image in images]  # left, right, bottom, top
    columns = sorted({round(e[0], 6) for e in ends})
    rows = sorted({round(e[3], 6) for e in ends})
    places = [(rows.index(round(e[3], 6)), columns.index(round(e[0], 6))) for e in ends]
    return dict(zip(places, (np.asarray(i.get_array()) for i in images), strict=True))


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape)


def test_rows_are_input_channels_and_columns_output_channels():
    weights = noise(3, 5, 2, 4)
    figure = kernels(weights)
    drawn = tiles(figure)
    assert len(drawn) == 8
    for (row, column), tile in drawn.items():
        np.testing.assert_array_equal(tile, weights[:, :, row, column])
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("output channel", "input channel")
    left, right, bottom, top = ax.images[0].get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(5 / 3)


def test_kernels_of_one_input_channel_are_wrapped():
    weights = noise(3, 3, 1, 11)
    figure = kernels(weights)
    drawn = tiles(figure)
    for k in range(11):
        np.testing.assert_array_equal(drawn[divmod(k, 8)], weights[:, :, 0, k])
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["0–7", "8–10"]


def test_zero_is_white_and_the_signs_differ_to_every_reader():
    image = kernels([[-3, 0, 1]]).axes[0].images[0]
    assert (image.norm.vmin, image.norm.vmax) == (-3, 3)
    low, zero, high = image.cmap(image.norm(np.array([-1.5, 0, 1.5])))[:, :3]
    np.testing.assert_allclose(zero, 1, atol=0.01)
    # Blue against orange: the blue channel, which dichromats of red and green keep.
    assert low[2] - high[2] > 0.5
    # The farther from 0, the darker, on both sides alike.
    shades = relative_luminance(image.cmap(np.linspace(0, 1, 201))[:, :3])
    assert (np.diff(shades[:101]) > 0).all() and (np.diff(shades[100:]) < 0).all()
    np.testing.assert_allclose(shades, shades[::-1], atol=0.1)


def test_weights_that_are_all_zero_are_white():
    image = kernels(np.zeros((3, 3))).axes[0].images[0]
    np.testing.assert_allclose(image.cmap(image.norm(0.0))[:3], 1, atol=0.01)


def test_maps_are_in_order_and_on_one_scale():
    maps = np.abs(noise(4, 6, 5))
    drawn = feature_maps(maps, columns=3)
    for k, tile in enumerate(tiles(drawn).values()):
        np.testing.assert_array_equal(tile, maps[..., k])
    image = drawn.axes[0].images[0]
    assert (image.norm.vmin, image.norm.vmax) == (0, maps.max())
    shades = relative_luminance(image.cmap(np.linspace(0, 1, 101))[:, :3])
    assert (np.diff(shades) > 0).all()


def test_each_map_on_its_own_scale_reaches_one():
    maps = np.stack([np.eye(4), 0.01 * np.eye(4), 0 * np.eye(4)], axis=-1)
    largest = [
        tile.max() for tile in tiles(feature_maps(maps, one_scale=False)).values()
    ]
    assert largest == [1, 1, 0]


def test_maps_of_both_signs_have_their_zero_in_the_middle():
    image = feature_maps(noise(4, 4, 2)).axes[0].images[0]
    assert image.norm.vmin == -image.norm.vmax


def test_silent_channels_are_named():
    maps = np.abs(noise(4, 4, 20))
    maps[..., [2, 7]] = 0
    assert "Zero everywhere: channels 2, 7." in alt_text(feature_maps(maps))
    assert "channels 0, 1, 2, 3, 4, 5, 6, 7, ..." in alt_text(feature_maps(0 * maps))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: kernels(np.zeros((3, 3, 4))), r"must be \(kh, kw, C_in, C_out\)"),
        (lambda: kernels(np.zeros((3, 3, 0, 4))), "must be"),
        (lambda: kernels(np.zeros((3, 3, 64, 64))), "64 input and 64 output channels"),
        (lambda: kernels(np.zeros((3, 3, 1, 200))), "too many"),
        (lambda: kernels([[np.nan]]), "weights holds NaN"),
        (lambda: feature_maps(np.zeros((1, 4, 4, 2))), r"maps\[0\]"),
        (lambda: feature_maps(np.zeros((4, 4))), r"must be \(H, W, C\)"),
        (lambda: feature_maps(np.zeros((4, 4, 65))), "65 channels"),
        (lambda: feature_maps(np.zeros((4, 4, 2)), columns=9), "columns is 9"),
        (lambda: feature_maps(np.full((4, 4, 2), np.inf)), "maps holds NaN"),
    ],
)
def test_what_cannot_be_drawn_is_named(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
