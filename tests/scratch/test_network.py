"""A whole network in NumPy learns to find cells, and learns as Keras's does."""

import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from seglab.data import load
from seglab.metrics import confusion_matrix, iou
from seglab.scratch import (
    SGD,
    Adam,
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    CrossEntropy,
    Layer,
    MaxPool2D,
    ReLU,
    Sequential,
    UpSample,
)


def fcn(width, rng):
    """Build a fully convolutional network: down to a quarter, and up again."""

    def block(before, after):
        conv = Conv2D(before, after, 3, padding="same", bias=False, seed=rng)
        return conv, BatchNorm(after, momentum=0.9), ReLU()

    return Sequential(
        *(*block(1, width), MaxPool2D()),
        *(*block(width, 2 * width), MaxPool2D()),
        *block(2 * width, 2 * width),
        *(ConvTranspose2D(2 * width, width, 4, 2, "same", seed=rng), ReLU()),
        ConvTranspose2D(width, 2, 4, 2, "same", seed=rng),
    )


def train(network, split, epochs, rng, batch_size=8):
    """Train with Adam and give the loss of each step."""
    loss, optimizer, losses = CrossEntropy(), Adam(0.01), []
    for _ in range(epochs):
        order = rng.permutation(len(split))
        for first in range(0, len(split), batch_size):
            batch = order[first : first + batch_size]
            scores = network.forward(split.images[batch], training=True)
            losses.append(loss.forward(scores, split.masks[batch]))
            network.backward(loss.backward())
            optimizer.step(network)
    return losses


def cell_iou(network, split):
    prediction = network.forward(split.images).argmax(axis=-1)
    return iou(confusion_matrix(split.masks, prediction, 2))[1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_numpy_network_finds_cells_in_a_second(seed):
    data = load("cells", count=100, size=32, seed=0)
    rng = np.random.default_rng(seed)
    network = fcn(8, rng)
    untrained = cell_iou(network, data.test)
    losses = train(network, data.train, epochs=8, rng=rng)
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert untrained < 0.5
    # 0.84 to 0.89 over ten seeds.
    assert cell_iou(network, data.test) > 0.75


@pytest.mark.slow
def test_a_numpy_network_finds_cells_well_in_a_minute():
    data = load("cells", count=500, size=64, seed=0)
    rng = np.random.default_rng(0)
    network = fcn(8, rng)
    started = time.process_time()
    train(network, data.train, epochs=5, rng=rng)
    assert cell_iou(network, data.test) > 0.85
    assert time.process_time() - started < 60


def test_the_same_steps_as_keras():
    """One network, one order of images: the same losses and weights after ten steps."""
    rng = np.random.default_rng(0)
    network = Sequential(
        *(Conv2D(1, 4, 3, padding="same", seed=rng), ReLU(), MaxPool2D()),
        *(Conv2D(4, 4, 3, padding="same", seed=rng), BatchNorm(4), ReLU()),
        *(UpSample(2, "bilinear"), Conv2D(4, 2, 1, seed=rng)),
    )
    layers = keras.layers
    theirs = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(4, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.UpSampling2D(interpolation="bilinear"),
            layers.Conv2D(2, 1),
        ]
    )
    for variable, w in zip(
        theirs.trainable_variables, network.params.values(), strict=True
    ):
        variable.assign(w)
    theirs.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,
    )
    data = load("cells", count=60, size=16, seed=0).train[:40]
    loss, optimizer = CrossEntropy(), SGD(0.1)
    for step in range(10):
        batch = slice(4 * step, 4 * step + 4)
        x, y = data.images[batch], data.masks[batch]
        ours = loss.forward(network.forward(x, training=True), y)
        network.backward(loss.backward())
        optimizer.step(network)
        # Rounding differs, and each step builds on the one before.
        assert ours == pytest.approx(theirs.train_on_batch(x, y), rel=1e-4)
    for variable, (name, w) in zip(
        theirs.trainable_variables, network.params.items(), strict=True
    ):
        np.testing.assert_allclose(
            w, variable.numpy(), rtol=1e-3, atol=1e-4, err_msg=name
        )


def test_numpy_has_one_thread_while_a_network_computes():
    """And as many as before, when it is done or has failed."""

    class Spy(Layer):
        def forward(self, x, training=False):
            seen.append(threads())
            return x

        def backward(self, grad):
            seen.append(threads())
            raise ZeroDivisionError

    def threads():
        return [
            pool["num_threads"]
            for pool in threadpool_info()
            if pool["user_api"] == "blas" and "numpy" in pool["filepath"]
        ]

    seen, before = [], threads()
    if not before:
        pytest.skip("the threads of this NumPy's matrix product cannot be counted")
    network = Sequential(Sequential(Spy()))
    network.forward(np.zeros(3))
    with pytest.raises(ZeroDivisionError):
        network.backward(np.zeros(3))
    assert len(seen) == 2
    assert all(set(counts) == {1} for counts in seen)
    assert threads() == before


def test_parameters_have_names_and_are_shared_not_copied():
    network = Sequential(Conv2D(1, 2, 3), Sequential(ReLU(), Conv2D(2, 1, 1)))
    assert list(network.params) == ["0.W", "0.b", "1.1.W", "1.1.b"]
    network.params["1.1.W"][:] = 7
    assert (network.layers[1].layers[1].params["W"] == 7).all()
    assert network.grads == {}


def test_keras_weights_can_be_copied_over():
    conv, theirs = Conv2D(3, 4, 3), keras.layers.Conv2D(4, 3)
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype(np.float32)
    expected = theirs(x)
    conv.params["W"], conv.params["b"] = theirs.get_weights()
    np.testing.assert_allclose(conv.forward(x), expected, atol=1e-5)


def test_scratch_needs_no_keras():
    code = (
        "import sys, seglab.scratch;"
        "sys.exit(any(m in sys.modules for m in ('keras', 'tensorflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
