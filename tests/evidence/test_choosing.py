"""Few images and coarse ones, for every family."""

import numpy as np
import pytest

from seglab import data
from seglab.evidence import catalog
from seglab.evidence.catalog import choosing, comparison
from seglab.evidence.runner import measure_cell


def test_halving_averages_images_and_keeps_labels():
    split = data.load("cells", count=4, size=16).train
    half = choosing.halve(split)
    assert half.images.shape == (len(split), 8, 8, 1)
    assert half.masks.shape == (len(split), 8, 8)
    for row, column in np.ndindex(8, 8):
        block = np.s_[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_allclose(
            half.images[:, row, column],
            split.images[block].mean(axis=(1, 2)),
            rtol=1e-6,
        )
        assert (half.masks[:, row, column] == split.masks[block][:, 0, 0]).all()


@pytest.mark.slow
@pytest.mark.parametrize("images", [choosing.USUAL, "few", choosing.COARSE])
def test_a_model_is_measured_on_such_images(images, monkeypatch):
    monkeypatch.setattr(comparison, "SECONDS", 0.5)
    cell = {"model": "unet", "data": "cells", "images": images, "seed": 0}
    _, row = measure_cell(catalog.get("choosing"), cell)
    assert isinstance(row, dict), row.message
    assert row["steps"] > 1
    assert len(row["class_iou"]) == 2
    assert 0 < row["mean_iou"] < 1
