"""Where tiles lie and what they weigh, against worked examples and plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seglab.inference.tiling import mirror, tile_shares, tile_starts

sizes = st.integers(1, 200)
tiles = st.integers(1, 80)
overlaps = st.sampled_from([0, 0.1, 0.25, 0.5, 0.7, 0.95])
blends = st.sampled_from(["gaussian", "constant"])


def test_starts_are_those_of_the_worked_example_of_nnunet():
    assert tile_starts(110, 64, 0.5) == [0, 23, 46]


@given(sizes, st.integers(1, 40).map(lambda n: 2 * n))
def test_starts_at_half_overlap_follow_the_formula_of_nnunet(size, tile):
    """The number of steps of at most half a tile, and then equal steps, rounded."""
    if size < tile:
        assert tile_starts(size, tile, 0.5) == [0]
        return
    steps = int(np.ceil((size - tile) / (tile / 2)))
    expected = np.round(np.arange(steps + 1) * (size - tile) / max(steps, 1))
    assert tile_starts(size, tile, 0.5) == expected.tolist()


@given(sizes, tiles, overlaps, st.sampled_from([1, 2, 4, 16]))
def test_tiles_cover_the_axis_and_overlap_as_asked(size, tile, overlap, stride):
    stride = min(stride, tile)
    starts = tile_starts(size, tile, overlap, stride)
    assert starts[0] == 0
    assert all(start % stride == 0 for start in starts)
    assert size <= starts[-1] + tile
    assert starts[-1] + tile < size + stride or starts == [0]
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps <= tile).all()
    # No fewer pixels in common than asked, where the grid leaves a choice.
    assert (steps <= max(tile * (1 - overlap), stride)).all()


def test_no_tile_more_than_needed():
    assert tile_starts(128, 64, 0) == [0, 64]
    assert tile_starts(129, 64, 0) == [0, 32, 65]
    assert tile_starts(64, 64, 0.5) == [0]
    # Steps of 16 * 24 = 384, the largest multiple of 16 that is not above 388.
    assert tile_starts(1000, 388, 0, stride=16) == [0, 320, 624]


@given(sizes, tiles, overlaps, blends)
def test_shares_are_a_partition_of_unity(size, tile, overlap, blend):
    starts = tile_starts(size, tile, overlap)
    total = np.zeros(starts[-1] + tile)
    for start, share in zip(starts, tile_shares(starts, tile, blend), strict=True):
        assert share.dtype == np.float32
        assert (share > 0).all()
        total[start : start + tile] += share
    # atol: up to tile shares, each rounded to float32.
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_gaussian_shares_by_hand():
    """Two tiles of 8 that overlap by 4: sigma is one pixel."""
    first, second = tile_shares([0, 4], 8, "gaussian")
    np.testing.assert_array_equal(first[:4], 1)
    np.testing.assert_array_equal(second[4:], 1)
    weight = {d: np.exp(-(d**2) / 2) for d in (0.5, 1.5, 2.5, 3.5)}
    # Pixel 4 is half a pixel from the first tile's center, 3.5, and 3.5 from 7.5.
    expected = [weight[d] / (weight[d] + weight[4 - d]) for d in (0.5, 1.5, 2.5, 3.5)]
    np.testing.assert_allclose(first[4:], expected, rtol=1e-6)
    np.testing.assert_allclose(second[:4], expected[::-1], rtol=1e-6)


def test_the_end_of_a_gaussian_tile_weighs_little_and_not_nothing():
    (_, share, _) = tile_shares([0, 256, 512], 512, "gaussian")
    # e^-8 / (e^-8 + 1), since the neighbor's center is there.
    assert share[0] == pytest.approx(np.exp(-8), rel=0.05)


@given(st.integers(1, 9), st.integers(-30, 30), st.integers(0, 40))
def test_mirror_is_what_numpy_pads(size, start, length):
    pixels = np.arange(size)
    padded = np.pad(pixels, 80, mode="reflect")
    stop = start + length
    expected = padded[80 + start : 80 + stop]
    np.testing.assert_array_equal(mirror(start, stop, size), expected)
