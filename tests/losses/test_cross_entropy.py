"""Cross-entropy and focal loss: by loops, by Keras, and one as the other."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seglab import scratch
from seglab.losses import CrossEntropy, Focal

IGNORE = 255
WEIGHTS = [0.5, 2.0, 3.0]


def cross_entropy(masks, logits, gamma=0.0, weights=(1, 1, 1), pixels=None):
    """Equation 5 of the focal loss's paper; with gamma 0, its equation 3."""
    total = norm = 0.0
    for place in np.ndindex(*masks.shape):
        if masks[place] == IGNORE:
            continue
        k = masks[place]
        exp = np.exp(logits[place] - logits[place].max())
        p = exp[k] / exp.sum()
        w = weights[k] * (1 if pixels is None else pixels[place])
        total += w * (1 - p) ** gamma * -np.log(p)
        norm += w
    return total / norm if norm else 0.0


@pytest.mark.backends
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_and_its_gradient_like_a_loop(weights, batch, agrees):
    loss = CrossEntropy(ignore_index=IGNORE, class_weights=weights)
    agrees(loss, lambda y, s: cross_entropy(y, s, 0, weights or (1, 1, 1)), *batch())


@pytest.mark.backends
@pytest.mark.parametrize("gamma", [0.5, 2])
def test_focal_and_its_gradient_like_a_loop(gamma, batch, agrees):
    loss = Focal(gamma, ignore_index=IGNORE, class_weights=WEIGHTS)
    agrees(loss, lambda y, s: cross_entropy(y, s, gamma, WEIGHTS), *batch())


@settings(max_examples=15)
@given(
    st.integers(0, 999),
    st.sampled_from([0, 0.5, 0.95]),
    st.sampled_from([0, 0.3, 2]),
    st.lists(st.sampled_from([0, 0.1, 1, 7]), min_size=3, max_size=3).filter(any),
)
def test_any_batch_like_a_loop(batch, agrees, seed, ignored, gamma, weights):
    data = batch(seed=seed, ignored=ignored)
    agrees(
        Focal(gamma, ignore_index=IGNORE, class_weights=weights),
        lambda y, s: cross_entropy(y, s, gamma, weights),
        *data,
        gradient=False,
    )


@pytest.mark.parametrize("ignored", [0, 0.4])
def test_cross_entropy_is_that_of_keras(ignored, batch, differentiate):
    masks, logits = batch((2, 5, 7), ignored=ignored)
    theirs = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=IGNORE
    )
    value, gradient = differentiate(theirs, masks, logits)
    ours, slope = differentiate(CrossEntropy(ignore_index=IGNORE), masks, logits)
    # The same operations, but for the division.
    assert ours == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(slope, gradient, rtol=1e-5, atol=1e-8)


def test_weights_are_those_of_keras_divided_by_their_sum(batch):
    masks, logits = batch(ignored=0)
    theirs = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="mean_with_sample_weight"
    )
    expected = float(theirs(masks, logits, np.array(WEIGHTS, np.float32)[masks]))
    weighted = CrossEntropy(class_weights=WEIGHTS)
    assert float(weighted(masks, logits)) == pytest.approx(expected, rel=1e-6)


def test_the_numpy_network_has_the_same_loss(batch, differentiate):
    masks, logits = batch()
    numpy_loss = scratch.CrossEntropy(IGNORE)
    value, slope = differentiate(CrossEntropy(ignore_index=IGNORE), masks, logits)
    assert numpy_loss.forward(logits, masks) == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(numpy_loss.backward(), slope, rtol=1e-5, atol=1e-8)


def test_twice_the_weights_are_the_same_loss(batch):
    masks, logits = batch(ignored=0)
    once, twice = (
        float(CrossEntropy(class_weights=w)(masks, logits))
        for w in (WEIGHTS, [2 * w for w in WEIGHTS])
    )
    assert once == pytest.approx(twice, rel=1e-6)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_focal_without_gamma_is_cross_entropy(weights, batch, differentiate):
    data = batch()
    focal = differentiate(Focal(0, ignore_index=IGNORE, class_weights=weights), *data)
    plain = differentiate(
        CrossEntropy(ignore_index=IGNORE, class_weights=weights), *data
    )
    assert focal[0] == pytest.approx(plain[0], rel=1e-5)
    np.testing.assert_allclose(focal[1], plain[1], rtol=1e-4, atol=1e-7)


def test_focal_is_that_of_keras_but_for_its_alpha(batch):
    masks, logits = batch(ignored=0)
    theirs = keras.losses.CategoricalFocalCrossentropy(
        from_logits=True, alpha=1.0, gamma=2.0
    )
    expected = float(theirs(np.eye(3, dtype=np.float32)[masks], logits))
    # Keras clips probabilities at 1e-7.
    assert float(Focal(2)(masks, logits)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.backends
@pytest.mark.parametrize("gamma", [0.1, 1.0])
def test_focal_has_a_slope_at_certainty(gamma, differentiate):
    """(1 - p)**gamma has none at p = 1 when gamma < 1; the loss has."""
    logits = np.array([[[[200.0, 0.0], [0.0, 200.0]]]], np.float32)
    value, gradient = differentiate(Focal(gamma), np.zeros((1, 1, 2), int), logits)
    assert value == pytest.approx(100)  # the mean of 0 and 200
    np.testing.assert_allclose(gradient, [[[[0, 0], [-0.5, 0.5]]]], atol=1e-6)


@pytest.mark.parametrize("gamma", [None, 2.0])
@pytest.mark.parametrize("axes", [1, 3])
def test_images_and_pixels_can_be_weighted(gamma, axes, batch):
    masks, logits = batch((3, 4, 2))
    pixels = np.random.default_rng(1).random(masks.shape[:axes]).astype(np.float32)
    pixels[0] = 0
    spread = np.broadcast_to(pixels[(...,) + (None,) * (3 - axes)], masks.shape)
    loss = CrossEntropy if gamma is None else Focal
    weighted = loss(ignore_index=IGNORE, class_weights=WEIGHTS)
    expected = cross_entropy(masks, logits, gamma or 0, WEIGHTS, spread)
    # Each has a sum of a few dozen float32 terms.
    assert float(weighted(masks, logits, pixels)) == pytest.approx(expected, rel=1e-5)
    assert float(weighted(masks, logits, 0 * pixels)) == 0


@pytest.mark.parametrize("shape", [(2,), (3, 4), (3, 4, 2, 1), (3, 2, 4), ()])
def test_weights_of_another_shape_are_refused(shape, batch):
    masks, logits = batch((3, 4, 2))
    with pytest.raises(ValueError, match=r"sample_weight has shape .* a weight for"):
        CrossEntropy(ignore_index=IGNORE)(masks, logits, np.ones(shape))


def test_as_many_weights_as_classes(batch):
    masks, logits = batch(ignored=0)
    for loss in (CrossEntropy(class_weights=[1, 2]), Focal(class_weights=[1, 2])):
        with pytest.raises(ValueError, match=r"has 2 numbers .* scores 3 classes"):
            loss(masks, logits)
