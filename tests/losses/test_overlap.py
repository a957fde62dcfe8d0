"""Tversky and Dice: soft counts by loops, the metrics, and what absent classes cost."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seglab import metrics, scratch
from seglab.losses import Dice, Tversky

IGNORE = 255


def tversky(masks, logits, fp_weight, fn_weight):
    """Count hits, false positives and misses of each class, pixel by pixel."""
    C = logits.shape[-1]
    hit, fp, fn = np.zeros((3, C))
    for place in np.ndindex(*masks.shape):
        if masks[place] == IGNORE:
            continue
        exp = np.exp(logits[place] - logits[place].max())
        for k, p in enumerate(exp / exp.sum()):
            if masks[place] == k:
                hit[k] += p
                fn[k] += 1 - p
            else:
                fp[k] += p
    terms = [
        1 - hit[k] / (hit[k] + fp_weight * fp[k] + fn_weight * fn[k])
        for k in range(C)
        if (masks == k).any()
    ]
    return np.mean(terms) if terms else 0.0


def tversky_of_images(masks, logits, fp_weight, fn_weight):
    values = [
        tversky(masks[[n]], logits[[n]], fp_weight, fn_weight)
        for n in range(len(masks))
        if (masks[n] != IGNORE).any()
    ]
    return np.mean(values) if values else 0.0


def dice(masks, logits):
    """V-Net's formula, without the squares, class by class."""
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    counted = masks != IGNORE
    terms = []
    for k in range(logits.shape[-1]):
        t = masks[counted] == k
        if t.any():
            q = p[counted][:, k]
            terms.append(1 - 2 * q[t].sum() / (q.sum() + t.sum()))
    return np.mean(terms) if terms else 0.0


@pytest.mark.backends
@pytest.mark.parametrize("weights", [(0.3, 0.7), (0, 2)])
@pytest.mark.parametrize("per_image", [False, True])
def test_tversky_and_its_gradient_like_a_loop(weights, per_image, batch, agrees):
    loop = tversky_of_images if per_image else tversky
    loss = Tversky(*weights, ignore_index=IGNORE, per_image=per_image)
    agrees(loss, lambda y, s: loop(y, s, *weights), *batch())


@pytest.mark.backends
def test_dice_and_its_gradient_by_their_formula(batch, agrees):
    agrees(Dice(ignore_index=IGNORE), dice, *batch())


@settings(max_examples=15)
@given(
    st.integers(0, 999),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from([0, 0.5, 0.95]),
    st.booleans(),
)
def test_any_batch_like_a_loop(batch, agrees, seed, shape, ignored, per_image):
    loop = tversky_of_images if per_image else tversky
    agrees(
        Tversky(0.2, 0.9, ignore_index=IGNORE, per_image=per_image),
        lambda y, s: loop(y, s, 0.2, 0.9),
        *batch(shape, 4, seed=seed, ignored=ignored),
        gradient=False,
    )


@settings(max_examples=15)
@given(st.integers(0, 999), st.sampled_from([(0.5, 0.5), (1, 1)]))
def test_decided_predictions_give_the_metric(seed, weights):
    """With probabilities of 0 and 1: one minus Dice, or IoU, of the classes present."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 1, 2, IGNORE], (2, 5, 6), p=[0.5, 0.3, 0, 0.2])
    guess = rng.integers(0, 4, truth.shape)
    matrix = metrics.confusion_matrix(truth, guess, 4, IGNORE)
    score = metrics.dice(matrix) if weights == (0.5, 0.5) else metrics.iou(matrix)
    loss = Tversky(*weights, ignore_index=IGNORE)
    logits = 100 * np.eye(4, dtype=np.float32)[guess]
    assert float(loss(truth, logits)) == pytest.approx(1 - score[:2].mean(), abs=1e-6)


def test_halves_are_dice(batch):
    data = batch()
    half = Tversky(0.5, 0.5, ignore_index=IGNORE)
    assert float(half(*data)) == float(Dice(ignore_index=IGNORE)(*data))


def test_weights_weigh_what_they_are_named_after():
    truth = np.array([[[0, 0, 0, 1, 1, 1]]])
    invents, misses = [[[0, 0, 1, 1, 1, 1]]], [[[0, 0, 0, 0, 1, 1]]]
    for guess, (fp_weight, fn_weight) in ((invents, (0.9, 0.1)), (misses, (0.1, 0.9))):
        logits = 100 * np.eye(2, dtype=np.float32)[np.array(guess)]
        # Of class 1: one error, three hits or two.
        hits = 3 if guess is invents else 2
        one = 1 - hits / (hits + 0.9)
        zero = 1 - (2 / 2.1 if guess is invents else 3 / 3.1)
        loss = Tversky(fp_weight, fn_weight)
        assert float(loss(truth, logits)) == pytest.approx((one + zero) / 2, abs=1e-6)


def test_dice_is_that_of_keras_where_all_classes_are_there(batch):
    masks, logits = batch((2, 6, 6), ignored=0)
    p = keras.ops.softmax(logits)
    one_hot = np.eye(3, dtype=np.float32)[masks]
    theirs = keras.losses.Dice(axis=(0, 1, 2))
    expected = float(keras.ops.mean(theirs(one_hot, p)))
    assert float(Dice()(masks, logits)) == pytest.approx(expected, rel=1e-5)


def test_the_numpy_network_has_the_same_dice_where_all_classes_are_there(batch):
    masks, logits = batch((2, 6, 6))
    p = scratch.Softmax().forward(logits)
    expected = scratch.Dice(IGNORE).forward(p, masks)
    assert float(Dice(ignore_index=IGNORE)(masks, logits)) == pytest.approx(
        expected, rel=1e-5
    )


def test_an_absent_class_costs_where_it_was_predicted():
    truth = np.array([[[0, 0, 0, 0]]])
    clean = 100 * np.eye(3, dtype=np.float32)[truth]
    assert float(Dice()(truth, clean)) == pytest.approx(0, abs=1e-6)
    # Two of four pixels go to class 2: of class 0, Dice is 2 * 2 / (2 + 4).
    guess = np.array([[[0, 0, 2, 2]]])
    invented = 100 * np.eye(3, dtype=np.float32)[guess]
    assert float(Dice()(truth, invented)) == pytest.approx(1 - 2 / 3, abs=1e-6)


def test_an_image_without_an_object_and_one_with():
    """Over the batch the object is one; image by image each is a case of its own."""
    truth = np.array([[[0, 0]], [[0, 1]]])
    logits = 100 * np.eye(2, dtype=np.float32)[np.array([[[0, 1]], [[0, 1]]])]
    pooled, single = (
        float(Dice()(truth, logits)),
        float(Dice(per_image=True)(truth, logits)),
    )
    # Class 0: 2 of 3 found, class 1: 1 found, 1 invented.
    assert pooled == pytest.approx(1 - (4 / 5 + 2 / 3) / 2, abs=1e-6)
    # First image: class 0 alone, 1 of 2 found; second: perfect.
    assert single == pytest.approx((1 - 2 / 3) / 2, abs=1e-6)


def test_the_same_image_twice_is_the_same_loss(batch):
    masks, logits = batch((1, 4, 5))
    for per_image in (False, True):
        loss = Dice(ignore_index=IGNORE, per_image=per_image)
        twice = loss(np.repeat(masks, 2, 0), np.repeat(logits, 2, 0))
        assert float(twice) == pytest.approx(float(loss(masks, logits)), rel=1e-6)
