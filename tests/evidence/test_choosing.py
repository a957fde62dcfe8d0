"""Few images and coarse ones, for every family."""

import numpy as np
import pytest

from seglab import data
from seglab.evidence import catalog
from seglab.evidence.catalog import choosing, comparison
from seglab.evidence.runner import measure_cell


@pytest.mark.parametrize("step", [2, 3])
def test_shrinking_averages_images_and_keeps_labels(step):
    split = data.load("cells", count=4, size=16 * step).train
    small = choosing.shrink(split)
    assert small.images.shape == (len(split), 16, 16, 1)
    assert small.masks.shape == (len(split), 16, 16)
    for row, column in np.ndindex(16, 16):
        top, left = step * row, step * column
        block = np.s_[:, top : top + step, left : left + step]
        np.testing.assert_allclose(
            small.images[:, row, column],
            split.images[block].mean(axis=(1, 2)),
            rtol=1e-5,
        )
        middle = split.masks[block][:, step // 2, step // 2]
        assert (small.masks[:, row, column] == middle).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "set_name", "images"),
    [
        ("unet", "cells", "few"),
        ("unet", "cells", choosing.COARSE),
        ("fcn8", "digits", choosing.COARSE),
        ("autoencoder", "digits", choosing.COARSE),
        ("patch_cnn", "cells", choosing.COARSE),
    ],
)
def test_a_model_is_measured_on_such_images(model, set_name, images, monkeypatch):
    monkeypatch.setattr(comparison, "SECONDS", 0.5)
    cell = {"model": model, "data": set_name, "images": images, "seed": 0}
    _, row = measure_cell(catalog.get("choosing"), cell)
    assert isinstance(row, dict), row.message
    assert row["steps"] > 1
    assert 0 < row["mean_iou"] < 1
