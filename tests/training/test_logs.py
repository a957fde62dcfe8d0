"""What a training writes as it goes: one line an epoch, whatever happens."""

import csv
import importlib.machinery
import sys
import types

import keras
import numpy as np
import pytest

from seglab.training import fit


def train(model, dataset, **options):
    defaults = {"epochs": 3, "batch_size": 5, "learning_rate": 0.05, "progress": False}
    return fit(model, dataset, **defaults | options)


class PowerFailure(BaseException):
    """Nothing catches it."""


@pytest.mark.backends
def test_the_file_is_the_history_and_grows_as_it_does(make_model, dataset, tmp_path):
    path = tmp_path / "logs" / "run.csv"
    lengths = []

    class Read(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            lengths.append(len(path.read_text().splitlines()))

    history = train(make_model(), dataset, log=path, callbacks=[Read()])
    assert path.read_text() == history.to_csv()
    assert lengths == [1, 2, 3]  # the header first
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [float(row["learning_rate"]) for row in rows] == [0.05] * 3
    np.testing.assert_allclose(
        [float(row["iou_bright"]) for row in rows], history.val_iou[:, 1], rtol=1e-5
    )
    # Another training replaces it.
    shorter = train(make_model(), dataset, epochs=1, log=path)
    assert path.read_text() == shorter.to_csv()


def test_no_line_is_lost_or_written_twice(make_model, dataset, tmp_path, monkeypatch):
    """The power fails after the second line was written and before the checkpoint."""
    path = tmp_path / "run.csv"
    options = {"log": path, "checkpoint": tmp_path / "state"}
    savez, calls = np.savez, []

    def fail(file, **arrays):
        calls.append(1)
        if len(calls) == 2:
            raise PowerFailure
        savez(file, **arrays)

    with monkeypatch.context() as patch, pytest.raises(PowerFailure):
        patch.setattr(np, "savez", fail)
        train(make_model(), dataset, **options)
    assert len(path.read_text().splitlines()) == 3
    history = train(make_model(), dataset, **options)
    assert path.read_text() == history.to_csv()
    assert len(history) == 3


NAMES = [
    "learning_rate",
    "loss",
    "val_iou_bright",
    "val_iou_dark",
    "val_loss",
    "val_mean_iou",
]


def test_tensorboard_is_given_each_number(make_model, dataset, tmp_path, monkeypatch):
    """By a stand-in for TensorBoard."""
    written, closed = [], []

    class Writer:
        def __init__(self, folder):
            assert folder == str(tmp_path / "board")

        def add_scalar(self, name, value, epoch):
            written.append((epoch, name, value))

        def flush(self):
            pass

        def close(self):
            closed.append(1)

    for name in ("tensorboard", "tensorboard.summary"):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        module.Writer = Writer
        monkeypatch.setitem(sys.modules, name, module)
    history = train(make_model(), dataset, tensorboard=tmp_path / "board")
    assert sorted({name for _, name, _ in written}) == NAMES
    values = {(epoch, name): value for epoch, name, value in written}
    assert len(written) == len(values) == 3 * len(NAMES)
    for epoch in range(3):
        assert values[epoch, "loss"] == history.loss[epoch]
        assert values[epoch, "val_loss"] == history.val_loss[epoch]
        assert values[epoch, "val_iou_dark"] == history.val_iou[epoch, 0]
        assert values[epoch, "val_mean_iou"] == history.mean_iou[epoch]
    assert closed == [1]


@pytest.mark.backends
def test_tensorboard_reads_what_is_written(make_model, dataset, tmp_path):
    accumulators = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    history = train(make_model(), dataset, tensorboard=tmp_path)
    events = accumulators.EventAccumulator(str(tmp_path))
    events.Reload()
    assert sorted(events.Tags()["tensors"]) == NAMES
    read = [(e.step, e.tensor_proto.float_val[0]) for e in events.Tensors("val_loss")]
    assert [step for step, _ in read] == [0, 1, 2]
    np.testing.assert_allclose([v for _, v in read], history.val_loss, rtol=1e-6)


def test_a_missing_tensorboard_is_said_before_training(make_model, dataset, tmp_path):
    before = importlib.util.find_spec
    model = make_model()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            importlib.util,
            "find_spec",
            lambda name: None if name == "tensorboard" else before(name),
        )
        with pytest.raises(ImportError, match="pip install tensorboard, or use log="):
            train(model, dataset, tensorboard=tmp_path)
    assert not list(tmp_path.iterdir())
