"""The book's experiments are well declared, and a small cell can be measured."""

import numpy as np
import pytest

from seglab.evidence import ExperimentError, catalog, read, verdicts
from seglab.evidence.catalog import comparison
from seglab.evidence.runner import measure_cell


@pytest.mark.parametrize("name", catalog.names())
def test_it_is_declared_under_its_name(name):
    experiment = catalog.get(name)
    assert experiment.name == name
    assert experiment.question.endswith("?")
    assert experiment.tolerance
    assert list(experiment.cells())
    results = read(experiment)  # the book's rows, where there are some
    assert results.stale == 0
    assert len(verdicts(experiment, results)) == len(experiment.rules)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ExperimentError, match="'comparisn'; there is comparison"):
        catalog.get("comparisn")


@pytest.fixture
def small(monkeypatch):
    """A few small images, and a training of moments."""
    for name in comparison.SETS:
        monkeypatch.setitem(comparison.SETS[name], "count", 12)
    monkeypatch.setattr(comparison, "EPOCHS", 2)
    monkeypatch.setattr(comparison, "SECONDS", 0.3)
    monkeypatch.setattr(comparison, "PATCHES", 100)
    monkeypatch.setattr(comparison, "PIXELS", 500)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("otsu", "cells"),
        ("forest", "digits"),
        ("patch_cnn", "digits"),
        ("fcn16", "cells"),
        ("autoencoder", "digits"),
        ("segnet", "cells"),
        ("unet", "digits"),
    ],
)
def test_every_family_is_measured(small, model, data):
    experiment = catalog.get("comparison")
    cell = {"model": model, "data": data, "budget": "epochs", "seed": 0}
    _, row = measure_cell(experiment, cell)
    assert isinstance(row, dict), row.message
    classes = {"cells": 2, "digits": 11}[data]
    assert len(row["class_iou"]) == classes
    assert row["mean_iou"] == pytest.approx(np.nanmean(row["class_iou"]))
    assert (row["parameters"] > 0) == (model != "otsu")
    assert row["train_seconds"] >= 0
    assert row["image_ms"] > 0


@pytest.mark.slow
def test_a_budget_of_seconds_stops_within_an_epoch(small, monkeypatch):
    monkeypatch.setitem(comparison.SETS["cells"], "count", 60)
    cell = {"model": "unet", "data": "cells", "budget": "seconds", "seed": 0}
    _, row = measure_cell(catalog.get("comparison"), cell)
    assert isinstance(row, dict), row.message
    assert row["train_seconds"] >= 0.3
    assert row["steps"] > 1


def test_a_method_is_left_out_where_it_makes_no_sense():
    cells = list(catalog.get("comparison").cells())
    assert not any(c["model"] == "otsu" and c["data"] == "digits" for c in cells)
    assert len(cells) == 5 * (8 * 2 * 2 + 1 + 2)


def test_where_masks_are_wrong_is_told():
    """A line of class 1 and a square of class 2, scored by hand."""
    mask = np.zeros((1, 9, 9), np.int32)
    mask[0, 1, 1:8] = 1  # seven pixels, each at an edge
    mask[0, 4:7, 2:5] = 2  # nine pixels, of which the middle is at no edge
    labels = mask.copy()
    labels[0, 1, 4] = 0  # the line breaks in two
    labels[0, 5, 3] = 1  # the middle has a wrong name
    found = comparison.scores(mask, labels, 3)
    assert found["object_iou"] == pytest.approx(15 / 16)
    assert found["named"] == pytest.approx(14 / 15)
    assert found["pieces"] == pytest.approx(3 / 2)
    # Around the line 3 x 9 pixels are near an edge; around the square 5 x 5, less the
    # middle. Of these one is wrong, and of the other 30 the middle.
    assert found["edge_error"] == pytest.approx(1 / (27 + 24))
    assert found["inner_error"] == pytest.approx(1 / 30)


def test_nothing_found_has_no_names():
    mask = np.ones((1, 4, 4), np.int32)
    mask[0, 0] = 0
    found = comparison.scores(mask, np.zeros_like(mask), 2)
    assert np.isnan(found["named"])
    assert found["pieces"] == found["object_iou"] == 0
