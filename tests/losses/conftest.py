"""What the tests of losses share: data, gradients, comparison with an oracle."""

import keras
import numpy as np
import pytest

IGNORE = 255


def value_and_gradient(loss, masks, logits):
    """Of a loss on any backend: a float, and an array like the logits."""
    masks = keras.ops.convert_to_tensor(masks)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        x = tf.convert_to_tensor(logits)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(masks, x)
        gradient = tape.gradient(value, x)
    elif backend == "jax":
        import jax

        value, gradient = jax.value_and_grad(lambda x: loss(masks, x))(
            jax.numpy.asarray(logits)
        )
    else:
        import torch

        x = torch.tensor(logits, requires_grad=True)
        value = loss(masks, x)
        value.backward()
        value, gradient = value.detach(), x.grad
    return float(value), keras.ops.convert_to_numpy(gradient)


def finite_differences(oracle, masks, logits, step=1e-5):
    """Central differences in float64, at every entry."""
    gradient = np.zeros(logits.shape)
    for place in np.ndindex(*logits.shape):
        sides = []
        for change in (step, -step):
            moved = logits.astype(np.float64)
            moved[place] += change
            sides.append(oracle(masks, moved))
        gradient[place] = (sides[0] - sides[1]) / (2 * step)
    return gradient


@pytest.fixture(scope="session")
def differentiate():
    return value_and_gradient


@pytest.fixture(scope="session")
def agrees():
    """Check a loss against an oracle: its value, and its gradient if wanted."""

    def check(loss, oracle, masks, logits, *, gradient=True):
        value, slope = value_and_gradient(loss, masks, logits)
        expected = oracle(masks, logits.astype(np.float64))
        # float32 against float64: sums of a hundred terms.
        assert value == pytest.approx(expected, rel=1e-5, abs=1e-6)
        if gradient:
            expected = finite_differences(oracle, masks, logits)
            np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-6)

    return check


@pytest.fixture(scope="session")
def batch():
    """Random masks and logits, some pixels ignored."""

    def make(shape=(2, 3, 4), classes=3, *, seed=0, ignored=0.25, scale=2.0):
        rng = np.random.default_rng(seed)
        masks = rng.integers(0, classes, shape).astype(np.int32)
        masks[rng.random(shape) < ignored] = IGNORE
        logits = scale * rng.normal(size=(*shape, classes))
        return masks, logits.astype(np.float32)

    return make
