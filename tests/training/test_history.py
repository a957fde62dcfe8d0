"""What a history says of a training."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from seglab.training import History


@pytest.fixture
def history():
    iou = np.array([[0.9, np.nan, 0.5], [0.95, np.nan, 0.75], [0.96, 0.0, 0.74]])
    return History(
        ("background", "a, b", "cell"), [1, 0.5, 0.4], [2, 1.5, 1.6], iou, 1, 3.21
    )


def test_mean_leaves_out_absent_classes(history):
    np.testing.assert_allclose(history.mean_iou, [0.7, 0.85, 1.7 / 3])


def test_repr_is_one_line_of_what_is_kept_and_has_no_time(history):
    assert repr(history) == (
        "History(3 epochs, best_epoch=1, val_iou: background 0.95, a, b nan, cell 0.75)"
    )
    assert "3.2" not in repr(history)


def test_interruption_is_said():
    history = History(("a",), [1.0], [1.0], np.array([[0.5]]), 0, 1.0, True)
    assert repr(history) == (
        "History(1 epoch, interrupted, best_epoch=0, val_iou: a 0.50)"
    )


def test_an_early_stop_is_said():
    history = History(
        ("a",), [1.0], [1.0], np.array([[0.5]]), 0, 1.0, stopped_early=True
    )
    assert repr(history) == (
        "History(1 epoch, stopped early, best_epoch=0, val_iou: a 0.50)"
    )


def test_csv_has_the_learning_rates_that_were_recorded(history):
    assert "learning_rate" not in history.to_csv()
    recorded = replace(history, learning_rate=[0.1, 0.05, 1e-9])
    rows = list(csv.DictReader(io.StringIO(recorded.to_csv())))
    assert [row["learning_rate"] for row in rows] == ["0.1", "0.05", "1e-09"]
    before = History(("a",), [], [], np.empty((0, 1)), 0, 0.0)
    assert before.to_csv() == "epoch,loss,val_loss,mean_iou,iou_a,learning_rate\n"


def test_csv_holds_each_epoch(history, tmp_path):
    text = history.to_csv(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text() == text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [float(row["loss"]) for row in rows] == history.loss
    assert rows[0]["iou_a, b"] == ""  # NaN
    assert rows[2]["iou_a, b"] == "0"
    assert float(rows[2]["iou_cell"]) == 0.74
