"""A training that is killed and called again ends as one that was not."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from seglab import data, device
from seglab.data import Augment
from seglab.training import CheckpointError, History, evaluate, fit, schedules
from seglab.training.checkpoint import FILE, State, describe, write_atomically

EPOCHS = 4


CELLS = data.load("cells", count=14, size=16)


def network(width=2, dropout=0.3):
    """Layers with all kinds of state: weights, moving averages, random numbers."""
    image = keras.Input(CELLS.image_shape)
    x = keras.layers.Conv2D(width, 3, padding="same")(image)
    x = keras.layers.Dropout(dropout)(keras.layers.BatchNormalization()(x))
    return keras.Model(image, keras.layers.Conv2D(2, 1)(keras.layers.ReLU()(x)))


def train(folder, *, seed=0, epochs=EPOCHS, **options):
    """Train it with Adam, a schedule and augmentation; the batches are shuffled."""
    keras.utils.set_random_seed(seed)
    model = network()
    defaults = {
        "batch_size": 3,
        "augment": Augment(noise=0.1),
        "learning_rate": schedules.OneCycle(0.02),
        "progress": False,
    }
    options = defaults | options
    history = fit(model, CELLS, epochs=epochs, checkpoint=folder, **options)
    return model, history


class At(keras.callbacks.Callback):
    """Do something before a step."""

    def __init__(self, epoch, batch, action):
        super().__init__()
        self.epoch, self.batch, self.action = epoch, batch, action

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.now, batch) == (self.epoch, self.batch):
            self.action()


class PowerFailure(BaseException):
    """Nothing catches it."""


def fail():
    raise PowerFailure


def values(model):
    """Weights (the best ones), states of dropout, moments."""
    variables = (*model.variables, *model.optimizer.variables)
    return [ops.convert_to_numpy(v) for v in variables]


def assert_same(one, other):
    """The same weights, moments, dropout state and history, to the bit."""
    (model, history), (model2, history2) = one, other
    assert len(values(model)) == len(values(model2))
    for a, b in zip(values(model), values(model2), strict=True):
        np.testing.assert_array_equal(a, b)
    assert history.loss == history2.loss
    assert history.val_loss == history2.val_loss
    assert history.learning_rate == history2.learning_rate
    assert history.best_epoch == history2.best_epoch
    np.testing.assert_array_equal(history.val_iou, history2.val_iou)


@pytest.fixture(scope="module")
def whole():
    """A training that nothing interrupted, and that kept no checkpoint."""
    return train(None)


@pytest.fixture(scope="module")
def one_interrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.raises(PowerFailure):
        train(folder, callbacks=[At(2, 1, fail)])
    return folder


@pytest.fixture
def interrupted(one_interrupted, tmp_path):
    """The folder of a training that ended in the middle of its third epoch."""
    return shutil.copytree(one_interrupted, tmp_path / "copy")


@pytest.mark.backends
def test_an_interrupted_training_goes_on_exactly(whole, interrupted):
    # Another seed: nothing of the new model's first weights or dropout may remain.
    model, history = train(interrupted, seed=1)
    assert_same(whole, (model, history))
    assert not history.interrupted
    assert not history.stopped_early
    # Once all epochs are trained, there is nothing to do: the result comes back.
    again, history2 = train(interrupted, seed=2, callbacks=[At(0, 0, fail)])
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert history2.loss == history.loss
    assert history2.seconds == history.seconds
    np.testing.assert_array_equal(
        evaluate(again, CELLS.val).iou, history.val_iou[history.best_epoch]
    )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_killed_training_goes_on_exactly(whole, tmp_path):
    """SIGKILL, in the middle of the second epoch of another process."""
    code = (
        "import os, runpy, signal, sys\n"
        "here = runpy.run_path(sys.argv[1])\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        "here['train'](sys.argv[2], callbacks=[here['At'](1, 2, kill)])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, __file__, str(tmp_path)])
    assert done.returncode == -signal.SIGKILL
    assert len(State.read(tmp_path).history) == 1
    assert_same(whole, train(tmp_path, seed=1))


def test_dying_while_writing_leaves_the_last_checkpoint(whole, tmp_path, monkeypatch):
    """The power fails when half of the file is written."""
    savez, calls = np.savez, []

    def write_a_part(file, **arrays):
        calls.append(1)
        savez(file, **arrays)
        if len(calls) == 2:
            file.truncate(file.tell() // 2)
            raise PowerFailure

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", write_a_part)
        with pytest.raises(PowerFailure):
            train(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [FILE]
    assert len(State.read(tmp_path).history) == 1
    assert_same(whole, train(tmp_path, seed=1))


@pytest.mark.slow
def test_a_finished_training_may_be_given_more_epochs(tmp_path):
    """With a constant rate, more epochs may be asked for; the result is the same."""
    longer = train(tmp_path / "a", learning_rate=0.01, epochs=3)
    train(tmp_path / "b", learning_rate=0.01, epochs=2)
    assert_same(longer, train(tmp_path / "b", learning_rate=0.01, epochs=3))


def test_patience_counts_the_epochs_before(interrupted):
    """The epochs that nothing was gained in may lie before the interruption."""
    State.read(interrupted)
    path = interrupted / FILE
    with np.load(path) as file:
        arrays = dict(file)
    record = json.loads(str(arrays["record"]))
    record["best_epoch"] = 0  # of two
    np.savez(path, **arrays | {"record": np.array(json.dumps(record))})
    _, history = train(interrupted, patience=1, callbacks=[At(2, 0, fail)])
    assert len(history) == 2
    assert history.stopped_early


def test_an_interrupt_by_hand_keeps_the_best_and_may_go_on(whole, tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    model, history = train(tmp_path, callbacks=[At(2, 0, interrupt)])
    assert history.interrupted
    assert len(history) == 2
    np.testing.assert_array_equal(
        evaluate(model, CELLS.val).iou, history.val_iou[history.best_epoch]
    )
    assert_same(whole, train(tmp_path))


# --- other settings, other files


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"batch_size": 2}, "batch_size was 3 and is 2"),
        ({"augment": None}, r"augment was Augment\(.* and is None"),
        ({"sampling": "balanced"}, "sampling was 'uniform' and is 'balanced'"),
        ({"epochs": 5}, r"optimizer.learning_rate was OverSteps\(schedule=OneCycle\("),
        ({"epochs": 1}, "2 epochs are trained already, and epochs is 1"),
        (
            {"optimizer": keras.optimizers.SGD(0.1), "learning_rate": 0.1},
            "optimizer was Adam and is SGD",
        ),
        (
            {
                "loss": keras.losses.SparseCategoricalCrossentropy(
                    from_logits=True, reduction="sum"
                )
            },
            "loss.reduction was 'sum_over_batch_size' and is 'sum'",
        ),
    ],
)
def test_other_settings_are_named(interrupted, changed, said):
    with pytest.raises(CheckpointError, match=said) as caught:
        train(interrupted, **changed)
    assert str(interrupted) in str(caught.value)


def test_another_model_or_other_data_are_named(interrupted):
    options = {
        "epochs": EPOCHS,
        "batch_size": 3,
        "augment": Augment(noise=0.1),
        "learning_rate": schedules.OneCycle(0.02),
        "checkpoint": interrupted,
        "progress": False,
    }
    model = network()
    before = [v.copy() for v in model.get_weights()]
    other = data.load("cells", count=14, size=16, seed=1)
    with pytest.raises(CheckpointError, match=r"train was .*val was ") as caught:
        fit(model, other, **options)
    assert "model was" not in str(caught.value)
    # A refused checkpoint changes nothing.
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for other in (network(dropout=0.2), network(width=3)):
        with pytest.raises(CheckpointError, match=r"model was \d+ layers") as caught:
            fit(other, CELLS, **options)
        assert "val was" not in str(caught.value)


def test_hosts_that_see_other_folders_are_refused(interrupted, monkeypatch):
    monkeypatch.setattr(device, "gather", lambda number: [number, 0])
    with pytest.raises(CheckpointError, match=r"checkpoints of \[2, 0\] epochs"):
        train(interrupted)


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 100, None])
def test_a_damaged_file_is_explained(interrupted, tmp_path, content):
    if content is None:  # the first half of a good one
        content = (interrupted / FILE).read_bytes()
        content = content[: len(content) // 2]
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{FILE} is damaged. Delete it"):
        train(tmp_path)


def test_a_flipped_bit_is_found_or_does_no_harm(tmp_path):
    """Each byte of the file in turn: what is read is right, or is refused."""
    history = History(("a", "b"), [1.5], [0.5], np.array([[0.5, 0.25]]), 0, 2.25)
    weights = [np.arange(6.0).reshape(2, 3), np.arange(3.0)]
    state = State({"seed": "0"}, history, weights, weights[:1], weights, {"python": 1})
    state.write(tmp_path)
    path = tmp_path / FILE

    def content(state):
        groups = (state.variables, state.optimizer, state.best_weights)
        return (
            [(a.dtype, a.shape, a.tobytes()) for group in groups for a in group],
            [len(group) for group in groups],
            (state.settings, state.random_state, state.history.loss),
            state.history.val_iou.tolist(),
        )

    whole, expected = path.read_bytes(), content(state)
    start = len(whole)
    for _ in range(3):  # the last three files in the zip's directory
        start = whole.rindex(b"PK\x01\x02", 0, start)
    entries = range(start, len(whole))
    read = 0
    for place in (*range(0, entries[0], 3), *entries):
        # There each bit: one means "encrypted", and one of a length hides a file.
        for bit in range(8) if place in entries else (place % 8,):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            path.write_bytes(data)
            try:
                back = State.read(tmp_path)
            except CheckpointError as error:
                assert "is damaged. Delete it" in str(error)
            else:
                assert content(back) == expected, (place, bit)
                read += 1
    assert read  # a date, for example
    # An array that claims to be smaller is not read to its end.
    assert whole.count(b"(2, 3)") == 3
    path.write_bytes(whole.replace(b"(2, 3)", b"(1, 3)"))
    with pytest.raises(CheckpointError, match="is damaged"):
        State.read(tmp_path)


def test_a_file_without_the_number_of_its_arrays_is_read(interrupted):
    """As they were before that number was kept."""
    path = interrupted / FILE
    with np.load(path) as file:
        arrays = dict(file)
    record = json.loads(str(arrays["record"]))
    assert record.pop("arrays") == len(arrays) - 1
    np.savez(path, **arrays | {"record": np.array(json.dumps(record))})
    assert len(State.read(interrupted).history) == 2


def test_a_file_of_another_version_is_refused(tmp_path):
    np.savez(tmp_path / FILE, record=np.array(json.dumps({"format": 99})))
    with pytest.raises(CheckpointError, match="another version"):
        State.read(tmp_path)


def test_a_file_comes_back_as_it_was(tmp_path):
    """NaN, bfloat16 and whole numbers included."""
    history = History(("a", "b"), [1.5], [np.nan], np.array([[0.5, np.nan]]), 0, 2.25)
    half = ops.convert_to_numpy(ops.cast([1.5, -2.0], "bfloat16"))
    python = device.random_state()
    written = State({"seed": "0"}, history, [half], [np.array(7)], [], python)
    written.write(tmp_path / "new")
    back = State.read(tmp_path / "new")
    assert back.settings == written.settings
    assert back.history.loss == [1.5]
    assert np.isnan(back.history.val_loss).all()
    np.testing.assert_array_equal(back.history.val_iou, history.val_iou)
    assert back.optimizer[0] == 7
    assert back.best_weights == []
    assert back.random_state == python
    variable = keras.Variable(np.zeros(2), dtype="bfloat16")

    class Model:
        trainable_variables = variables = (variable,)
        optimizer = keras.optimizers.SGD()

    Model.optimizer.build([])
    replace(back, optimizer=values(Model)[1:]).restore(Model)
    np.testing.assert_array_equal(ops.convert_to_numpy(variable.value), half)


def test_writing_replaces_the_file_at_once(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write(file):
        file.write(b"new")
        assert path.read_text() == "old"

    write_atomically(path, write)
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208


def test_two_that_write_at_once_do_not_write_into_one_file(tmp_path):
    """The second begins and ends while the first is in the middle of its file."""
    path = tmp_path / "file"

    def write(file):
        file.write(b"one ")
        file.flush()
        write_atomically(path, lambda file: file.write(b"other"))
        assert path.read_text() == "other"
        file.write(b"whole")

    write_atomically(path, write)
    assert path.read_text() == "one whole"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
def test_others_may_read_what_is_written(tmp_path):
    """A new file has the rights of any other new file."""
    (tmp_path / "plain").write_text("")
    write_atomically(tmp_path / "file", lambda file: file.write(b""))
    rights = [(tmp_path / name).stat().st_mode for name in ("plain", "file")]
    assert rights[0] == rights[1]


def test_settings_are_spelled_alike_in_every_process(make_model, dataset):
    """No address and no counted name: two models of one kind are the same."""

    class Mine:
        def __call__(self, images, masks, rng):
            return images, masks

    def settings(rate):
        return describe(
            make_model(),
            dataset,
            {
                "augment": Mine(),
                "loss": keras.losses.sparse_categorical_crossentropy,
                "optimizer": keras.optimizers.Adam(rate),
                "part": partial(max, 1, default=Mine),
            },
        )

    one, same, other = settings(0.1), settings(0.1), settings(0.2)
    assert one == same
    assert one.keys() == other.keys()
    assert [key for key in one if one[key] != other[key]] == ["optimizer.learning_rate"]
    assert one["optimizer.learning_rate"] == "0.1"
    assert not any(" at 0x" in text for text in one.values())
    assert one["part"].startswith("builtins.max(1, default=")


def test_what_a_setting_is_compared_by(make_model, dataset):
    """A `repr`, where there is one; else a name: `fit` says that this is all."""

    class Plain:
        def __init__(self, strength):
            self.strength = strength

    class Spelled(Plain):
        def __repr__(self):
            return f"Spelled({self.strength})"

    def function(strength):
        def vary(images, masks, rng):
            return images * strength, masks

        return vary

    model = make_model()
    for make, seen in ((Plain, False), (function, False), (Spelled, True)):
        one, other = (
            describe(model, dataset, {"augment": make(strength)}) for strength in (1, 2)
        )
        assert (one != other) is seen


def test_a_layer_without_a_configuration_is_described(dataset):
    class Odd(keras.layers.Layer):
        def call(self, x):
            return x

        def get_config(self):
            raise NotImplementedError

    image = keras.Input((8, 8, 1))
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(Odd()(image)))
    assert describe(model, dataset, {})["model"].startswith("3 layers (#")
