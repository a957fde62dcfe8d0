"""Rows survive what happens to a file: interrupted writers, other hands, new seeds."""

import csv

import numpy as np
import pytest

from seglab.evidence import Experiment, ExperimentError, read, results_folder, run
from seglab.evidence.results import append, columns_of, path_of


def measure(width, loss, *, seed):
    if width == 8 and loss is None:
        return {"iou": np.nan, "class_iou": (0.5, np.nan)}
    return {"iou": np.float32(width / 3 + seed), "class_iou": np.array([1e-9, width])}


def declare(seeds=(0, 1), **changes):
    fields = {
        "name": "losses",
        "question": "?",
        "measure": measure,
        "factors": {"width": (4, 8), "loss": ("ce, weighted", None)},
        "metrics": {"iou": "", "class_iou": ""},
        "seeds": seeds,
    }
    return Experiment(**{**fields, **changes})


def test_what_was_measured_comes_back_in_the_order_of_the_grid(tmp_path):
    experiment = declare()
    for seed in (1, 0):
        run(experiment, tmp_path, only={"seed": seed}, progress=False)
    results = read(experiment, tmp_path)
    assert [row.cell for row in results] == list(experiment.cells())
    for row in results:
        expected = measure(**row.cell)
        np.testing.assert_allclose(row.metrics["iou"], expected["iou"], rtol=1e-5)
        np.testing.assert_allclose(
            row.metrics["class_iou"], expected["class_iou"], rtol=1e-5
        )
    some = results.where(width=8, loss=None)
    assert len(some) == 2
    assert some.values("class_iou").shape == (2, 2)
    assert results.levels("loss") == ("ce, weighted", None)
    with pytest.raises(ValueError, match="'depth' is no factor; there is width, loss"):
        results.where(depth=3)
    with pytest.raises(ValueError, match="'dice' is no metric; there is iou"):
        results.values("dice")


@pytest.mark.parametrize("level", [1.0, 1e-05, 1 / 3, 1234567.0, 1, True, "1", None])
def test_a_level_comes_back_as_it_was(tmp_path, level):
    """Also a float that is a whole number, and one of more digits than a metric has."""
    experiment = declare(
        measure=lambda rate, seed: {"iou": 0.5, "class_iou": (0, 1)},
        factors={"rate": (level, 7)},
    )
    run(experiment, tmp_path, progress=False)
    assert [row.cell for row in read(experiment, tmp_path)] == list(experiment.cells())


def test_each_row_says_where_it_comes_from(tmp_path):
    experiment = declare()
    run(experiment, tmp_path, progress=False)
    with path_of(experiment, tmp_path).open(newline="") as file:
        records = list(csv.DictReader(file))
    assert list(records[0]) == columns_of(experiment)
    for record in records:
        assert record["definition"] == experiment.definition
        assert record["rules"] == experiment.rules_digest
        assert record["python"].startswith("3.")
        assert float(record["seconds"]) >= 0
        assert "T" in record["finished"]


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_half_a_line_of_a_killed_writer_is_measured_again(tmp_path, cut):
    experiment = declare()
    run(experiment, tmp_path, progress=False)
    path = path_of(experiment, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert len(read(experiment, tmp_path)) == 7
    run(experiment, tmp_path, progress=False)
    assert len(read(experiment, tmp_path)) == 8
    again = path.read_bytes()
    kept = whole[:-cut].rfind(b"\n") + 1
    assert again.startswith(whole[:kept])  # what was complete is as it was
    assert len(list(csv.DictReader(again.decode().splitlines()))) == 8


def test_a_file_with_half_a_header_is_begun_anew(tmp_path):
    experiment = declare()
    path_of(experiment, tmp_path).write_text("width,lo")
    assert len(run(experiment, tmp_path, progress=False)) == 8


def test_a_cell_that_stands_twice_counts_once_the_first(tmp_path):
    experiment = declare()
    run(experiment, tmp_path, progress=False)
    path = path_of(experiment, tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    second = lines[1].replace("1.33333", "9.99999")
    assert second != lines[1]
    path.write_text("".join([*lines, second]))
    results = read(experiment, tmp_path)
    assert len(results) == 8
    assert results.rows[0].metrics["iou"] == pytest.approx(4 / 3, rel=1e-5)


def test_rows_of_another_definition_are_counted_and_left(tmp_path):
    old = declare()
    run(old, tmp_path, progress=False)

    def other(width, loss, *, seed):
        return {"iou": 0.0, "class_iou": (0, 0)}

    new = declare(measure=other)
    assert len(read(new, tmp_path)) == 0
    assert read(new, tmp_path).stale == 8
    assert len(run(new, tmp_path, progress=False)) == 8
    assert len(read(old, tmp_path)) == 8


def test_levels_and_seeds_that_are_no_longer_asked_for_are_left_out(tmp_path):
    run(declare(seeds=range(3)), tmp_path, progress=False)
    assert len(read(declare(seeds=(1,)), tmp_path)) == 4
    assert read(declare(seeds=(1,)), tmp_path).stale == 0


def test_other_columns_are_refused_and_nothing_is_written(tmp_path):
    run(declare(), tmp_path, progress=False)
    path = path_of(declare(), tmp_path)
    before = path.read_bytes()
    other = declare(metrics={"dice": ""})
    with pytest.raises(ExperimentError, match="now has width, loss, seed, dice"):
        read(other, tmp_path)
    with pytest.raises(ExperimentError, match="Move the file away"):
        append(other, tmp_path, {})
    assert path.read_bytes() == before


def test_a_row_that_cannot_be_read_is_named_by_its_line(tmp_path):
    run(declare(), tmp_path, progress=False)
    path = path_of(declare(), tmp_path)
    path.write_text(path.read_text().replace("1.33333", "much", 1))
    with pytest.raises(ExperimentError, match=r"line \d+ of .*losses.csv cannot be"):
        read(declare(), tmp_path)


def test_no_file_is_no_rows(tmp_path):
    assert len(read(declare(), tmp_path / "none")) == 0


def test_the_books_rows_are_found():
    assert results_folder().is_dir()
