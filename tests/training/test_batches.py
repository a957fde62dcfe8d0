"""What the network is fed."""

import tracemalloc

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from seglab.data import Augment, Split, load
from seglab.training import evaluate, fit
from seglab.training.batches import Batches


def numbered(n, size=4):
    """Image k is k / n everywhere, and its mask holds k."""
    k = np.arange(n)
    masks = np.broadcast_to(k[:, None, None], (n, size, size)).astype(np.int32)
    images = (masks[..., None] / n).astype(np.float32)
    return Split(images, masks, tuple(f"class {i}" for i in range(n)))


def several_classes(containing, n):
    """Images 0 to n - 1 of a line of pixels; class k lies in those of `containing[k]`.

    The image's number is its gray value times n. Pixels without a class are ignored.
    """
    masks = np.full((n, 1, len(containing)), 255, np.int32)
    for k, images in enumerate(containing):
        masks[list(images), 0, k] = k
    images = np.broadcast_to(
        (np.arange(n, dtype=np.float32) / n)[:, None, None, None], (*masks.shape, 1)
    )
    names = tuple(f"class {k}" for k in range(len(containing)))
    return Split(images, masks, names, ignore_index=255)


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


# Balanced sampling.


@st.composite
def occurrences(draw):
    """Which of n images each class lies in; at least one class in one image."""
    n = draw(st.integers(1, 9))
    lists = st.lists(st.sets(st.integers(0, n - 1)), min_size=1, max_size=5)
    return n, draw(lists.filter(any))


@given(occurrences(), st.integers(1, 7), st.integers(0, 3))
def test_balanced_draws_go_round_classes_and_images(case, batch_size, seed):
    """Each draw can be credited to a class as the rule says, whoever may judge.

    The judge knows the rule alone: he tries all ways of crediting a round's draws to
    distinct classes, keeps those in which no image comes again for a class before all
    of that class have come, and must be left with one at the end.
    """
    n, containing = case
    present = [sorted(images) for images in containing if images]
    batches = Batches(
        several_classes(containing, n),
        batch_size,
        size=(1, len(containing)),
        seed=seed,
        sampling="balanced",
    )
    order = np.concatenate([np.rint(x[:, 0, 0, 0] * n) for x, _ in an_epoch(batches)])
    assert len(order) == batches.num_batches * batches.batch_size >= n
    K = len(present)

    def possible(turn, free, used):
        if turn == len(order):
            return True
        if turn % K == 0:
            free = frozenset(range(K))
        for k in free:
            left = used[k] or frozenset(present[k])
            if order[turn] in left:
                rest = (*used[:k], left - {order[turn]}, *used[k + 1 :])
                if possible(turn + 1, free - {k}, rest):
                    return True
        return False

    assert possible(0, frozenset(), (frozenset(),) * K)


def test_with_one_class_an_image_the_counts_are_exact():
    """20 images of class 0, 4 of class 1, 1 of class 2: a third of the draws each."""
    containing = [range(20), range(20, 24), [24]]
    batches = Batches(
        several_classes(containing, 25), 5, size=(1, 3), sampling="balanced"
    )
    for _ in range(3):
        counts = np.bincount(batches.order, minlength=25)
        by_class = [counts[:20].sum(), counts[20:24].sum(), counts[24]]
        assert sorted(by_class) == [8, 8, 9]
        assert np.ptp(counts[20:24]) <= 1 and np.ptp(counts[:20]) <= 1
        batches.on_epoch_begin()


def test_balanced_draws_have_the_stated_frequencies():
    """An image is drawn with chance sum 1 / (K n_k) over the classes k in it.

    2000 epochs of 12 draws. The rounds make draws more even than independent ones,
    whose frequency has a standard deviation of at most (0.25 / 24000) ** 0.5 = 0.0032;
    four of them are allowed.
    """
    containing = [range(12), [0, 1, 2], [2], []]
    batches = Batches(
        several_classes(containing, 12), 4, size=(1, 4), sampling="balanced"
    )
    chance = np.full(12, 1 / 3 / 12)
    chance[:3] += 1 / 3 / 3
    chance[2] += 1 / 3
    counts = np.zeros(12)
    for _ in range(2000):
        counts += np.bincount(batches.order, minlength=12)
        batches.on_epoch_begin()
    np.testing.assert_allclose(counts / counts.sum(), chance, atol=0.013)
    assert chance.sum() == pytest.approx(1)


def test_balanced_order_depends_on_seed_and_epoch_alone():
    def orders(seed):
        split = several_classes([range(30), [3, 7]], 30)
        batches = Batches(split, 7, size=(1, 2), seed=seed, sampling="balanced")
        orders = [batches.order.tolist()]
        batches.on_epoch_begin()
        return [*orders, batches.order.tolist()]

    first, again, other = orders(0), orders(0), orders(1)
    assert first == again
    assert first[0] != first[1]
    assert first != other


def test_what_lies_outside_the_output_is_no_class_of_an_image():
    masks = np.zeros((10, 6, 6), np.int32)
    masks[3, 0, 0] = 1  # in the border alone
    masks[5, 3, 3] = 1
    split = Split(np.zeros((10, 6, 6, 1), np.float32), masks, ("ground", "cell"))
    batches = Batches(split, 10, size=(2, 2), sampling="balanced")
    counts = np.bincount(batches.order, minlength=10)
    assert counts[5] >= 5 and counts[3] <= 1


def test_uniform_order_is_the_permutation_that_it_always_was():
    batches = Batches(numbered(5), 2, size=(4, 4), seed=3)
    permutation = np.random.default_rng([3, 0, 0]).permutation(5)
    assert batches.order.tolist() == [*permutation, permutation[0]]


def test_mistakes_of_sampling_are_named():
    with pytest.raises(ValueError, match="sampling is 'equal'; it must be"):
        Batches(numbered(3), 2, size=(4, 4), sampling="equal")
    with pytest.raises(ValueError, match="there is no class to balance"):
        Batches(several_classes([[]], 3), 2, size=(1, 1), sampling="balanced")


def test_fit_passes_the_sampling_on(dataset, make_model):
    with pytest.raises(ValueError, match="sampling is 'rare'"):
        fit(make_model(), dataset, epochs=1, sampling="rare")
    fit(make_model(), dataset, epochs=1, sampling="balanced")


def test_augmentation_does_not_depend_on_who_fetches_when():
    batches = Batches(numbered(9, 8), 3, size=(8, 8), augment=Augment(noise=0.1))
    forward = an_epoch(batches)
    backward = [batches[i] for i in reversed(range(3))][::-1]
    for (x, y), (x2, y2) in zip(forward, backward, strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)
    batches.on_epoch_begin()
    assert not np.array_equal(an_epoch(batches)[0][0], forward[0][0])


# Images that stay on disk.


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory):
    """100 RGB images of 128 x 128: 20 MB of floats, and 7 MB of masks."""
    root = tmp_path_factory.mktemp("data") / "slopes"
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for i in range(100):
        image = np.full((128, 128, 3), i, np.uint8)
        image[..., 0] = np.arange(128) * 2
        mask = (image[..., 0] > rng.integers(40, 200)).astype(np.uint8)
        Image.fromarray(image).save(root / f"images/{i:02}.png", compress_level=1)
        Image.fromarray(mask).save(root / f"masks/{i:02}.png", compress_level=1)
    return root


@pytest.mark.slow
@pytest.mark.backends
def test_training_from_disk_is_the_same_and_holds_a_few_images(on_disk):
    def train(stream):
        keras.utils.set_random_seed(0)
        image = keras.Input((128, 128, 3))
        model = keras.Model(image, keras.layers.Conv2D(2, 1)(image))
        tracemalloc.start()
        try:
            data = load(on_disk, stream=stream)
            history = fit(
                model, data, epochs=2, batch_size=4, augment=Augment.dihedral()
            )
            report = evaluate(model, data.test, batch_size=4)
            repr(data)
            return (
                (history.loss, history.val_loss, history.val_iou.tolist()),
                report.confusions.tolist(),
                [w.tolist() for w in model.get_weights()],
                tracemalloc.get_traced_memory()[1],
            )
        finally:
            tracemalloc.stop()

    *results, peak = train(stream=True)
    *expected, peak_in_memory = train(stream=False)
    assert results == expected  # bit for bit
    whole = 100 * 128 * 128 * (3 * 4 + 4)  # bytes
    # A batch of 4 is 1 MB, and a few are on their way; Keras and the backend's
    # tracing take some 7 MB of Python objects.
    assert peak < whole / 2 < whole < peak_in_memory


@pytest.mark.parametrize("sampling", ["uniform", "balanced"])
def test_reading_ahead_changes_nothing(on_disk, sampling):
    memory, disk = (
        Batches(
            load(on_disk, count=20, size=16, stream=stream).train,
            3,
            size=(16, 16),
            augment=Augment(noise=0.1),
            sampling=sampling,
        )
        for stream in (False, True)
    )
    # In order, again, out of order, and into the next epoch halfway.
    for index in (0, 1, 2, 2, 0, 3, None, 4, 0, None, None, 1, 2):
        if index is None:
            memory.on_epoch_begin()
            disk.on_epoch_begin()
            continue
        for mine, its in zip(memory[index], disk[index], strict=True):
            np.testing.assert_array_equal(mine, its)


def test_the_next_batch_is_read_meanwhile(on_disk):
    split = load(on_disk, count=20, size=16, stream=True).train
    batches = Batches(split, 4, size=(16, 16))
    batches[0]
    (ahead,) = batches._ahead.values()
    images, _ = ahead.result(timeout=60)
    np.testing.assert_array_equal(images, split.images[batches.order[4:8]])
    batches[batches.num_batches - 1]
    assert batches._ahead == {}  # nothing is left to read


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
