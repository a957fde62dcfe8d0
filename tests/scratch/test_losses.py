"""Losses and their gradients against Keras, finite differences and their definition."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seglab.scratch import MSE, CrossEntropy, Dice, Softmax

tf = pytest.importorskip("tensorflow")  # for its gradients

K, IGNORE = 4, 255
# Sums of float32 in another order.
CLOSE = {"rtol": 1e-5, "atol": 1e-7}


def noise(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def labels_of(*shape, seed=0, ignored=0.3, classes=K):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, shape)
    return np.where(rng.random(shape) < ignored, IGNORE, labels)


def gradient_by_keras(loss, target, prediction):
    tensor = tf.constant(prediction)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = loss(target, tensor)
    return float(value), tape.gradient(value, tensor).numpy()


def check_gradient(loss, prediction, target):
    """Central differences in float64, at every entry."""
    prediction = prediction.astype(np.float64)
    loss.forward(prediction, target)
    grad = loss.backward().copy()
    for i in np.ndindex(*prediction.shape):
        values = []
        for change in (1e-5, -1e-5):
            moved = prediction.copy()
            moved[i] += change
            values.append(loss.forward(moved, target))
        # Rounding: 1e-16 / 2e-5; truncation: the step squared.
        assert grad[i] == pytest.approx(np.diff(values)[0] / -2e-5, abs=1e-9, rel=1e-6)


@pytest.mark.parametrize("ignored", [0, 0.3, 1])
@pytest.mark.parametrize("shape", [(2, 3, 5), (7,)])
def test_cross_entropy_is_that_of_keras(shape, ignored):
    scores, labels = 3 * noise(*shape, K), labels_of(*shape, ignored=ignored)
    loss = CrossEntropy(IGNORE)
    theirs = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=IGNORE
    )
    value, grad = gradient_by_keras(theirs, labels, scores)
    assert loss.forward(scores, labels) == pytest.approx(value, rel=1e-5)
    assert loss.backward().dtype == np.float32
    np.testing.assert_allclose(loss.backward(), grad, **CLOSE)


@settings(max_examples=20)
@given(st.integers(0, 99), st.sampled_from([0, 0.3, 0.9, 1]), st.integers(1, K))
def test_gradients_are_finite_differences(seed, ignored, classes):
    scores = noise(1, 2, 3, K, seed=seed)
    labels = labels_of(1, 2, 3, seed=seed, ignored=ignored, classes=classes)
    check_gradient(CrossEntropy(IGNORE), scores, labels)
    # A larger epsilon: where a class has next to nothing, Dice is not smooth.
    p = Softmax().forward(scores.astype(np.float64))
    check_gradient(Dice(IGNORE, epsilon=0.1), p, labels)
    check_gradient(MSE(), scores, noise(*scores.shape, seed=seed + 1))


def test_cross_entropy_by_its_definition():
    scores, labels = noise(2, 3, K, dtype=np.float64), labels_of(2, 3)
    kept = [
        (s, label)
        for s, label in zip(scores.reshape(-1, K), labels.ravel(), strict=True)
        if label != IGNORE
    ]
    expected = -np.mean([np.log(np.exp(s[k]) / np.exp(s).sum()) for s, k in kept])
    assert CrossEntropy(IGNORE).forward(scores, labels) == pytest.approx(expected)


def test_cross_entropy_gradient_is_p_minus_y():
    scores, labels = noise(6, K, dtype=np.float64), labels_of(6, ignored=0)
    loss = CrossEntropy()
    loss.forward(scores, labels)
    p = Softmax().forward(scores)
    np.testing.assert_allclose(loss.backward(), (p - np.eye(K)[labels]) / 6)


def test_dice_is_that_of_keras():
    """Where each class is there; Keras's epsilon is in the denominator alone."""
    p = Softmax().forward(noise(2, 4, 4, K))
    labels = labels_of(2, 4, 4, ignored=0)
    one_hot = np.eye(K, dtype=np.float32)[labels]
    theirs = keras.losses.Dice(axis=(0, 1, 2))
    # Keras gives one loss a class, and their sum over K is the mean.
    value, grad = gradient_by_keras(
        lambda t, q: tf.reduce_mean(theirs(t, q)), one_hot, p
    )
    loss = Dice()
    assert loss.forward(p, labels) == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(loss.backward(), grad, **CLOSE)


def test_dice_of_hard_masks_is_the_metric():
    from seglab.metrics import confusion_matrix, dice

    truth, guess = labels_of(2, 8, 8), labels_of(2, 8, 8, seed=1, ignored=0)
    matrix = confusion_matrix(truth, guess, K, IGNORE)
    loss = Dice(IGNORE).forward(np.eye(K)[guess], truth)
    assert loss == pytest.approx(1 - dice(matrix).mean(), abs=1e-6)


def test_dice_of_absent_classes_costs_nothing_and_of_invented_ones_all():
    truth = np.zeros((1, 4, 4), int)
    right, wrong = np.eye(3)[truth], np.eye(3)[truth + 1]
    assert Dice().forward(right, truth) == pytest.approx(0, abs=1e-6)
    # Class 0 missed, class 1 invented, class 2 neither there nor predicted.
    assert Dice().forward(wrong, truth) == pytest.approx(2 / 3, abs=1e-6)


@pytest.mark.parametrize("loss", [CrossEntropy(IGNORE), Dice(IGNORE)])
def test_all_ignored_is_zero_and_gives_no_gradient(loss):
    p = Softmax().forward(noise(2, 3, K))
    assert loss.forward(p, np.full((2, 3), IGNORE)) == pytest.approx(0)
    assert not loss.backward().any()


@pytest.mark.parametrize("loss", [CrossEntropy(IGNORE), Dice(IGNORE)])
def test_what_is_predicted_at_ignored_pixels_does_not_matter(loss):
    p, labels = Softmax().forward(noise(2, 9, K)), labels_of(2, 9)
    value, grad = loss.forward(p, labels), loss.backward()
    p[labels == IGNORE] = 0.25
    assert loss.forward(p, labels) == value
    np.testing.assert_array_equal(loss.backward(), grad)


def test_mse_is_that_of_keras():
    x, y = noise(2, 3, 4, 1), noise(2, 3, 4, 1, seed=1)
    value, grad = gradient_by_keras(keras.losses.MeanSquaredError(), y, x)
    loss = MSE()
    assert loss.forward(x, y) == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(loss.backward(), grad, **CLOSE)


def test_large_scores_do_not_overflow():
    scores = np.array([[1e4, -1e4]], np.float32)
    loss = CrossEntropy()
    assert loss.forward(scores, np.array([0])) == 0
    assert loss.forward(scores, np.array([1])) == 2e4
    assert loss.backward().tolist() == [[1, -1]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CrossEntropy().backward(), "no loss to go back from"),
        (
            lambda: CrossEntropy().forward(noise(2, K), np.array([0, 255])),
            "holds the label 255; a prediction of 4 classes takes 0 to 3",
        ),
        (lambda: Dice().forward(noise(2, K), np.array([0, -1])), "holds the label -1"),
        (lambda: Dice().forward(noise(2, K), np.array([0.0, 1])), "integer class"),
        (
            lambda: CrossEntropy().forward(noise(2, K), np.eye(K, dtype=int)[:2]),
            r"of shape \(2, 4\); for a prediction",
        ),
        (lambda: MSE().forward(noise(2, 1), noise(2)), "they must be equal"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("loss", [CrossEntropy(255), Dice(255)])
@pytest.mark.parametrize("junk", [np.nan, np.inf])
def test_scores_of_ignored_pixels_may_be_anything(loss, junk):
    target = np.array([1, 255])
    clean, dirty = np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([[0.2, 0.8], [junk, 0]])
    assert loss.forward(dirty, target) == loss.forward(clean, target)
    gradient = loss.backward()
    assert np.isfinite(gradient).all()
    assert not gradient[1].any()
