"""The range test where the stable rates are known, and what it leaves behind."""

import random

import keras
import numpy as np
import pytest
from keras import ops

from seglab.training import DivergedError, find_learning_rate, fit
from seglab.training.finder import RangeTest


class Squares(keras.losses.Loss):
    """Half the squared logits: with one weight w and input x, (w x)² / 2."""

    def call(self, y_true, y_pred):
        return 0.5 * ops.sum(ops.square(y_pred), axis=-1)


@pytest.fixture
def linear():
    """The logits are the pixel's value times a weight for each class."""
    image = keras.Input((8, 8, 1))
    layer = keras.layers.Conv2D(2, 1, use_bias=False)
    model = keras.Model(image, layer(image))
    layer.set_weights([np.array([[[[0.3, -0.2]]]])])
    return model


@pytest.mark.backends
def test_a_quadratic_loss_is_seen_to_the_end_of_its_stable_range(linear, dataset):
    """Its curvature c = E[x²] is known, and with it what a step of any rate does.

    Gradient descent multiplies the weights by 1 - rate · c, and so the loss by the
    square of that: it falls as long as rate < 2 / c, and rises above.
    """
    c = float(np.square(dataset.train.images).mean())
    test = find_learning_rate(
        linear,
        dataset,
        batch_size=len(dataset.train),  # the whole split: no noise
        optimizer=keras.optimizers.SGD(),
        loss=Squares(),
        lowest=0.01 / c,
        highest=100 / c,
        steps=60,
        progress=False,
    )
    first = 0.5 * c * (0.3**2 + 0.2**2)
    factors = np.square(1 - test.rates[:-1] * c)
    expected = first * np.cumprod([1, *factors])
    # rtol: 60 steps in float32, each of which may lose digits where 1 - rate · c is 0.
    np.testing.assert_allclose(test.losses, expected, rtol=1e-3)
    assert test.diverged
    assert 2 / c < test.rates[-1] < 100 / c
    lowest = test.rates[np.argmin(test.losses)]
    step = test.rates[1] / test.rates[0]
    assert 2 / c / step < lowest < 2 / c * step
    # The suggestion is stable, and not timid.
    assert 0.02 / c < test.suggestion < 0.5 / c


def network():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, padding="same")(image)
    x = keras.layers.Dropout(0.2)(keras.layers.BatchNormalization()(x))
    return keras.Model(image, keras.layers.Conv2D(2, 1)(keras.layers.ReLU()(x)))


def values(model):
    variables = (*model.variables, *model.optimizer.variables)
    return [ops.convert_to_numpy(v).copy() for v in variables]


@pytest.mark.slow
@pytest.mark.backends
def test_nothing_is_left_behind(dataset):
    """A training goes on as if there had been no test in between."""

    def train(model, optimizer):
        options = {"epochs": 1, "batch_size": 5, "optimizer": optimizer}
        return fit(model, dataset, **options, progress=False)

    def run(test):
        model, optimizer = network(), keras.optimizers.Adam(0.01)
        train(model, optimizer)
        before, function = values(model), model.train_function
        if test:
            options = {"batch_size": 5, "optimizer": optimizer, "steps": 12}
            find_learning_rate(model, dataset, highest=1e3, progress=False, **options)
            assert model.optimizer is optimizer
            assert model.train_function is function
            for a, b in zip(before, values(model), strict=True):
                np.testing.assert_array_equal(a, b)
        state = random.getstate()
        history = train(model, optimizer)
        return history.loss, values(model), state

    (loss, plain, state), (loss2, tested, state2) = run(False), run(True)
    assert loss == loss2
    assert state == state2
    for a, b in zip(plain, tested, strict=True):
        np.testing.assert_array_equal(a, b)


def test_it_is_restored_when_it_is_interrupted(make_model, dataset):
    model = make_model()
    before = model.get_weights()

    def augment(images, masks, rng):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return images, masks

    calls = []
    with pytest.raises(KeyboardInterrupt):
        find_learning_rate(
            model, dataset, augment=augment, batch_size=5, lowest=0.1, progress=False
        )
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not model.compiled


def test_what_it_suggests_trains(make_model, dataset, capsys):
    test = find_learning_rate(
        make_model(), dataset, batch_size=5, highest=100, steps=50, progress="lines"
    )
    said = capsys.readouterr().out
    assert said == f"suggested learning rate: {test.suggestion:.2g}\n"
    history = fit(
        make_model(),
        dataset,
        epochs=6,
        batch_size=5,
        learning_rate=test.suggestion,
        progress=False,
    )
    assert history.mean_iou.max() > 0.7


def test_a_schedule_in_the_optimizer_is_replaced(make_model, dataset):
    decay = keras.optimizers.schedules.CosineDecay(0.1, 10)
    optimizer = keras.optimizers.SGD(decay, momentum=0.9)
    options = {"batch_size": 5, "steps": 3, "progress": False}
    with pytest.warns(UserWarning, match=r"end of the range, 1.*larger highest"):
        found = find_learning_rate(
            make_model(), dataset, optimizer=optimizer, **options
        )
    assert len(found.rates) == 3
    assert optimizer._learning_rate is decay
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    with pytest.warns(UserWarning, match="end of the range"):
        find_learning_rate(make_model(), dataset, optimizer=scaled, **options)
    assert not scaled.built


def test_noise_is_smoothed_without_a_shift():
    """A parabola with noise: the lowest point is where it was, within a step or two."""
    rates = np.geomspace(1e-4, 1, 41)
    losses = np.linspace(-2, 2, 41) ** 2 + 1  # lowest in the middle, at 0.01
    losses += np.random.default_rng(0).normal(0, 0.03, 41)
    test = RangeTest(rates, losses, diverged=False)
    assert 0.0006 < test.suggestion < 0.0016
    assert test.smoothed.shape == (41,)
    # One outlier is no lowest point.
    losses[5] = 0.5
    assert RangeTest(rates, losses, diverged=False).suggestion > 0.0006


def test_a_loss_that_is_nan_from_the_start_is_said(make_model, dataset):
    class Broken(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return y_pred[..., 0] * np.nan

    with pytest.raises(DivergedError, match=r"nan at the learning rate 1e-06 already"):
        find_learning_rate(make_model(), dataset, loss=Broken(), progress=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lowest": 0}, "lowest is 0 and highest 1.0"),
        ({"lowest": 2.0}, "lowest the smaller one"),
        ({"highest": np.inf}, "highest inf"),
        ({"steps": 1}, "steps is 1; it must be an integer, 2 or more"),
        ({"batch_size": 0.5}, "batch_size is 0.5"),
        ({"augment": lambda images, masks, rng: images}, "augment must return a tuple"),
    ],
)
def test_what_makes_no_sense_is_refused(make_model, dataset, options, said):
    with pytest.raises(ValueError, match=said):
        find_learning_rate(make_model(), dataset, **options)


@pytest.mark.parametrize("steps", [10, 20, 100])
@pytest.mark.parametrize("last", [0.6, 1e6, 1e30])
def test_one_loss_that_explodes_does_not_move_the_lowest_point(steps, last):
    """The loss falls to the end, and the last step blows it up."""
    losses = np.append(np.geomspace(1.0, 0.1, steps - 1), last)
    rates = np.geomspace(1e-6, 1.0, steps)
    found = RangeTest(rates, losses, diverged=True)
    lowest = np.argmin(found.smoothed)
    # At most as far as the window reaches: 3 standard deviations of up to 2 steps.
    assert steps - 2 - min(6, 3 * steps // 20) <= lowest <= steps - 2
