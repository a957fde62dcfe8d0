"""Rows are measured again, and one that does not repeat is found."""

import numpy as np
import pytest

from seglab.evidence import Experiment, ExperimentError, check, run
from seglab.evidence.results import path_of

CALLS = []


def measure(width, *, seed):
    CALLS.append((width, seed))
    noise = np.random.default_rng(seed).random()
    return {"iou": width + noise, "class_iou": (noise, np.nan), "seconds_a_step": 1.0}


def declare(**changes):
    fields = {
        "name": "again",
        "question": "?",
        "measure": measure,
        "factors": {"width": (1, 2, 3)},
        "metrics": {"iou": "", "class_iou": "", "seconds_a_step": "s"},
        "seeds": (0, 1, 2),
        "tolerance": {"iou": 1e-4, "class_iou": 1e-4},
    }
    return Experiment(**{**fields, **changes})


@pytest.fixture
def folder(tmp_path):
    run(declare(), tmp_path, progress=False)
    CALLS.clear()
    return tmp_path


def test_rows_that_repeat_are_as_before(folder):
    reruns = check(declare(), folder, count=4, progress=False)
    assert len(reruns) == 4 == len(set(CALLS))
    assert all(not rerun.failed for rerun in reruns)
    assert all(set(rerun.gaps) == {"iou", "class_iou"} for rerun in reruns)
    assert "as before" in str(reruns[0])


def test_the_draw_follows_its_seed(folder):
    draws = [
        [r.row.cell for r in check(declare(), folder, seed=seed, progress=False)]
        for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_a_row_that_was_typed_by_hand_is_found(folder):
    path = path_of(declare(), folder)
    head, first, *rest = path.read_text().splitlines(keepends=True)
    fields = first.split(",")
    fields[2] = "1.99"
    path.write_text("".join([head, ",".join(fields), *rest]))
    reruns = check(declare(), folder, count=99, progress=False)
    assert len(reruns) == 9
    assert [r.row.cell for r in reruns if r.failed] == [{"width": 1, "seed": 0}]
    assert "too far: iou" in str(next(r for r in reruns if r.failed))


def test_a_nan_that_became_a_number_is_found(folder):
    path = path_of(declare(), folder)
    path.write_text(path.read_text().replace(" nan,", " 0.5,", 1))
    reruns = check(declare(), folder, count=9, progress=False)
    assert [r.failed for r in reruns if r.failed] == [("class_iou",)]


def test_what_cannot_be_checked_is_said(tmp_path):
    with pytest.raises(ExperimentError, match="no row; measure some first"):
        check(declare(), tmp_path, progress=False)
    run(declare(), tmp_path, progress=False)
    with pytest.raises(ExperimentError, match="no row of at most 0 s"):
        check(declare(), tmp_path, longest=0, progress=False)
    with pytest.raises(ExperimentError, match="states no tolerance"):
        check(declare(tolerance={}), tmp_path, progress=False)
    with pytest.raises(ValueError, match="count is 0"):
        check(declare(), tmp_path, count=0, progress=False)
