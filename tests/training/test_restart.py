"""A restarted network against a new one: the same training, to the bit."""

import keras
import numpy as np
import pytest
from keras import ops

from seglab import models
from seglab.training import restart

BACKEND = keras.backend.backend()


# With PyTorch, dropout draws from the global generator, and Keras draws from it once
# more before the first step of a network that is new.
DROPOUT = 0.0 if BACKEND == "torch" else 0.2


def network(*, dropout=DROPOUT, width=4, channels=2):
    """All that a training changes: weights, moving averages, dropout's generator."""
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(width, 3, padding="same")(image)
    x = keras.layers.Dropout(dropout)(keras.layers.BatchNormalization()(x))
    return keras.Model(image, keras.layers.Conv2D(channels, 1)(keras.layers.ReLU()(x)))


def compiled(model, optimizer=None):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    jit = BACKEND == "jax"
    model.compile(optimizer or keras.optimizers.Adam(0.01), loss, jit_compile=jit)
    return model


def new(seed, **options):
    keras.utils.set_random_seed(seed)
    return network(**options)


def train(model, split):
    """Two epochs: the losses, and all that they left behind."""
    keras.utils.set_random_seed(9)  # PyTorch's dropout draws from the global one
    history = model.fit(
        split.images, split.masks, batch_size=5, epochs=2, verbose=0, shuffle=False
    )
    return [np.array(history.history["loss"]), *state(model)]


def state(model):
    variables = (*model.variables, *model.optimizer.variables)
    return [np.array(ops.convert_to_numpy(v)) for v in variables]


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def used(dataset):
    """A network in the middle of a training: nothing of it is as in the beginning."""
    model = compiled(new(1))
    model.fit(dataset.train.images, dataset.train.masks, batch_size=5, verbose=0)
    return model


@pytest.mark.backends
def test_the_training_of_another_network_is_repeated_to_the_bit(used, dataset):
    fresh = new(2)
    restart(used, fresh)
    again = train(used, dataset.train)
    assert_same(again, train(compiled(fresh), dataset.train))


@pytest.mark.backends
def test_weights_begin_the_training_that_a_new_network_has_with_them(used, dataset):
    """Its generators begin anew as well: those of the first time."""
    fresh = new(1)  # the same generators as the used one had
    weights = new(2).get_weights()
    fresh.set_weights(weights)
    restart(used, weights)
    again = train(used, dataset.train)
    assert_same(again, train(compiled(fresh), dataset.train))


@pytest.mark.backends
def test_by_default_the_first_weights_are_drawn_as_for_a_new_network(used, dataset):
    keras.utils.set_random_seed(2)
    restart(used)
    again = train(used, dataset.train)
    assert_same(again, train(compiled(new(2)), dataset.train))


@pytest.mark.parametrize(
    "build",
    [
        lambda: models.unet((16, 16, 1), 2, width=2, depth=1),
        lambda: models.fcn((32, 32, 1), 2, width=1, fc_channels=2),
        lambda: models.segnet((16, 16, 1), 2, width=2, basic=True),
        lambda: models.autoencoder((16, 16, 1), width=2, depth=1, code_size=3),
    ],
    ids=["unet", "fcn", "segnet", "autoencoder"],
)
def test_the_networks_of_the_course_are_drawn_as_when_they_are_built(build):
    keras.utils.set_random_seed(3)
    expected = [np.array(ops.convert_to_numpy(v)) for v in build().variables]
    model = compiled(build())
    keras.utils.set_random_seed(3)
    restart(model)
    assert_same([ops.convert_to_numpy(v) for v in model.variables], expected)


@pytest.mark.backends
def test_two_networks_share_no_memory_afterwards(used, dataset):
    """JAX lets a training step write into the memory of the step before."""
    fresh = new(2)
    before = [np.array(ops.convert_to_numpy(v)) for v in fresh.variables]
    weights = new(3).get_weights()
    kept = [w.copy() for w in weights]
    restart(used, fresh)
    train(used, dataset.train)
    assert_same([ops.convert_to_numpy(v) for v in fresh.variables], before)
    restart(used, weights)
    train(used, dataset.train)
    assert_same(weights, kept)


OPTIMIZERS = {
    "adagrad": lambda: keras.optimizers.Adagrad(0.1),  # begins at 0.1, not at 0
    "nadam": lambda: keras.optimizers.Nadam(0.01),  # keeps a product: begins at 1
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "ema": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
    "accumulate": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "schedule": lambda: keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(0.1, 8)
    ),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_forgets(name):
    """After a restart it holds what a new one holds before its first step."""
    model = compiled(new(1), OPTIMIZERS[name]())
    model.optimizer.build(model.trainable_variables)
    for v in model.optimizer.variables:
        if "learning_rate" not in v.path:
            v.assign(ops.ones_like(v) * 3)
    restart(model, model)
    fresh = OPTIMIZERS[name]()
    fresh.build(model.trainable_variables)
    assert_same(
        [ops.convert_to_numpy(v) for v in model.optimizer.variables],
        [ops.convert_to_numpy(v) for v in fresh.variables],
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_with_every_optimizer_the_training_is_repeated(name, dataset):
    model = compiled(new(1), OPTIMIZERS[name]())
    train(model, dataset.train)
    fresh = new(2)
    restart(model, fresh)
    again = train(model, dataset.train)
    assert_same(again, train(compiled(fresh, OPTIMIZERS[name]()), dataset.train))


def test_a_rate_that_was_changed_stays(used):
    used.optimizer.learning_rate = 0.5
    restart(used, new(2))
    assert float(ops.convert_to_numpy(used.optimizer.learning_rate)) == 0.5
    assert int(ops.convert_to_numpy(used.optimizer.iterations)) == 0


def test_a_loss_is_not_averaged_with_those_before(used, dataset):
    """Keras's train_on_batch gives a mean over all batches since the last reset."""
    batch = dataset.train.images[:5], dataset.train.masks[:5]
    used.train_on_batch(*batch)
    fresh = new(2)
    restart(used, fresh)
    assert float(used.train_on_batch(*batch)) == float(
        compiled(fresh).train_on_batch(*batch)
    )


class Counted(keras.layers.Layer):
    """Counts how often Python calls it: when its graph is traced."""

    calls = 0

    def call(self, x):
        Counted.calls += 1
        return x


@pytest.mark.backends
@pytest.mark.skipif(BACKEND == "torch", reason="traces nothing: each step is Python")
def test_nothing_is_traced_again(dataset):
    """Nor before the first training: Keras alone traces TensorFlow's step twice."""
    image = keras.Input((8, 8, 1))
    model = compiled(keras.Model(image, keras.layers.Conv2D(2, 1)(Counted()(image))))
    other = keras.models.clone_model(model)
    built = Counted.calls
    restart(model, other)
    assert model.optimizer.built
    train(model, dataset.train)
    once = Counted.calls
    # Keras on JAX runs the model on shapes alone before it compiles the step.
    assert once == built + (2 if BACKEND == "jax" else 1)
    for start in (other, other.get_weights()):
        restart(model, start)
        train(model, dataset.train)
        assert Counted.calls == once
    restart(model)  # draws from a copy, which is not the model
    copied = Counted.calls
    train(model, dataset.train)
    assert Counted.calls == copied


def test_what_does_not_fit_is_refused_and_changes_nothing(used):
    before = state(used)
    for start, message in [
        (new(2, width=5), r"array 0 of start has the shape \(3, 3, 1, 5\)"),
        (new(2, width=5).get_weights(), r"conv2d.*/kernel of the model \(3, 3, 1, 4\)"),
        (new(2, channels=3).get_weights(), r"shape \(1, 1, 4, 3\)"),
        (used.get_weights()[:-1], "start has 7 arrays, and the model 8"),
        ([], "start has 0 arrays"),
        (models.unet((8, 8, 1), 2, width=2, depth=1), "start has .* arrays"),
    ]:
        with pytest.raises(ValueError, match=message):
            restart(used, start)
    assert_same(state(used), before)


def test_a_layer_that_was_frozen_since_is_noticed(used):
    before = state(used)
    used.layers[1].trainable = False
    with pytest.raises(ValueError, match="compile it again"):
        restart(used, new(2))
    used.layers[1].trainable = True
    assert_same(state(used), before)


def test_a_model_that_is_not_compiled_has_nothing_to_keep():
    with pytest.raises(ValueError, match="not compiled"):
        restart(new(1))
