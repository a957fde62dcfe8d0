"""Image and mask move together, and no label is invented."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy import ndimage

from seglab.data import Augment, resize_images, resize_masks, stretch_contrast
from seglab.data.transforms import _reflect, _sample

EXACT = Augment.dihedral()
MOVES = Augment(rotate=40, scale=0.3, shift=0.2, elastic=0.05, brightness=0, contrast=0)


def batch(n=3, height=9, width=12, channels=1, seed=0, labels=(0, 1, 2, 255)):
    rng = np.random.default_rng(seed)
    images = rng.random((n, height, width, channels), dtype=np.float32)
    masks = rng.choice(np.int32(labels), (n, height, width))
    return images, masks


def blobs(n=8, side=48, seed=0):
    """Smooth binary shapes: {0, 1} images with few edge pixels, and their masks."""
    noise = np.random.default_rng(seed).standard_normal((n, side, side))
    masks = (ndimage.gaussian_filter(noise, (0, 6, 6)) > 0).astype(np.int32)
    return masks[..., None].astype(np.float32), masks


amounts = st.floats(0, 0.5)
augments = st.builds(
    Augment,
    flip=st.sampled_from([True, False, "horizontal", "vertical"]),
    quarter_turns=st.booleans(),
    rotate=st.floats(0, 180),
    scale=amounts,
    shift=st.floats(0, 3),
    elastic=amounts,
    brightness=amounts,
    contrast=amounts,
    noise=amounts,
)
sides = st.integers(1, 11)


@given(augments, sides, sides, st.sampled_from([1, 3]), st.integers(0, 3))
@settings(max_examples=60)
def test_shape_dtype_range_and_labels_are_kept(augment, height, width, channels, n):
    images, masks = batch(n, height, width, channels)
    before = images.copy(), masks.copy()
    new_images, new_masks = augment(images, masks, np.random.default_rng(1))
    assert new_images.shape == images.shape and new_images.dtype == np.float32
    assert new_masks.shape == masks.shape and new_masks.dtype == np.int32
    assert new_images.size == 0 or 0 <= new_images.min() <= new_images.max() <= 1
    for new, old in zip(new_masks, masks, strict=True):  # each from its own image
        assert set(new.flat) <= set(old.flat)
    # The caller's arrays are not written to.
    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(masks, before[1])


@given(augments)
@settings(max_examples=20)
def test_the_same_generator_state_gives_the_same_batch(augment):
    images, masks = batch()
    one = augment(images, masks, np.random.default_rng(7))
    two = augment(images, masks, np.random.default_rng(7))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])


def test_other_draws_give_other_batches():
    images, masks = batch(8, 16, 16)
    rng = np.random.default_rng(7)
    one, two = Augment()(images, masks, rng), Augment()(images, masks, rng)
    assert not np.array_equal(one[0], two[0])
    assert not np.array_equal(one[1], two[1])


def test_all_off_is_the_identity():
    off = Augment(False, rotate=0, scale=0, shift=0, brightness=0, contrast=0)
    images, masks = batch()
    new_images, new_masks = off(images, masks, np.random.default_rng(0))
    np.testing.assert_array_equal(new_images, images)
    np.testing.assert_array_equal(new_masks, masks)


@pytest.mark.parametrize(("height", "width"), [(9, 9), (8, 8), (7, 10)])
def test_the_exact_moves_keep_image_and_mask_equal(height, width):
    _, masks = batch(64, height, width, labels=range(16))
    images = (masks[..., None] / 16).astype(np.float32)
    new_images, new_masks = EXACT(images, masks, np.random.default_rng(3))
    np.testing.assert_array_equal(new_images[..., 0] * 16, new_masks)
    # A permutation of pixels: the histogram of each mask is as it was.
    for old, new in zip(masks, new_masks, strict=True):
        np.testing.assert_array_equal(np.sort(old, axis=None), np.sort(new, axis=None))


def symmetries(mask):
    """The images of a mask under numpy's own turns and flips."""
    turns = [np.rot90(mask, k) for k in range(4)]
    return [*turns, *(turn[:, ::-1] for turn in turns)]


def test_dihedral_gives_the_eight_symmetries_of_a_square_equally_often():
    mask = np.arange(16, dtype=np.int32).reshape(4, 4)
    n = 4000
    masks = np.repeat(mask[None], n, axis=0)
    _, new = EXACT(np.zeros((n, 4, 4, 1), np.float32), masks, np.random.default_rng(0))
    counts = [sum(np.array_equal(m, s) for m in new) for s in symmetries(mask)]
    assert sum(counts) == n
    # Binomial with n p = 500: five standard deviations are 105.
    assert min(counts) > 395 and max(counts) < 605


def test_quarter_turns_without_flips_are_the_four_turns():
    mask = np.arange(9, dtype=np.int32).reshape(3, 3)
    augment = Augment(False, True, rotate=0, scale=0, shift=0, brightness=0, contrast=0)
    masks = np.repeat(mask[None], 200, axis=0)
    _, new = augment(
        np.zeros((200, 3, 3, 1), np.float32), masks, np.random.default_rng(0)
    )
    seen = {m.tobytes() for m in new}
    assert seen == {np.rot90(mask, k).tobytes() for k in range(4)}


@pytest.mark.parametrize(
    ("flip", "expected"),
    [
        (False, {(0, 0)}),
        ("horizontal", {(0, 0), (0, 1)}),
        ("vertical", {(0, 0), (1, 0)}),
        (True, {(0, 0), (0, 1), (1, 0), (1, 1)}),
    ],
)
def test_flip_names_the_axis_it_mirrors(flip, expected):
    mask = np.arange(6, dtype=np.int32).reshape(2, 3)
    augment = Augment(flip, rotate=0, scale=0, shift=0, brightness=0, contrast=0)
    masks = np.repeat(mask[None], 100, axis=0)
    _, new = augment(
        np.zeros((100, 2, 3, 1), np.float32), masks, np.random.default_rng(0)
    )
    flipped = {
        (r, c): mask[:: -1 if r else 1, :: -1 if c else 1].tobytes()
        for r in (0, 1)
        for c in (0, 1)
    }
    assert {m.tobytes() for m in new} == {flipped[key] for key in expected}


@pytest.mark.parametrize("side", [8, 9])
def test_interpolating_a_pure_symmetry_equals_moving_the_pixels(side):
    images, masks = batch(40, side, side, 3)
    rng = np.random.default_rng(2)
    chance = rng.uniform(-1, 1, (40, 9)).astype(np.float32)
    moved = EXACT._move(images, masks, chance)
    warped = EXACT._warp(images, masks, chance, np.zeros((40, 2, 3, 3), np.float32))
    # Sines of turns by 0 are exact, so only rounding of positions remains.
    np.testing.assert_allclose(warped[0], moved[0], atol=1e-5)
    np.testing.assert_array_equal(warped[1], moved[1])


@pytest.mark.parametrize(("height", "width"), [(16, 16), (13, 20)])
def test_affine_agrees_with_scipy(height, width):
    augment = Augment(False, rotate=30, scale=0.3, shift=0.4, brightness=0, contrast=0)
    images, masks = batch(6, height, width, 2, labels=range(9))
    new_images, new_masks = augment(images, masks, np.random.default_rng(5))
    # The same draws, and the map spelled out one image at a time in float64.
    chance = np.random.default_rng(5).uniform(-1, 1, (6, 9))
    center = (np.array([height, width]) - 1) / 2
    for i in range(6):
        angle = np.deg2rad(30) * chance[i, 3]
        zoom = 1.3 ** chance[i, 4]
        matrix = (
            np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            / zoom
        )
        shift = chance[i, 5:7] * 0.4 * np.array([height, width])
        offset = center + shift - matrix @ center
        for c in range(2):
            expected = ndimage.affine_transform(
                images[i, ..., c], matrix, offset, order=1, mode="mirror"
            )
            # Positions up to 40 in float32 are good to 4e-6; slopes are up to 1.
            np.testing.assert_allclose(new_images[i, ..., c], expected, atol=5e-5)
        expected = ndimage.affine_transform(
            masks[i], matrix, offset, order=0, mode="mirror"
        )
        # A position within rounding of a pixel's edge may go either way.
        assert (new_masks[i] != expected).mean() < 0.01


def test_image_and_mask_move_together():
    images, masks = blobs()
    new_images, new_masks = MOVES(images, masks, np.random.default_rng(0))
    assert (new_masks != masks).mean() > 0.2  # something moved
    flat = np.isin(new_images[..., 0], (0, 1))  # all four neighbors alike
    assert flat.mean() > 0.8
    np.testing.assert_array_equal(new_images[..., 0][flat], new_masks[flat])
    # At an edge the nearest of the four pixels has at least a quarter of the
    # weight, so the interpolated value is never further off than 3/4.
    assert np.abs(new_images[..., 0] - new_masks).max() <= 0.75 + 1e-5


def test_a_zoom_enlarges_as_often_as_it_shrinks():
    masks = np.zeros((400, 33, 33), np.int32)
    masks[:, 11:22, 11:22] = 1
    images = masks[..., None].astype(np.float32)
    augment = Augment(False, rotate=0, shift=0, scale=0.5)
    _, new = augment(images, masks, np.random.default_rng(0))
    areas = new.sum(axis=(1, 2))
    # Factors within [1 / 1.5, 1.5]: sides 7.3 to 16.5 pixels, rounded.
    assert areas.min() >= 7**2 and areas.max() <= 17**2
    assert 0.35 < (areas > 11**2).mean() < 0.65


def test_shift_moves_up_to_its_fraction_of_the_side():
    masks = np.zeros((200, 20, 40), np.int32)
    masks[:, 10, 20] = 1
    augment = Augment(False, rotate=0, scale=0, shift=0.25)
    images = masks[..., None].astype(np.float32)
    _, new = augment(images, masks, np.random.default_rng(0))
    _, rows, columns = np.nonzero(new)
    assert {rows.min(), rows.max()} == {5, 15}
    assert columns.min() in (10, 11) and columns.max() in (29, 30)


def test_outside_the_image_lies_its_reflection():
    masks = np.arange(5, dtype=np.int32).reshape(1, 1, 5)
    images = (masks[..., None] / 4).astype(np.float32)
    y = np.zeros((1, 1, 5), np.float32)
    padded = np.pad(range(5), 8, mode="reflect")
    for start in range(-8, 9):
        x = np.arange(start, start + 5, dtype=np.float32).reshape(1, 1, 5)
        new_images, new_masks = _sample(images, masks, _reflect(y, 1), _reflect(x, 5))
        assert new_masks[0, 0].tolist() == padded[start + 8 : start + 13].tolist()
        np.testing.assert_array_equal(new_images[..., 0] * 4, new_masks)


def test_elastic_displaces_by_about_its_standard_deviation():
    # On an image that is its own x coordinate, a displacement reads off directly.
    side = 101
    ramp = np.tile(np.linspace(0, 1, side, dtype=np.float32), (300, side, 1))
    augment = Augment(
        False, rotate=0, scale=0, shift=0, elastic=0.03, brightness=0, contrast=0
    )
    new, _ = augment(
        ramp[..., None], np.zeros(ramp.shape, np.int32), np.random.default_rng(0)
    )
    moved = (new[..., 0] - ramp)[:, 50, 50]  # the middle of the 3 x 3 grid
    # 300 draws: the spread of a standard deviation is 4 %; five of them.
    assert moved.std() == pytest.approx(0.03 * side / (side - 1), rel=0.2)
    # Smooth: away from reflections neighbors move alike (a ramp step is 0.01).
    inner = (new[..., 0] - ramp)[:, 20:-20, 20:-20]
    assert np.abs(np.diff(inner, axis=-1)).max() < 0.008


def test_brightness_contrast_and_noise_leave_masks_alone():
    images, masks = batch(8, 16, 16)
    images = images * 0.2 + 0.4  # nothing clips
    still = {"flip": False, "rotate": 0, "scale": 0, "shift": 0}
    augment = Augment(**still, brightness=0.1, contrast=0.2, noise=0)
    new, new_masks = augment(images, masks, np.random.default_rng(0))
    np.testing.assert_array_equal(new_masks, masks)
    for old, x in zip(images.reshape(8, -1), new.reshape(8, -1), strict=True):
        factor, offset = np.polyfit(old, x, 1)  # one line per image
        np.testing.assert_allclose(x, factor * old + offset, atol=1e-5)
        assert 1 / 1.2 <= factor <= 1.2
        assert abs(x.mean() - old.mean()) <= 0.1 + 1e-6
    noisy = Augment(**still, brightness=0, contrast=0, noise=0.05)
    new, _ = noisy(images, masks, np.random.default_rng(0))
    # 256 pixels: sample standard deviations are good to 5 %; up to 0.05 at most.
    assert (new - images).std(axis=(1, 2, 3)).max() < 0.06
    assert len({float(s) for s in (new - images).std(axis=(1, 2, 3))}) == 8


@pytest.mark.parametrize(
    ("argument", "match"),
    [
        ({"rotate": -1}, "rotate is -1"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"scale": float("inf")}, "scale is inf"),
        ({"shift": True}, "shift is True"),
        ({"flip": "both"}, "flip is 'both'"),
    ],
)
def test_bad_amounts_are_named(argument, match):
    with pytest.raises(ValueError, match=match):
        Augment(**argument)


def test_bad_batches_are_named():
    images, masks = batch()
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="masks has shape"):
        Augment()(images, masks[:2], rng)
    with pytest.raises(ValueError, match=r"images\[None\]"):
        Augment()(images[0], masks[0], rng)
    with pytest.raises(TypeError, match="float array"):
        Augment()((images * 255).astype(np.uint8), masks, rng)
    with pytest.raises(TypeError, match="integer labels"):
        Augment()(images, masks.astype(float), rng)
    with pytest.raises(TypeError, match="default_rng"):
        Augment()(images, masks, 0)


# --- contrast --------------------------------------------------------------


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, 3), sides, sides, st.sampled_from([1, 3])),
        elements=st.floats(-3, 3, width=32),
    )
)
def test_stretched_images_lie_in_the_unit_interval(images):
    new = stretch_contrast(images)
    assert new.shape == images.shape and new.dtype == images.dtype
    assert new.size == 0 or (new.min() >= 0 and new.max() <= 1)


def test_stretch_is_per_image_and_ignores_exposure():
    image = np.random.default_rng(0).random((1, 20, 20, 1), dtype=np.float32)
    exposures = np.concatenate([image, 0.1 * image, 0.3 + 0.5 * image])
    one, two, three = stretch_contrast(exposures)
    # Percentiles of scaled values are scaled percentiles, up to rounding / 0.1.
    np.testing.assert_allclose(one, two, atol=1e-5)
    np.testing.assert_allclose(one, three, atol=1e-5)
    low, high = np.percentile(image, [1, 99.8])
    np.testing.assert_allclose(
        one, np.clip((image[0] - low) / (high - low), 0, 1), atol=1e-6
    )


def test_stretch_keeps_the_ratios_of_channels():
    image = np.zeros((1, 10, 10, 3), np.float32)
    image[0, :5] = (0.4, 0.2, 0.0)
    new = stretch_contrast(image, 0, 100)
    np.testing.assert_allclose(new[0, 0, 0], (1, 0.5, 0), atol=1e-6)


@pytest.mark.parametrize("value", [0, 0.1, 1])
def test_a_constant_image_becomes_zero(value):
    images = np.full((2, 5, 7, 1), value, np.float32)
    np.testing.assert_array_equal(stretch_contrast(images), 0)


def test_a_lone_bright_pixel_on_a_constant_image_stays_bright():
    images = np.full((1, 40, 40, 1), 0.1, np.float32)
    images[0, 3, 4] = 0.9
    new = stretch_contrast(images)
    assert new.sum() == 1 and new[0, 3, 4, 0] == 1


def test_stretch_refuses_nan_bytes_and_bad_percentiles():
    images = np.full((1, 4, 4, 1), np.nan, np.float32)
    with pytest.raises(ValueError, match="NaN"):
        stretch_contrast(images)
    with pytest.raises(TypeError, match="255"):
        stretch_contrast(np.zeros((1, 4, 4, 1), np.uint8))
    for low, high in [(50, 50), (90, 10), (-1, 99), (1, 101), (float("nan"), 99)]:
        with pytest.raises(ValueError, match="percentiles"):
            stretch_contrast(np.zeros((1, 4, 4, 1), np.float32), low, high)


# --- size ------------------------------------------------------------------


def nearest_by_loop(mask, height, width):
    new = np.empty((height, width), mask.dtype)
    for i in range(height):
        for j in range(width):
            y = (i + 0.5) * mask.shape[0] / height
            x = (j + 0.5) * mask.shape[1] / width
            new[i, j] = mask[int(np.floor(y)), int(np.floor(x))]
    return new


@given(sides, sides, sides, sides, st.integers(0, 9))
def test_masks_take_the_label_under_the_center(h, w, height, width, seed):
    masks = np.random.default_rng(seed).integers(0, 300, (2, h, w)).astype(np.int32)
    new = resize_masks(masks, (height, width))
    assert new.dtype == masks.dtype and set(new.flat) <= set(masks.flat)
    for old, mask in zip(masks, new, strict=True):
        np.testing.assert_array_equal(mask, nearest_by_loop(old, height, width))


def test_masks_agree_with_pillow():
    # Odd sides onto others: no center falls on an edge, where Pillow's float
    # positions go either way.
    masks = np.random.default_rng(0).integers(0, 255, (1, 91, 61)).astype(np.uint8)
    expected = Image.fromarray(masks[0]).resize((40, 33), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(resize_masks(masks, (33, 40))[0], expected)


@given(sides, sides, sides, sides, st.sampled_from([1, 3]))
def test_resized_images_stay_in_range(h, w, height, width, channels):
    images, _ = batch(2, h, w, channels)
    new = resize_images(images, (height, width))
    assert new.shape == (2, height, width, channels) and new.dtype == images.dtype
    assert images.min() <= new.min() and new.max() <= images.max()


def test_shrinking_averages_and_so_does_not_alias():
    # Stripes one pixel wide: picking pixels would give all 0 or all 1.
    stripes = np.tile(np.float32([0, 1]), (1, 64, 32))[..., None]
    new = resize_images(stripes, 8)
    np.testing.assert_allclose(new[0, :, 1:-1], 0.5, atol=0.01)


def test_growing_is_bilinear():
    images, _ = batch(1, 5, 6)
    new = resize_images(images, (10, 18))
    y, x = np.meshgrid(
        (np.arange(10) + 0.5) / 2 - 0.5, (np.arange(18) + 0.5) / 3 - 0.5, indexing="ij"
    )
    expected = ndimage.map_coordinates(
        images[0, ..., 0], [y, x], order=1, mode="nearest"
    )
    np.testing.assert_allclose(new[0, ..., 0], expected, atol=1e-5)


def test_images_and_masks_stay_aligned_when_resized():
    images, masks = blobs(side=48)
    for size in (24, 31, 96):
        new_images, new_masks = resize_images(images, size), resize_masks(masks, size)
        # A shift by half a pixel would disagree along every edge.
        assert ((new_images[..., 0] > 0.5) == new_masks).mean() > 0.97


@pytest.mark.parametrize("size", [0, -4, 2.5, (4,), (4, 4, 4), (4, 0), True, "ab"])
def test_bad_sizes_are_named(size):
    images, masks = batch()
    with pytest.raises(ValueError, match="size is"):
        resize_images(images, size)
    with pytest.raises(ValueError, match="size is"):
        resize_masks(masks, size)


def test_resizing_refuses_the_wrong_kind():
    images, masks = batch()
    with pytest.raises(TypeError, match="labels are integers"):
        resize_masks(masks.astype(np.float32), 4)
    with pytest.raises(ValueError, match=r"masks\[None\]"):
        resize_masks(masks[0], 4)
    with pytest.raises(TypeError, match="255"):
        resize_images((images * 255).astype(np.uint8), 4)
