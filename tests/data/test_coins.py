"""The photograph of coins: our labels against the picture, and the crops."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.filters import sobel
from skimage.measure import regionprops
from skimage.segmentation import watershed

from seglab.data.coins import ELLIPSES, STRIPS, coins, coins_photograph


@pytest.fixture(scope="module")
def photograph():
    return coins_photograph()


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_there_are_24_coins_and_none_touches_another(photograph):
    image, instances = photograph
    assert image.dtype == np.float32
    assert instances.dtype == np.int32
    assert image.shape == instances.shape == (303, 384)
    assert np.unique(instances).tolist() == list(range(25))
    assert ndimage.label(instances > 0)[1] == 24


def test_each_ellipse_lies_in_the_picture_and_is_drawn_whole(photograph):
    _, instances = photograph
    for region, (row, column, first, second, degrees) in zip(
        regionprops(instances), ELLIPSES, strict=True
    ):
        top, left, bottom, right = region.bbox
        assert 0 < top < bottom < 303
        assert 0 < left < right < 384
        # Pixels counted against the formula: the error is of the order of the
        # outline's length times the jitter of a pixel grid, under 1 % here.
        assert region.area == pytest.approx(np.pi * first * second, rel=0.01)
        # regionprops puts pixel centers at whole numbers.
        assert region.centroid == pytest.approx((row - 0.5, column - 0.5), abs=0.1)
        assert region.axis_major_length / 2 == pytest.approx(first, abs=0.15)
        assert first >= second
        if first / second > 1.1:  # a circle has no direction
            turned = np.pi / 2 - region.orientation - np.deg2rad(degrees)
            assert abs(np.sin(turned)) < np.sin(np.deg2rad(2))


def test_coins_are_numbered_row_by_row():
    rows = np.array(ELLIPSES)[:, :2].reshape(4, 6, 2)
    assert (np.diff(rows[:, :, 1], axis=1) > 0).all()
    assert rows[:-1, :, 0].max(axis=1).tolist() < rows[1:, :, 0].min(axis=1).tolist()


def test_each_coin_is_brighter_than_the_cloth_around_it(photograph):
    image, instances = photograph
    cloth = instances == 0
    for number in range(1, 25):
        coin = instances == number
        ring = ndimage.binary_dilation(coin, iterations=5) & cloth
        assert image[coin].mean() > image[ring].mean() + 0.15


def test_the_outline_of_each_coin_is_an_edge_of_the_picture(photograph):
    image, instances = photograph
    for number in range(1, 25):
        coin = instances == number
        shifted = [
            ndimage.binary_dilation(coin, iterations=2) & ~coin,
            coin & ~ndimage.binary_erosion(coin, iterations=2),
        ]
        outside, inside = (np.median(image[band]) for band in shifted)
        assert inside > outside + 0.1


def test_labels_agree_with_an_independent_segmentation(photograph):
    image, instances = photograph
    # The watershed of scikit-image's tutorial: from sure cloth and sure coin.
    markers = np.zeros(image.shape, int)
    markers[image < 30 / 255] = 1
    markers[image > 150 / 255] = 2
    found = ndimage.binary_fill_holes(watershed(sobel(image), markers) == 2)
    found = ndimage.binary_opening(found, iterations=3)  # drops specks
    # Measured: 0.97 over all, 0.92 for the worst coin.
    assert iou(found, instances > 0) > 0.95
    numbers, _ = ndimage.label(found)
    for number in range(1, 25):
        coin = instances == number
        same = numbers == np.bincount(numbers[coin]).argmax()
        assert iou(same, coin) > 0.9
        # The check can fail: a coin labeled four pixels off does not pass.
        assert iou(same, np.roll(coin, 4, axis=1)) < 0.9


def test_the_strips_share_no_column():
    assert STRIPS[0][0] == 0
    assert STRIPS[-1][1] == 384
    assert all(a[1] == b[0] for a, b in pairwise(STRIPS))


@settings(max_examples=25)
@given(
    count=st.integers(3, 20),
    height=st.integers(16, 303),
    width=st.integers(16, 64),
    seed=st.integers(0, 2**32),
)
def test_crops_are_cut_from_their_own_strip(photograph, count, height, width, seed):
    image, numbers = photograph
    data = coins(count, size=(height, width), seed=seed)
    assert sum(len(split) for split in data.splits().values()) == count
    for split, (start, stop) in zip(data.splits().values(), STRIPS, strict=True):
        np.testing.assert_array_equal(split.masks == 1, split.instances > 0)
        for k in range(len(split)):
            top, left = split.columns["top"][k], split.columns["left"][k]
            assert start <= left <= left + width <= stop
            place = slice(top, top + height), slice(left, left + width)
            np.testing.assert_array_equal(split.images[k, ..., 0], image[place])
            np.testing.assert_array_equal(split.instances[k], numbers[place])


def test_same_seed_same_crops_whatever_the_count():
    many, few = coins(40, seed=4), coins(10, seed=4)
    for name, split in few.splits().items():
        longer = many.splits()[name]
        np.testing.assert_array_equal(split.images, longer.images[: len(split)])
    assert (coins(10, seed=5).train.images != few.train.images).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 2}, "count is 2"),
        ({"size": 65}, "303 rows and 64 columns"),
        ({"size": (304, 64)}, "303 rows"),
        ({"size": 15}, "at least 16"),
        ({"seed": "a"}, "seed is 'a'"),
    ],
)
def test_a_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        coins(**arguments)
