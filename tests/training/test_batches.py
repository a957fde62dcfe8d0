"""What the network is fed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seglab.data import Augment, Split
from seglab.training.batches import Batches


def numbered(n, size=4):
    """Image k is k / n everywhere, and its mask holds k."""
    k = np.arange(n)
    masks = np.broadcast_to(k[:, None, None], (n, size, size)).astype(np.int32)
    images = (masks[..., None] / n).astype(np.float32)
    return Split(images, masks, tuple(f"class {i}" for i in range(n)))


def an_epoch(batches):
    return [batches[i] for i in range(batches.num_batches)]


@given(st.integers(1, 12), st.integers(1, 15), st.integers(0, 3))
def test_an_epoch_shows_every_image_in_batches_of_one_size(n, batch_size, seed):
    split = numbered(n)
    batches = Batches(split, batch_size, size=(4, 4), seed=seed)
    for _ in range(3):
        epoch = an_epoch(batches)
        assert {len(x) for x, _ in epoch} == {min(n, batch_size)}
        seen = np.concatenate([y[:, 0, 0] for _, y in epoch])
        assert set(seen.tolist()) == set(range(n))
        # No image comes a third time before all have come once.
        assert np.bincount(seen).max() <= 2
        for x, y in epoch:  # an image keeps its own mask
            np.testing.assert_allclose(x[..., 0] * n, y, rtol=1e-6)
        batches.on_epoch_begin()


def test_order_depends_on_seed_and_epoch_alone():
    def orders(seed):
        batches = Batches(numbered(30), 7, size=(4, 4), seed=seed)
        orders = []
        for _ in range(2):
            orders.append(batches.order.tolist())
            batches.on_epoch_begin()
        return orders

    first, again, other = orders(0), orders(0), orders(1)
    assert first == again
    assert first[0] != first[1]
    assert first != other


def test_augmentation_does_not_depend_on_who_fetches_when():
    batches = Batches(numbered(9, 8), 3, size=(8, 8), augment=Augment(noise=0.1))
    forward = an_epoch(batches)
    backward = [batches[i] for i in reversed(range(3))][::-1]
    for (x, y), (x2, y2) in zip(forward, backward, strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)
    batches.on_epoch_begin()
    assert not np.array_equal(an_epoch(batches)[0][0], forward[0][0])


def test_masks_are_cut_to_the_output_after_the_augmentation():
    seen = []

    def augment(images, masks, rng):
        seen.append(masks.shape)
        return images, masks

    x, y = Batches(numbered(2, 6), 2, size=(2, 4), augment=augment)[0]
    assert seen == [(2, 6, 6)]
    assert x.shape == (2, 6, 6, 1)
    assert y.shape == (2, 2, 4)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (2, 2), (2, 4)])
def test_the_center_is_what_a_crop_keeps(height, width):
    from seglab.training.crop import center_crop

    mask = np.zeros((1, 4, 4), np.int32)
    top, left = (4 - height) // 2, (4 - width) // 2
    mask[:, top : 4 - top, left : 4 - left] = 1
    assert center_crop(mask, height, width).all()
    assert center_crop(mask, height, width).shape == (1, height, width)
