"""The gradient check must find each mistake, and name where."""

import numpy as np
import pytest

from seglab.scratch import (
    BatchNorm,
    Conv2D,
    CrossEntropy,
    Dense,
    ReLU,
    Sequential,
    gradient_check,
)

X = np.random.default_rng(0).normal(size=(2, 5, 5, 2)).astype(np.float32)


class Broken(Conv2D):
    """A convolution with one mistake in its backward pass."""

    def __init__(self, mistake):
        super().__init__(2, 3, 3)
        self.mistake = mistake

    def backward(self, grad):
        dx = super().backward(grad)
        if self.mistake == "W":
            self.grads["W"] = self.grads["W"][::-1]  # upside down
        elif self.mistake == "b":
            self.grads["b"] = self.grads["b"] / len(grad)  # a mean, not a sum
        elif self.mistake == "x":
            dx = dx * 1.001
        return dx


def test_a_correct_layer_passes_and_is_not_changed():
    layer = Broken(None)
    before = {name: w.copy() for name, w in layer.params.items()}
    x = X.copy()
    check = gradient_check(layer, x)
    assert check.error < 1e-7
    assert max(check.errors.values()) == check.error
    assert not layer.grads
    np.testing.assert_array_equal(x, X)
    for name, w in layer.params.items():
        assert w.dtype == np.float32
        np.testing.assert_array_equal(w, before[name])


@pytest.mark.parametrize(("mistake", "size"), [("W", 0.1), ("b", 0.4), ("x", 5e-4)])
def test_each_mistake_is_found_and_named(mistake, size):
    check = gradient_check(Broken(mistake), X)
    assert check.name == mistake
    assert check.error == check.errors[mistake] > size
    assert all(e < 1e-7 for name, e in check.errors.items() if name != mistake)
    assert check.analytic != pytest.approx(check.numeric, rel=1e-5)
    network = gradient_check(Sequential(ReLU(), Broken(mistake)), X)
    assert network.name == {"x": "x"}.get(mistake, f"1.{mistake}")


def test_a_loss_may_be_checked_with_the_network():
    labels = np.random.default_rng(1).integers(0, 3, (2, 3, 3))
    labels[0, 0] = 255
    check = gradient_check(Conv2D(2, 3, 3), X, CrossEntropy(255), labels)
    assert check.error < 1e-6


def test_a_gradient_that_is_zero_is_no_false_alarm():
    """A bias before batch normalization does nothing."""
    network = Sequential(Conv2D(2, 3, 3), BatchNorm(3), ReLU())
    assert gradient_check(network, X, training=True).error < 1e-6


def test_small_arrays_are_checked_whole():
    check = gradient_check(Dense(1, 1), np.ones((1, 1)), samples=1000)
    assert check.error < 1e-9
    assert len(check.index) in (1, 2)


def test_loss_and_target_belong_together():
    with pytest.raises(ValueError, match="belong together"):
        gradient_check(Dense(1, 1), np.ones((1, 1)), CrossEntropy())
