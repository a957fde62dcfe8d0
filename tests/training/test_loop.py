"""Training: that it learns, keeps the best, repeats itself, and stops in good order."""

import random
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from seglab import metrics
from seglab.data import Augment
from seglab.device import Accelerator
from seglab.models import unet
from seglab.training import DivergedError, History, evaluate, fit, schedules
from seglab.training.precision import choose_policy, computing_in
from seglab.training.watch import Watch, _spell


def train(model, dataset, **options):
    defaults = {"epochs": 3, "batch_size": 5, "learning_rate": 0.05, "progress": False}
    return fit(model, dataset, **defaults | options)


@pytest.mark.backends
def test_a_unet_learns(dataset):
    keras.utils.set_random_seed(0)
    model = unet(dataset.image_shape, 2, width=2, depth=1)
    before = evaluate(model, dataset.val).mean_iou
    history = train(model, dataset, epochs=4, learning_rate=0.02)
    assert isinstance(history, History)
    assert history.loss[-1] < history.loss[0]
    assert history.val_iou.shape == (4, 2)
    assert evaluate(model, dataset.val).mean_iou > before
    # What stays in the model is what the history says is best, to the pixel.
    np.testing.assert_array_equal(
        evaluate(model, dataset.val).iou, history.val_iou[history.best_epoch]
    )


@pytest.mark.backends
def test_the_best_weights_are_kept(make_model, dataset):
    """Training is spoiled after six epochs: what it had learned must come back."""

    class Spoil(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):  # four steps an epoch
            return ops.where(step < 24, 0.05, 50.0)

        def get_config(self):
            return {}

    model = make_model()
    history = train(model, dataset, epochs=8, learning_rate=Spoil())
    best = int(history.mean_iou.argmax())
    assert history.best_epoch == best < 6
    assert history.mean_iou[best] > 0.7
    assert history.mean_iou[-1] < 0.5
    assert evaluate(model, dataset.val).mean_iou == history.mean_iou[best]


def test_validation_loss_is_the_loss_of_keras(make_model, dataset):
    model = make_model()
    history = train(model, dataset, epochs=1)
    expected = model.evaluate(
        dataset.val.images, dataset.val.masks, batch_size=7, verbose=0
    )
    # rtol: float32 means over batches of other sizes.
    np.testing.assert_allclose(history.val_loss[0], expected, rtol=1e-5)


@pytest.mark.backends
def test_the_same_seed_gives_the_same_training(make_model, dataset):
    def run(seed):
        # Global state must play no part: disturb it.
        random.seed()
        np.random.seed()  # noqa: NPY002
        return train(
            make_model(), dataset, epochs=2, seed=seed, augment=Augment(noise=0.1)
        )

    first, again, other = run(1), run(1), run(2)
    assert first.loss == again.loss
    assert first.val_loss == again.val_loss
    np.testing.assert_array_equal(first.val_iou, again.val_iou)
    assert first.loss != other.loss


def test_global_generators_are_not_seeded_anew(make_model, dataset):
    """Or the next model would have the same first weights whatever its seed."""

    def draw_after_training(seed):
        keras.utils.set_random_seed(seed)
        train(make_model(seed=seed), dataset, epochs=1)
        return random.random(), np.random.rand()  # noqa: NPY002

    first, other = draw_after_training(3), draw_after_training(4)
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_ignored_pixels_teach_nothing(make_model, dataset):
    """Labels under the ignore label may be anything: the weights come out the same."""

    def run(hidden):
        def spoil(split):
            masks = split.masks.copy()
            masks[:, :4] = 255  # the upper half is not annotated
            images = split.images.copy()
            images[:, :4] = hidden
            return replace(split, images=images, masks=masks, ignore_index=255)

        parts = {name: spoil(split) for name, split in dataset.splits().items()}
        model = make_model()
        history = train(model, replace(dataset, **parts), epochs=2)
        return history.loss, [ops.convert_to_numpy(w) for w in model.weights]

    (loss, weights), (other_loss, other) = run(0.0), run(1.0)
    assert loss == other_loss
    for a, b in zip(weights, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_network_with_a_smaller_output_is_trained_on_the_center(dataset):
    image = keras.Input((8, 8, 1))
    hidden = keras.layers.Conv2D(4, 3, activation="relu")(image)  # valid: 6 x 6
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(hidden))
    history = train(model, dataset, epochs=6)
    assert history.val_iou[-1, 1] > 0.6
    assert evaluate(model, dataset.val).confusion.sum() == 7 * 6 * 6


@pytest.mark.backends
def test_a_loss_that_becomes_nan_stops_the_training(make_model, dataset):
    class Broken(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return ops.where(step < 4, 0.05, float("nan"))

        def get_config(self):
            return {}

    model = make_model()
    with pytest.raises(
        DivergedError, match=r"nan in epoch 2 of 3.*learning rate.*epoch 1, the best"
    ):
        train(model, dataset, learning_rate=Broken())
    weights = [ops.convert_to_numpy(w) for w in model.weights]
    assert all(np.isfinite(w).all() for w in weights)


@pytest.mark.backends
def test_an_interrupt_keeps_the_best_so_far(make_model, dataset, monkeypatch):
    def stop_in_epoch(number):
        original = Watch.on_train_batch_begin

        def on_train_batch_begin(self, batch, logs=None):
            if len(self.loss) == number and batch == 2:
                raise KeyboardInterrupt
            original(self, batch, logs)

        return on_train_batch_begin

    watch = Watch
    model = make_model()
    with monkeypatch.context() as patch:
        patch.setattr(watch, "on_train_batch_begin", stop_in_epoch(2))
        history = train(model, dataset, epochs=9)
    assert history.interrupted
    assert len(history) == 2
    report = evaluate(model, dataset.val)
    assert report.mean_iou == history.mean_iou[history.best_epoch]
    # Nothing to keep yet: the interrupt goes on.
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(watch, "on_train_batch_begin", stop_in_epoch(0))
        train(make_model(), dataset)


def test_own_loss_and_optimizer_are_used(make_model, dataset):
    calls = []

    class Mine(keras.losses.SparseCategoricalCrossentropy):
        def call(self, y_true, y_pred):
            calls.append(tuple(y_pred.shape)[1:])
            return super().call(y_true, y_pred)

    optimizer = keras.optimizers.SGD(0.1)
    model = make_model(activation="softmax")
    # No warning about softmax: the loss is the caller's affair.
    history = train(
        model, dataset, epochs=2, optimizer=optimizer, loss=Mine(from_logits=False)
    )
    assert model.optimizer is optimizer
    assert calls and set(calls) == {(8, 8, 2)}
    # A second training goes on with the same optimizer.
    again = train(
        model, dataset, epochs=2, optimizer=optimizer, loss=Mine(from_logits=False)
    )
    assert again.loss[0] < history.loss[0]


# --- schedules, early stopping, callbacks


@pytest.mark.backends
@pytest.mark.parametrize("own", [False, True])
def test_a_schedule_is_stretched_over_the_training(make_model, dataset, own):
    """Four steps an epoch: step t of T has the rate of progress t / T."""
    rates = []

    class Read(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            rates.append(
                float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
            )

    schedule = schedules.WarmUp(schedules.Cosine(0.05), share=0.25)
    options = {"optimizer": keras.optimizers.SGD(7.0)} if own else {}
    history = train(
        make_model(), dataset, learning_rate=schedule, callbacks=[Read()], **options
    )
    # float32: 1e-7 of the peak.
    np.testing.assert_allclose(rates, schedule(np.arange(12) / 12), atol=1e-8)
    expected = schedule(np.array([4, 8, 12]) / 12)
    np.testing.assert_allclose(history.learning_rate, expected, atol=1e-8)


def test_a_rate_is_the_optimizers_own_affair(make_model, dataset):
    optimizer = keras.optimizers.SGD(0.125)
    history = train(
        make_model(), dataset, epochs=1, optimizer=optimizer, learning_rate=9
    )
    assert history.learning_rate == [0.125]
    # A schedule begins at the first step of an optimizer.
    with pytest.raises(ValueError, match=r"taken 4 steps already.*Cosine\(peak=0.1"):
        train(
            make_model(),
            dataset,
            optimizer=optimizer,
            learning_rate=schedules.Cosine(0.1),
        )


class Plateau(keras.optimizers.schedules.LearningRateSchedule):
    """Learn for two epochs of four steps, and then nothing."""

    def __call__(self, step):
        return ops.where(step < 8, 0.05, 0.0)

    def get_config(self):
        return {}


@pytest.mark.backends
def test_patience_ends_a_training_that_gains_nothing(make_model, dataset, capsys):
    history = train(
        make_model(),
        dataset,
        epochs=9,
        learning_rate=Plateau(),
        patience=3,
        progress="lines",
    )
    best = int(history.mean_iou.argmax())
    assert best == history.best_epoch == 1  # the weights stay the same from here on
    assert len(history) == 2 + 3
    assert history.stopped_early
    assert not history.interrupted
    assert "stopped early" in repr(history)
    last = capsys.readouterr().out.splitlines()[-1]
    assert " · stopped: epoch 2 was the best · " in last


def test_callbacks_see_what_is_measured_and_may_stop(make_model, dataset):
    seen = []

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(dict(logs))
            self.model.stop_training = epoch == 1

    stop = keras.callbacks.EarlyStopping(monitor="val_mean_iou", mode="max", patience=9)
    history = train(make_model(), dataset, epochs=5, callbacks=[stop, Stop()])
    assert len(history) == 2
    assert history.stopped_early
    for epoch, logs in enumerate(seen):
        assert logs["loss"] == history.loss[epoch]
        assert logs["val_loss"] == history.val_loss[epoch]
        assert logs["val_mean_iou"] == history.mean_iou[epoch]
        assert logs["val_iou_bright"] == history.val_iou[epoch, 1]
        assert logs["learning_rate"] == history.learning_rate[epoch]
    assert stop.best == history.mean_iou.max()


@pytest.mark.parametrize("patience", [0, 1.5, -1])
def test_bad_patience_is_refused(make_model, dataset, patience):
    with pytest.raises(ValueError, match=f"patience is {patience}"):
        train(make_model(), dataset, patience=patience)


@pytest.mark.backends
def test_the_batches_are_the_same_on_every_backend(make_model, dataset):
    """Those that seed and epoch name, in an order of Python's generator."""
    seen = []

    def augment(images, masks, rng):
        seen.append(float(images.sum(dtype=np.float64)))
        return images, masks

    model = make_model()
    random.seed(5)
    train(model, dataset, epochs=2, seed=3, augment=augment)
    random.seed(5)
    expected = []
    for epoch in (1, 2):
        order = np.random.default_rng([3, epoch, 0]).permutation(20).reshape(4, 5)
        turns = [0, 1, 2, 3]
        random.shuffle(turns)
        expected += [
            dataset.train.images[order[t]].sum(dtype=np.float64) for t in turns
        ]
    # What came before is what fit and Keras look at to see shapes.
    assert seen[-8:] == expected


def test_progress_says_what_counts(make_model, dataset, capsys):
    history = train(make_model(), dataset, epochs=2, progress="lines")
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch 1/2 · loss ")
    dark, bright = history.val_iou[1]
    assert last.startswith(
        f"epoch 2/2 · loss {history.loss[1]:.2f} · "
        f"val IoU dark {dark:.2f}, bright {bright:.2f} · "
    )
    assert last.endswith(" s")


def test_many_classes_are_summed_up():
    names = tuple("abcdef")
    iou = np.array([0.5, 0.25, np.nan, 0.75, 1.0, 1.0])
    assert _spell(names, iou) == "mean 0.70, lowest b 0.25"
    assert _spell(names, np.full(6, np.nan)) == "mean nan"


# Mixed precision: on a CPU it is slow, but the path is the same.


@pytest.mark.backends
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_trains_and_leaves_a_float32_model(dataset, policy):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    hidden = keras.layers.Conv2D(4, 3, padding="same", name="conv")(image)
    hidden = keras.layers.ReLU()(keras.layers.BatchNormalization()(hidden))
    both = keras.layers.Concatenate(name="concat")([hidden, image])
    model = keras.Model(image, keras.layers.Conv2D(2, 1, name="logits")(both))
    x = dataset.val.images[:5]  # the batch that was compiled for
    before = ops.convert_to_numpy(model(x))
    seen = []
    original = model.compile
    model.compile = lambda **options: (
        seen.append({layer.name: layer.compute_dtype for layer in model.layers}),
        original(**options),
    )
    history = train(model, dataset, epochs=3, mixed_precision=policy)
    half = policy.removeprefix("mixed_")
    assert seen[0]["conv"] == seen[0]["concat"] == half
    assert seen[0]["logits"] == "float32"
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (half == "float16")
    assert history.loss[-1] < history.loss[0]
    # Afterwards: plain float32, weights and computation.
    assert all(layer.dtype_policy.name == "float32" for layer in model.layers)
    assert model.dtype_policy.name == "float32"
    after = ops.convert_to_numpy(model(x))
    assert after.dtype == np.float32
    assert not np.array_equal(before, after)
    # The compiled function is not the half-precision one: atol is float32's.
    np.testing.assert_allclose(model.predict_on_batch(x), after, atol=1e-4)
    assert '"mixed' not in model.to_json()


def test_half_precision_really_computes_in_half(make_model, dataset):
    model = make_model()
    x = dataset.val.images
    full = ops.convert_to_numpy(model(x))
    with computing_in(model, "mixed_bfloat16"):
        half = ops.convert_to_numpy(model(x))
    # bfloat16 keeps 8 bits: off by about 1 %, not by nothing and not by much.
    error = np.abs(half - full).max() / np.abs(full).max()
    assert 1e-4 < error < 0.05
    np.testing.assert_array_equal(ops.convert_to_numpy(model(x)), full)


def test_a_model_with_a_policy_of_its_own_keeps_it(make_model):
    model = make_model()
    model.layers[1].dtype_policy = "mixed_float16"
    with computing_in(model, "mixed_bfloat16"):
        assert model.layers[1].compute_dtype == "float16"
    assert model.layers[1].compute_dtype == "float16"


@pytest.mark.parametrize(
    ("asked", "capability", "policy"),
    [
        ("auto", None, "float32"),
        ("auto", (7, 5), "mixed_float16"),
        ("auto", (9, 0), "mixed_bfloat16"),
        (True, None, "mixed_bfloat16"),
        (True, (7, 5), "mixed_float16"),
        (False, (9, 0), "float32"),
        ("float32", (9, 0), "float32"),
        ("mixed_float16", (9, 0), "mixed_float16"),
    ],
)
def test_policies(asked, capability, policy):
    here = Accelerator("jax", "gpu" if capability else "cpu", ("X",), capability)
    assert choose_policy(asked, here) == policy


def test_the_metrics_agree_with_a_prediction(make_model, dataset):
    """The IoU in the history is that of the labels that predict gives."""
    model = make_model()
    history = train(model, dataset)
    labels = model.predict(dataset.val.images, verbose=0).argmax(axis=-1)
    matrix = metrics.confusion_matrix(dataset.val.masks, labels, 2)
    np.testing.assert_array_equal(
        history.val_iou[history.best_epoch], metrics.iou(matrix)
    )
