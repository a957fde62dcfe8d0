"""Distances as targets: drawn, answered and scored as the experiment says."""

import numpy as np
import pytest
from keras import ops

from seglab.evidence import catalog
from seglab.evidence.catalog import recipe, regression
from seglab.evidence.runner import measure_cell


def brute_force(mask, target):
    """Distance to the nearest pixel of the other kind, by looking at all of them."""
    found = np.zeros(mask.shape)
    inside = mask > 0
    for at in np.ndindex(mask.shape):
        others = np.argwhere(inside != inside[at])
        if len(others) and (inside[at] or target == "signed"):
            far = np.sqrt(((others - at) ** 2).sum(axis=1)).min()
            found[at] = min(far / regression.FAR, 1) * (1 if inside[at] else -1)
    return found


@pytest.mark.parametrize("target", ["distance", "signed"])
def test_distances_are_those_of_a_search(target):
    masks = np.random.default_rng(0).integers(0, 2, (3, 7, 9)).astype(np.int32)
    masks[1, :, 2:] = 0  # far from everything
    found = regression.distances(masks, target)
    assert found.shape == (3, 7, 9, 1)
    assert found.dtype == np.float32
    for mask, one in zip(masks, found, strict=True):
        np.testing.assert_allclose(one[..., 0], brute_force(mask, target), atol=1e-6)


def test_an_image_without_a_cell_and_one_without_background_have_no_distance():
    masks = np.stack([np.zeros((4, 4), np.int32), np.ones((4, 4), np.int32)])
    assert not regression.distances(masks[:1], "distance").any()
    assert np.isfinite(regression.distances(masks, "signed")).all()


def test_answers_lie_where_their_last_layer_lets_them():
    z = np.random.default_rng(0).normal(0, 3, (2, 4, 4, 1)).astype(np.float32)
    plain, relu, sigmoid = (
        ops.convert_to_numpy(regression.read_out(answer, z))
        for answer in ("squares", "relu", "sigmoid")
    )
    np.testing.assert_array_equal(plain, z)
    np.testing.assert_array_equal(relu, np.maximum(z, 0))
    np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-z)), rtol=1e-5)


def test_a_certain_bin_is_its_distance_and_costs_nothing():
    wanted = np.arange(regression.BINS, dtype=np.float32).reshape(1, 3, 3, 1)
    wanted /= regression.FAR
    z = 50 * np.eye(regression.BINS, dtype=np.float32).reshape(1, 3, 3, -1)
    found = ops.convert_to_numpy(regression.read_out("bins", z))
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert float(regression.error("bins", wanted, z)) == pytest.approx(0, abs=1e-6)
    even = np.zeros_like(z)
    nothing = float(regression.error("bins", wanted, even))
    assert nothing == pytest.approx(np.log(regression.BINS), rel=1e-5)


@pytest.mark.parametrize(("answer", "power"), [("squares", 2), ("absolute", 1)])
def test_errors_are_averaged_over_pixels(answer, power):
    rng = np.random.default_rng(0)
    wanted, z = rng.normal(size=(2, 2, 3, 3, 1)).astype(np.float32)
    expected = np.mean(np.abs(z - wanted) ** power)
    assert float(regression.error(answer, wanted, z)) == pytest.approx(expected)


def test_fit_is_that_of_scikit_learn_and_has_a_floor():
    from sklearn.metrics import mean_absolute_error, r2_score

    wanted, noise = np.random.default_rng(0).normal(size=(2, 5, 4, 4, 1))
    found = wanted + 0.3 * noise
    r2, off = regression.fit_of(found, wanted)
    assert r2 == pytest.approx(r2_score(wanted.ravel(), found.ravel()))
    apart = mean_absolute_error(wanted.ravel(), found.ravel())
    assert off == pytest.approx(apart * regression.FAR)
    assert regression.fit_of(found + 100, wanted)[0] == regression.WORST
    assert regression.fit_of(found + np.nan, wanted)[0] == regression.WORST


@pytest.mark.slow
@pytest.mark.parametrize("arm", regression.ARMS)
def test_every_arm_is_measured(arm, monkeypatch):
    monkeypatch.setattr(recipe, "TRAIN", 32)
    monkeypatch.setattr(recipe, "EPOCHS", 2)
    for options in regression.ARMS.values():
        if "epochs" in options:
            monkeypatch.setitem(options, "epochs", 2)
    experiment = catalog.get("regression")
    cell = next(cell for cell in experiment.cells() if cell["arm"] == arm)
    _, row = measure_cell(experiment, cell)
    assert isinstance(row, dict), row.message
    assert row["val_r2"] == max(row["curve"])
    assert regression.WORST <= row["r2"] <= 1
    assert len(row["curve"]) == 3
