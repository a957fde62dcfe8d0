"""Digit scenes: exact masks, writers and textures that no two splits share."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from seglab.data.digits import (
    CLASSES,
    TEXTURE_COLUMNS,
    WRITER_SPLITS,
    WRITERS,
    Page,
    _background,
    _mirrored,
    _scans,
    _textures,
    digits,
)

sizes = st.one_of(
    st.integers(16, 48), st.tuples(st.integers(16, 48), st.integers(16, 48))
)


@settings(max_examples=25)
@given(
    count=st.integers(3, 12),
    size=sizes,
    seed=st.integers(0, 2**32),
    difficulty=st.floats(0, 1),
)
def test_every_data_set_keeps_the_conventions(count, size, seed, difficulty):
    data = digits(count, size=size, seed=seed, difficulty=difficulty)
    height, width = (size, size) if isinstance(size, int) else size
    assert data.classes == CLASSES
    assert data.image_shape == (height, width, 1)
    assert sum(len(split) for split in data.splits().values()) == count
    for split in data.splits().values():
        assert split.images.dtype == np.float32
        # At least one digit always finds a place.
        assert (split.masks > 0).any(axis=(1, 2)).all()


def test_there_is_a_class_for_each_digit():
    assert len(CLASSES) == 11
    assert [CLASSES.index(str(digit)) for digit in range(10)] == list(range(1, 11))
    shares = digits(100).train.class_shares()
    assert shares.shape == (11,)
    assert (shares[1:] > 0.005).all()
    assert shares[0] < 0.9


def test_same_seed_same_images():
    one, two = digits(6, size=32, seed=5), digits(6, size=32, seed=5)
    np.testing.assert_array_equal(one.train.images, two.train.images)
    np.testing.assert_array_equal(one.test.masks, two.test.masks)
    assert (digits(6, size=32, seed=6).train.images != one.train.images).any()


def test_an_image_does_not_depend_on_how_many_there_are(monkeypatch):
    many = digits(60, size=40, seed=3)
    # Nor on how many are composed at a time.
    monkeypatch.setattr("seglab.data.digits.CHUNK", 5 * 40 * 40)
    few = digits(10, size=40, seed=3)
    for name, split in few.splits().items():
        longer = many.splits()[name]
        np.testing.assert_array_equal(split.masks, longer.masks[: len(split)])
        # The windows of a batch are as wide as its largest digit needs: the same
        # arithmetic on the same pixels.
        np.testing.assert_array_equal(split.images, longer.images[: len(split)])


def test_no_writer_and_no_texture_pixel_is_in_two_splits():
    assert WRITERS[-1] == len(load_digits().target)
    assert list(WRITERS) == sorted(set(WRITERS))
    for bounds, last in ((WRITER_SPLITS, len(WRITERS) - 1), (TEXTURE_COLUMNS, 512)):
        flat = [edge for pair in bounds for edge in pair]
        assert flat[0] == 0
        assert flat[-1] == last
        assert flat == sorted(flat)  # they touch, and do not overlap


@pytest.mark.parametrize("split", [0, 1, 2])
def test_a_background_comes_from_its_own_columns(split, monkeypatch):
    # Textures whose brightness is the column number.
    ramp = np.broadcast_to(np.arange(512, dtype=np.float32), (3, 512, 512))
    monkeypatch.setattr("seglab.data.digits._textures", lambda: ramp)
    start, stop = TEXTURE_COLUMNS[split]
    for seed in range(20):
        piece = _background(np.random.default_rng(seed), split, (30, 200))
        assert piece.shape == (30, 200)
        assert start <= piece.min() <= piece.max() < stop


def test_mirroring_goes_back_and_forth():
    assert _mirrored(np.arange(8), 3).tolist() == [0, 1, 2, 2, 1, 0, 0, 1]


def test_textures_are_standardized():
    textures = _textures()
    np.testing.assert_allclose(textures.mean(axis=(1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(textures.std(axis=(1, 2)), 1, atol=1e-4)


def test_enlarged_scans_are_the_scans():
    scans, labels = _scans()
    bunch = load_digits()
    np.testing.assert_array_equal(labels, bunch.target)
    # An interpolant passes through its data: the four samples around the center of
    # an original pixel average to its value, up to curvature and clipping.
    blocks = scans.reshape(len(scans), 12, 4, 12, 4)[:, 2:-2, 1:3, 2:-2, 1:3]
    error = blocks.mean(axis=(2, 4)) - bunch.images / 16
    assert np.abs(error).mean() < 0.02
    assert np.abs(error).max() < 0.15


PLAIN = Page(
    contrast=0.4,
    dark_ink=0.0,
    texture=0.0,
    tilt=0.0,
    spread=0.0,
    spacing=1.2,
    noise=0.0,
)


def test_the_mask_is_where_there_is_ink():
    # An even background and bright ink: the mask must be a threshold of the image.
    split = digits(30, page=PLAIN).train
    for image, mask in zip(split.images[..., 0], split.masks, strict=True):
        paper = np.median(image)
        written = image - paper
        # Ink adds 0.3 to 0.5, and half of that where the mask begins.
        assert written[mask > 0].min() >= 0.15 - 1e-6
        assert written[mask == 0].max() <= 0.25 + 1e-6
        assert written[mask == 0].min() == 0


def test_a_digit_of_eight_pixels_is_its_scan():
    # Drawn at the size it was scanned at, upright, in a corner of its own: the mask
    # must agree with thresholding one of the scans.
    split = digits(20, size=16, digit_size=8, digits_per_image=1, page=PLAIN).train
    bunch = load_digits()
    written = np.pad(bunch.images / 16 > 0.4, ((0, 0), (1, 1), (1, 1)))
    for mask in split.masks:
        label = mask.max() - 1
        found = mask > 0
        rows, columns = np.nonzero(found)
        top, left = rows.min(), columns.min()
        piece = found[top : rows.max() + 1, left : columns.max() + 1]
        best = 0.0
        for scan in written[bunch.target == label]:
            r, c = np.nonzero(scan)
            other = scan[r.min() : r.max() + 1, c.min() : c.max() + 1]
            height = max(len(piece), len(other))
            width = max(piece.shape[1], other.shape[1])
            a, b = (
                np.pad(x, ((0, height - x.shape[0]), (0, width - x.shape[1])))
                for x in (piece, other)
            )
            best = max(best, (a & b).sum() / (a | b).sum())
        # Places are not whole pixels, so that edges move by up to half a pixel.
        assert best > 0.6


def test_dark_ink_is_darker():
    split = digits(30, page=replace(PLAIN, dark_ink=1.0)).train
    for image, mask in zip(split.images[..., 0], split.masks, strict=True):
        assert image[mask > 0].max() < np.median(image)


def test_digits_stay_apart_on_an_easy_page():
    # Digits that overlapped would cover each other's ink.
    options = {"size": 128, "page": PLAIN, "seed": 1}
    ink = [
        (digits(120, digits_per_image=n, **options).train.masks > 0).mean()
        for n in (1, 4)
    ]
    # 84 and 336 digits with a spread of 25 % in their ink: 4 is known to about 3 %.
    assert 3.6 < ink[1] / ink[0] < 4.4
    crowded = replace(PLAIN, spacing=0.3)
    options |= {"size": 48, "page": crowded, "digit_size": 24}
    ink = [
        (digits(120, digits_per_image=n, **options).train.masks > 0).mean()
        for n in (1, 4)
    ]
    assert ink[1] / ink[0] < 3.6


def test_difficulty_moves_the_page_as_the_table_says():
    assert Page.at(0) == Page(0.55, 0.0, 0.04, 5, 0.1, 1.1, 0.01)
    assert Page.at(0.5) == Page(0.4, 0.25, 0.09, 15, 0.2, 0.9, 0.03)
    assert Page.at(1) == Page(0.25, 0.5, 0.14, 25, 0.3, 0.7, 0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count is 0.*at least 3"),
        ({"size": 8}, "size is 8.*at least 16"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"difficulty": -0.1}, "difficulty is -0.1"),
        ({"difficulty": float("nan")}, "difficulty is nan"),
        ({"digit_size": 60}, "digit_size is 60.*between 8 and 42.67"),
        ({"digit_size": 0}, "digit_size is 0"),
        ({"digits_per_image": (3, 1)}, "fewest not above most"),
    ],
)
def test_a_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        digits(**arguments)
