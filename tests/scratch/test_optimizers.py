"""Optimizers against Keras's, step for step, and against their papers."""

import keras
import numpy as np
import pytest

from seglab.scratch import SGD, Adam, Dense, Momentum, RMSProp, Sequential


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (SGD(0.05), keras.optimizers.SGD(0.05)),
        (Momentum(0.05), keras.optimizers.SGD(0.05, momentum=0.9)),
        (Momentum(0.05, 0.5), keras.optimizers.SGD(0.05, momentum=0.5)),
        (RMSProp(), keras.optimizers.RMSprop()),
        (RMSProp(0.02, 0.7, 1e-3), keras.optimizers.RMSprop(0.02, 0.7, epsilon=1e-3)),
        (Adam(), keras.optimizers.Adam()),
        (Adam(0.1, 0.8, 0.9, 1e-2), keras.optimizers.Adam(0.1, 0.8, 0.9, 1e-2)),
    ],
    ids=lambda o: type(o).__name__,
)
def test_twenty_steps_are_those_of_keras(ours, theirs):
    rng = np.random.default_rng(0)
    network = Sequential(Dense(3, 2), Dense(2, 4, seed=1))
    variables = [keras.Variable(w) for w in network.params.values()]
    for _ in range(20):
        # Of all sizes, down to where epsilon decides.
        grads = [
            (rng.normal(size=w.shape) * 10.0 ** rng.integers(-8, 3)).astype(np.float32)
            for w in network.params.values()
        ]
        for layer, (W, b) in zip(network.layers, (grads[:2], grads[2:]), strict=True):
            layer.grads.update(W=W, b=b)
        ours.step(network)
        theirs.apply(grads, variables)
        for (name, w), variable in zip(network.params.items(), variables, strict=True):
            assert w.dtype == np.float32
            # Each step rounds once or twice, at 6e-8 of the largest term.
            np.testing.assert_allclose(
                w, variable.numpy(), rtol=1e-5, atol=1e-6, err_msg=name
            )


def test_adam_is_the_form_before_section_2_1_and_not_algorithm_1():
    """With a gradient as small as epsilon the two differ: by a factor of 16 here."""
    layer = Dense(1, 1)
    g, eps = 1e-7, 1e-7
    layer.grads.update(W=np.full((1, 1), g), b=np.zeros(1))
    before = layer.params["W"].astype(np.float64)
    layer.cast(np.float64)
    Adam(learning_rate=1.0).step(layer)
    step = (before - layer.params["W"]).item()
    root = np.sqrt(0.001 * g**2)
    assert step == pytest.approx(np.sqrt(0.001) / 0.1 * 0.1 * g / (root + eps))
    assert step < 0.07 < g / (g + eps)  # Algorithm 1: one half


def test_steps_of_momentum_grow_to_ten_times():
    optimizer = Momentum(1.0, 0.9)
    steps = [optimizer.change("W", np.ones(1)).item() for _ in range(200)]
    assert steps[0] == 1
    assert steps[-1] == pytest.approx(10)


def test_arrays_are_changed_in_place():
    layer = Dense(2, 2)
    W = layer.params["W"]
    before = W.copy()
    y = layer.forward(np.ones((1, 2), np.float32))
    layer.backward(np.ones_like(y))
    SGD(1.0).step(layer)
    assert layer.params["W"] is W
    np.testing.assert_allclose(W, before - 1)


def test_the_learning_rate_may_change_between_steps():
    optimizer = SGD(1.0)
    optimizer.learning_rate *= 0.1
    assert optimizer.change("W", np.ones(1)).item() == pytest.approx(0.1)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"no gradient for 0\.W, 0\.b: call"):
        SGD().step(Sequential(Dense(1, 1)))
    with pytest.raises(ValueError, match="learning_rate is -1"):
        Adam(-1)
    with pytest.raises(ValueError, match="learning_rate is nan"):
        Adam(float("nan"))
