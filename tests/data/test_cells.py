"""The cell simulator: exact masks, seeded streams, and physics that can be measured."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.filters import threshold_otsu

from seglab.data._simulation import split_sizes, stream
from seglab.data.cells import (
    FULL_SCALE,
    HARMONICS,
    READ_NOISE,
    Conditions,
    _draw,
    _Population,
    _renumber,
    cells,
)

sizes = st.one_of(
    st.integers(16, 40), st.tuples(st.integers(16, 40), st.integers(16, 40))
)


@settings(max_examples=25)
@given(
    count=st.integers(3, 12),
    size=sizes,
    seed=st.integers(0, 2**32),
    difficulty=st.floats(0, 1),
)
def test_every_data_set_keeps_the_conventions(count, size, seed, difficulty):
    data = cells(count, size=size, seed=seed, difficulty=difficulty)
    height, width = (size, size) if isinstance(size, int) else size
    assert data.classes == ("background", "cell")
    assert data.image_shape == (height, width, 1)
    assert sum(len(split) for split in data.splits().values()) == count
    for split in data.splits().values():
        assert len(split) >= 1
        assert split.images.dtype == np.float32
        assert split.masks.dtype == split.instances.dtype == np.int32
        np.testing.assert_array_equal(split.masks == 1, split.instances > 0)
        for numbers in split.instances:
            seen = np.unique(numbers[numbers > 0])
            assert seen.tolist() == list(range(1, len(seen) + 1))
        # Images were checked to be finite and in [0, 1] when the Split was made.


def test_same_seed_same_images():
    one, two = cells(6, size=32, seed=5), cells(6, size=32, seed=5)
    np.testing.assert_array_equal(one.train.images, two.train.images)
    np.testing.assert_array_equal(one.test.instances, two.test.instances)
    assert (cells(6, size=32, seed=6).train.images != one.train.images).any()


def test_an_image_does_not_depend_on_how_many_there_are(monkeypatch):
    many = cells(60, size=32, seed=3)
    # Nor on how many are rendered at a time.
    monkeypatch.setattr("seglab.data.cells.CHUNK", 5 * 32 * 32)
    few = cells(10, size=32, seed=3)
    for name, split in few.splits().items():
        longer = many.splits()[name]
        np.testing.assert_array_equal(split.images, longer.images[: len(split)])
        np.testing.assert_array_equal(split.instances, longer.instances[: len(split)])


def test_no_two_images_are_the_same():
    data = cells(60, size=16, seed=0)
    images = np.concatenate([split.images for split in data.splits().values()])
    assert len(np.unique(images.reshape(60, -1), axis=0)) == 60


def test_difficulty_moves_the_named_conditions_as_the_table_says():
    assert Conditions.at(0) == Conditions(400, 0.06, 0.1, 0.15, 0.7, 0, 0, 0, 0.1)
    assert Conditions.at(1) == Conditions(12, 0.4, 0.5, 0.35, 1.7, 0.8, 0.2, 0.7, 0.9)
    middle = Conditions.at(0.5)
    assert middle.photons == pytest.approx((400 * 12) ** 0.5, abs=1e-5)
    assert replace(middle, photons=0) == Conditions(
        0, 0.23, 0.3, 0.25, 1.2, 0.4, 0.1, 0.35, 0.5
    )


EMPTY = Conditions(
    photons=100,
    background=1.0,
    variation=0,
    texture=0,
    blur=1,
    clustering=0,
    overlap=0,
    haze=0,
    gradient=0,
)


def test_noise_has_the_variance_of_photons_and_read_out():
    # No cells and an even background: every pixel has the same expectation.
    # 25 photons are five deviations from both ends of the scale: nothing is clipped.
    dim = replace(EMPTY, photons=25)
    images = cells(30, cells_per_image=0, conditions=dim).train.images
    electrons = images.astype(np.float64) * FULL_SCALE * dim.photons
    # 22 x 4096 samples: relative error of the mean 0.0007, of the variance 0.005;
    # bounds of five deviations.
    assert electrons.mean() == pytest.approx(25, rel=0.0035)
    assert electrons.var() == pytest.approx(25 + READ_NOISE**2, rel=0.025)


def test_illumination_falls_off_by_the_gradient():
    bright = replace(EMPTY, photons=1e8, gradient=0.8)
    images = cells(150, cells_per_image=0, conditions=bright).train.images
    light = images[..., 0] * FULL_SCALE  # 1 in the center of the light
    assert 0.2 < light.min() < 0.35  # a corner opposite of a center near a corner
    assert 0.98 < light.max() < 1.01


def test_the_mask_is_the_shape_that_light_comes_from():
    # Without blur, noise and background a pixel is lit exactly where there is a cell.
    sharp = replace(EMPTY, photons=1e8, background=0, blur=0.01)
    split = cells(30, conditions=sharp).train
    np.testing.assert_array_equal(split.images[..., 0] > 1e-3, split.masks == 1)


def test_cells_are_drawn_where_a_loop_over_pixels_draws_them():
    rng = np.random.default_rng(0)
    n, margin, (height, width) = 5, 3, (30, 40)
    waves = 0.1 * rng.random((n, len(HARMONICS))) * np.exp(6j * rng.random((n, 1)))
    population = _Population(
        row=rng.uniform(0, height, n),
        column=rng.uniform(0, width, n),
        radius=rng.uniform(3, 8, n),
        waves=waves,
        light=rng.uniform(0.5, 1.5, n),
    )
    light, numbers = _draw(
        [population], (height + 2 * margin, width + 2 * margin), margin
    )
    expected = np.zeros_like(light[0])
    expected_numbers = np.zeros_like(numbers[0])
    for y, x in np.ndindex(expected.shape):
        for k in range(n):
            dy = y + 0.5 - margin - population.row[k]
            dx = x + 0.5 - margin - population.column[k]
            angle = np.arctan2(dy, dx)
            radius = population.radius[k] * (
                1 + (waves[k] * np.exp(1j * HARMONICS * angle)).real.sum()
            )
            inside = 1 - (dx**2 + dy**2) / radius**2
            if inside >= 0:
                expected[y, x] += population.light[k] * (0.5 + 0.5 * np.sqrt(inside))
                expected_numbers[y, x] = k + 1
    np.testing.assert_array_equal(numbers[0], expected_numbers)
    # Single precision, and a square root near zero at the rim: 1e-7 becomes 3e-4.
    np.testing.assert_allclose(light[0], expected, atol=2e-3)


def test_blur_spreads_a_cell_but_keeps_its_light():
    sharp = replace(EMPTY, photons=1e8, background=0, blur=0.01)
    blurred = replace(sharp, blur=2.0)
    options = {"size": 65, "cells_per_image": 1, "radius": 4, "seed": 2}
    one, two = (cells(40, conditions=c, **options).train for c in (sharp, blurred))
    # Keep cells at least 16 pixels from the border: all of their light is inside.
    border = np.ones((65, 65), bool)
    border[16:-16, 16:-16] = False
    inside = ~one.masks[:, border].any(axis=1)
    assert inside.sum() >= 3
    np.testing.assert_allclose(
        one.images[inside].sum(axis=(1, 2, 3)),
        two.images[inside].sum(axis=(1, 2, 3)),
        rtol=1e-3,  # the Gaussian is cut at four deviations
    )
    assert (two.images[inside] > 1e-3).sum() > 1.5 * (one.images[inside] > 1e-3).sum()


def test_the_radius_sets_the_size_of_cells():
    for radius in (3, 6, 12):
        side = 24 * radius  # wide, because a border cuts large cells first
        data = cells(20, size=side, radius=radius, difficulty=0)
        split = data.train
        border = np.ones((side, side), bool)
        border[1:-1, 1:-1] = False
        areas = [
            (numbers == k).sum()
            for numbers in split.instances
            for k in range(1, numbers.max() + 1)
            if not (numbers[border] == k).any()  # whole cells only
        ]
        # Mean square of a lognormal of deviation 0.18 is exp(2 * 0.18**2) = 1.07
        # times the square of its median; cutting cells at the border and the waves
        # of the outline move it by a few percent.
        assert np.mean(areas) == pytest.approx(np.pi * radius**2 * 1.07, rel=0.1)


def test_cells_touch_when_they_cluster():
    def touching(clustering, overlap):
        conditions = replace(EMPTY, clustering=clustering, overlap=overlap)
        split = cells(60, cells_per_image=6, conditions=conditions).train
        merged = sum(ndimage.label(mask)[1] for mask in split.masks)
        return 1 - merged / split.instances.max(axis=(1, 2)).sum()

    # Measured: 0.00, 0.68, 0.83.
    assert touching(0, 0) < 0.1
    assert 0.5 < touching(1, 0) < 0.76
    assert touching(1, 0.2) > 0.76


def test_the_number_of_cells_is_what_was_asked_for():
    split = cells(60, size=96, cells_per_image=(2, 4), difficulty=0).train
    numbers = split.instances.max(axis=(1, 2))
    assert set(numbers) == {2, 3, 4}


def test_harder_means_harder_for_a_threshold():
    def iou(difficulty):
        split = cells(60, difficulty=difficulty, seed=1).train
        found = np.stack([i > threshold_otsu(i) for i in split.images[..., 0]])
        truth = split.masks == 1
        return (found & truth).sum() / (found | truth).sum()

    scores = [iou(difficulty) for difficulty in (0, 0.5, 1)]
    # Measured: 0.96, 0.77, 0.50; a small U-Net reaches 0.93 on the second.
    assert scores[0] > 0.9
    assert 0.65 < scores[1] < 0.82
    assert scores[2] < 0.6


def test_renumbering_closes_gaps_in_each_image():
    instances = np.array([[[0, 5, 5], [2, 0, 9]], [[3, 3, 0], [0, 0, 0]]], np.int32)
    expected = [[[0, 2, 2], [1, 0, 3]], [[1, 1, 0], [0, 0, 0]]]
    assert _renumber(instances).tolist() == expected
    assert _renumber(np.zeros((1, 2, 2), np.int32)).tolist() == [[[0, 0], [0, 0]]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 2}, "count is 2.*at least 3"),
        ({"count": 10.0}, "count is 10.0"),
        ({"count": True}, "count is True"),
        ({"size": 15}, "size is 15.*at least 16"),
        ({"size": (64, 8)}, r"size is \(64, 8\).*at least 16"),
        ({"size": (64, 64, 1)}, "side in pixels"),
        ({"size": 64.0}, "side in pixels"),
        ({"size": "64"}, "side in pixels"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": None}, "seed is None"),
        ({"difficulty": 1.1}, "difficulty is 1.1.*between 0 and 1"),
        ({"difficulty": float("nan")}, "difficulty is nan"),
        ({"difficulty": "hard"}, "difficulty is 'hard'"),
        ({"radius": 20}, "radius is 20.*between 2 and 16"),
        ({"radius": float("inf")}, "radius is inf"),
        ({"radius": -1}, "radius is -1"),
        ({"cells_per_image": (5, 2)}, "fewest not above most"),
        ({"cells_per_image": -1}, "cells_per_image is -1"),
    ],
)
def test_a_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        cells(**arguments)


@given(st.integers(3, 100_000))
def test_split_sizes_add_up_to_the_count(count):
    train, val, test = split_sizes(count)
    assert train + val + test == count
    assert val == test >= 1
    assert train >= val
    if count >= 20:
        # Rounded to a whole image: half an image off at most.
        assert abs(val - 0.15 * count) <= 0.5


def test_streams_are_independent_of_each_other():
    first = [stream(0, split, i).random() for split in range(3) for i in range(50)]
    assert len(set(first)) == 150
