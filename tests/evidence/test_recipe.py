"""The training that the tuning questions vary, and what it measures."""

import keras
import numpy as np
import pytest

from seglab import losses
from seglab.evidence import catalog
from seglab.evidence.catalog import batches, knobs, recipe
from seglab.evidence.runner import measure_cell

QUESTIONS = (
    *("optimizers", "losses", "activations"),
    *("batches", "initializers", "regularizers", "knobs"),
)

QUICK = {"count": 32, "epochs": 2, "width": 2, "depth": 1}


@pytest.mark.parametrize("data", recipe.SETS)
def test_a_task_is_balanced_and_its_images_are_few(data):
    dataset = recipe.load(data, 48)
    assert [len(s) for s in dataset.splits().values()] == [48, recipe.VAL, recipe.TEST]
    for split in dataset.splits().values():
        assert set(np.unique(split.masks)) == set(range(len(dataset.classes)))
        assert split.class_shares()[1:].min() > 0.03
    whole = recipe.load(data, 512)  # the same images, and more
    np.testing.assert_array_equal(whole.train.images[:48], dataset.train.images)


def test_few_keeps_the_images_of_the_first_digits_alone():
    dataset = recipe.load("digits", 48)
    assert dataset.classes == ("background", "0", "1", "2")
    for split in dataset.splits().values():
        assert {int(m.max()) for m in split.masks} == {1, 2, 3}


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_cell_of_every_question_is_measured(name, monkeypatch):
    monkeypatch.setitem(recipe.train.__kwdefaults__, "count", 32)
    monkeypatch.setitem(recipe.train.__kwdefaults__, "epochs", 2)
    experiment = catalog.get(name)
    cell = next(experiment.cells())
    _, row = measure_cell(experiment, cell)
    assert isinstance(row, dict), row.message
    assert len(row["curve"]) in (3, 7, 61)  # the epochs of three kinds of question
    assert row["val_iou"] == max(row["curve"])
    assert row["speed"] == pytest.approx(np.mean(row["curve"][1:]))
    assert 0 <= row["rarest_iou"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("optimizers", {"width": 64}),
        ("activations", {"activation": "gelu"}),
        ("batches", {"batch": 256}),
        *(("knobs", {"knob": knob}) for knob in knobs.MORE_KNOBS),
    ],
)
def test_a_cell_of_the_full_grid_is_measured(name, level, monkeypatch):
    """Levels that the book's rows do not have can be trained all the same."""
    monkeypatch.setitem(recipe.train.__kwdefaults__, "count", 16)
    monkeypatch.setitem(recipe.train.__kwdefaults__, "epochs", 1)
    monkeypatch.setattr(batches, "COUNT", 256)
    monkeypatch.setattr(batches, "EPOCHS_EACH", 1)
    for cell in catalog.get(name).at_full_scale().cells():
        if level.items() <= cell.items():
            break
    _, row = measure_cell(catalog.get(name), cell)
    assert isinstance(row, dict), row.message
    assert len(row["curve"]) == 2


@pytest.mark.slow
def test_a_training_repeats_itself_whatever_the_process_did_before():
    """A cached network gives what a new one gives: weights, order, optimizer."""
    first = recipe.scores(recipe.train("digits", 0.01, 1, **QUICK))
    recipe.train("digits", 1.0, 2, **QUICK)  # with another rate and seed
    again = recipe.scores(recipe.train("digits", 0.01, 1, **QUICK))
    recipe.compiled.cache_clear()
    anew = recipe.scores(recipe.train("digits", 0.01, 1, **QUICK))
    assert first == again == anew


@pytest.mark.slow
def test_a_training_that_breaks_down_has_a_score():
    """The untrained network is epoch 0, and a curve has a value for each epoch."""
    found = recipe.train("cells", 1e30, 0, optimizer="sgd", norm=False, **QUICK)
    row = recipe.scores(found)
    assert row["diverged"] == 1
    assert len(row["curve"]) == QUICK["epochs"] + 1
    assert np.isfinite(row["mean_iou"])
    assert row["mean_iou"] > 0


def test_the_best_epoch_is_scored_and_not_the_last(monkeypatch):
    """A stand-in for a network: its weights say which mask it gives."""
    dataset = recipe.load("cells", 32)

    class Stub:
        def set_weights(self, weights):
            self.weights = weights

        def predict_on_batch(self, images):
            same = np.arange(2) == self.weights
            return np.tile(same.astype(float), (*images.shape[:3], 1))

    model = Stub()
    model.set_weights(1)  # all pixels are cell
    found = recipe.Training(model, dataset, 0, [0.1, 0.4, 0.2, 0.3], [1.0, 0.5, 0.7])
    row = recipe.scores(found)
    shares = dataset.test.class_shares()
    assert row["mean_iou"] == pytest.approx(shares[0] / 2)
    assert row["last_iou"] == pytest.approx(shares[1] / 2)
    assert row["train_iou"] == pytest.approx(dataset.train.class_shares()[1] / 2)
    assert row["rarest_iou"] == 0
    assert row["val_iou"] == 0.4
    assert row["speed"] == pytest.approx(0.3)
    assert row["wobble"] == pytest.approx(0.2 / 3)
    assert row["train_loss"] == 0.7
    assert row["diverged"] == 0


def test_a_split_of_any_length_is_counted_once():
    dataset = recipe.load("cells", 100)  # 60 and 40

    class Truth:
        def predict_on_batch(self, images):
            where = [np.flatnonzero((known == x).all((1, 2, 3)))[0] for x in images]
            return np.eye(2)[dataset.train.masks[where]]

    known = dataset.train.images
    matrix = recipe.confusion(Truth(), dataset.train)
    assert matrix.sum() == dataset.train.masks.size
    assert np.trace(matrix) == matrix.sum()


@pytest.mark.parametrize("name", ["mse", "relu", "linear", "sigmoid"])
def test_losses_of_each_class_are_what_they_are_by_hand(name):
    rng = np.random.default_rng(0)
    z = rng.normal(0, 2, size=(2, 3, 3, 4)).astype(np.float32)
    masks = rng.integers(0, 4, size=(2, 3, 3))
    truth = np.eye(4)[masks]
    softmax = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    p = 1 / (1 + np.exp(-z))
    by_hand = {
        "mse": (softmax - truth) ** 2,
        "relu": (z.clip(0) - truth) ** 2,
        "linear": (z - truth) ** 2,
        "sigmoid": -truth * np.log(p) - (1 - truth) * np.log(1 - p),
    }[name]
    loss = recipe.of_each_class(name, 4, masks, keras.ops.convert_to_tensor(z))
    # float32 logarithms against float64
    np.testing.assert_allclose(float(loss), by_hand.sum(axis=-1).mean(), rtol=1e-5)


def test_losses_have_their_names():
    dataset = recipe.load("digits", 48)
    for name, (kind, _) in recipe.LOSSES.items():
        made = recipe.make_loss(name, dataset)
        if name == "ce+dice":
            assert isinstance(made, losses.Sum)
        else:
            assert isinstance(made, getattr(losses, kind))
    weights = np.array(recipe.make_loss("weighted", dataset).class_weights)
    assert weights[1:].min() > 4 * weights[0]  # the background has the least


def test_the_network_is_the_package_s():
    """With the default knobs it has the layers, and so the weights, of models.unet."""
    from seglab import models

    ours = recipe.unet((24, 24, 1), 4, width=4, depth=2)
    theirs = models.unet((24, 24, 1), 4, width=4, depth=2)
    count = [sum(int(np.prod(w.shape)) for w in m.weights) for m in (ours, theirs)]
    assert ours.output_shape == theirs.output_shape
    assert count[0] - count[1] == bias_of_normalized(ours) - bias_of_normalized(theirs)


def bias_of_normalized(model):
    """Count the biases of 3 x 3 convolutions: batch normalization has its own."""
    return sum(
        layer.filters
        for layer in model.layers
        if type(layer) is keras.layers.Conv2D and layer.use_bias
        if layer.kernel_size == (3, 3)
    )


def test_knobs_do_what_they_say():
    plain = recipe.unet((24, 24, 1), 4, norm=False)
    assert not any(isinstance(x, keras.layers.BatchNormalization) for x in plain.layers)
    assert not plain.losses
    decayed = recipe.unet((24, 24, 1), 4, l2=0.5, l1=0.25, initializer="he")
    expected = sum(
        0.25 * np.abs(w).sum() + 0.5 * (w**2).sum()
        for w in (layer.get_weights()[0] for layer in kernels(decayed))
    )
    np.testing.assert_allclose(sum(map(float, decayed.losses)), expected, rtol=1e-5)
    for name, spread in (("zeros", 0), ("small", 0.01), ("large", 0.5)):
        network = recipe.unet((24, 24, 1), 4, initializer=name)
        for layer in kernels(network):
            values = layer.get_weights()[0]
            # of at least 32 values the deviation is known to a third or so
            assert values.std() == pytest.approx(spread, rel=0.5)
    first, second = (x.get_weights()[0] for x in kernels(network)[3:5])
    assert first.shape == second.shape or not np.array_equal(first, second)
    dropped = recipe.unet((24, 24, 1), 4, dropout=0.3, kernel=5, activation="tanh")
    assert [x.rate for x in dropped.layers if isinstance(x, keras.layers.Dropout)] == [
        0.3
    ]
    assert kernels(dropped)[0].kernel_size == (5, 5)
    assert {
        x.activation.__name__
        for x in dropped.layers
        if isinstance(x, keras.layers.Activation)
    } == {"tanh"}


def kernels(model):
    return [layer for layer in model.layers if hasattr(layer, "kernel_size")]
