"""Training to reconstruct: that it learns the image, clean from noisy, masks unseen."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from seglab.models import autoencoder
from seglab.training import DivergedError, fit_reconstruction


@pytest.fixture
def ramps(dataset):
    """Images of one number each: a slope of its own steepness."""

    def make(split):
        n = len(split.images)
        steep = np.random.default_rng(n).random((n, 1, 1, 1), np.float32)
        ramp = np.linspace(0, 1, 8, dtype=np.float32).reshape(1, 8, 1, 1)
        return replace(split, images=np.tile(steep * ramp, (1, 1, 8, 1)))

    parts = {name: make(split) for name, split in dataset.splits().items()}
    return replace(dataset, **parts)


def squared_error(model, images):
    return float(((ops.convert_to_numpy(model(images)) - images) ** 2).mean())


def test_one_number_is_enough_for_images_of_one_number(ramps):
    keras.utils.set_random_seed(0)
    model = autoencoder((8, 8, 1), depth=0, code_size=1)
    losses = fit_reconstruction(
        model, ramps, epochs=40, batch_size=5, learning_rate=0.01, progress=False
    )
    assert len(losses["loss"]) == len(losses["val_loss"]) == 40
    val = ramps.val.images
    variance = float(val.var(axis=0).mean())  # what the mean image would leave
    assert losses["val_loss"][-1] < 0.05 * variance
    # rtol: float32 means over batches of another size.
    np.testing.assert_allclose(
        losses["val_loss"][-1], squared_error(model, val), rtol=1e-4
    )


def test_a_denoiser_is_asked_for_the_clean_image(ramps):
    """The loss of noisy images stays below the noise: an identity would reach it."""
    keras.utils.set_random_seed(0)
    model = autoencoder((8, 8, 1), depth=0, code_size=1, noise=0.5)
    losses = fit_reconstruction(
        model, ramps, epochs=40, batch_size=5, learning_rate=0.01, progress=False
    )
    assert losses["loss"][-1] < 0.25 * 0.5**2
    assert losses["val_loss"][-1] < losses["val_loss"][0]


def test_masks_play_no_part(ramps):
    def train(dataset):
        keras.utils.set_random_seed(3)
        model = autoencoder((8, 8, 1), depth=0, code_size=2)
        return fit_reconstruction(model, dataset, epochs=2, progress=False)

    def blank(split):
        return replace(split, masks=np.zeros_like(split.masks))

    parts = {name: blank(split) for name, split in ramps.splits().items()}
    assert train(ramps) == train(replace(ramps, **parts))


def test_progress_is_a_line_an_epoch(ramps, capsys):
    model = autoencoder((8, 8, 1), depth=0, code_size=1)
    fit_reconstruction(model, ramps, epochs=2, progress="lines")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ·")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "squared error" in lines[0]


def test_mistakes_are_named(ramps):
    model = autoencoder((8, 8, 1), depth=0, code_size=1)
    with pytest.raises(ValueError, match="epochs is 0"):
        fit_reconstruction(model, ramps, epochs=0)
    other = autoencoder((8, 4, 1), depth=0, code_size=1)
    with pytest.raises(ValueError, match=r"gives \(8, 4, 1\).*images are \(8, 8, 1\)"):
        fit_reconstruction(other, ramps, epochs=1)
    with pytest.raises(DivergedError, match=r"became nan in epoch 1 of 2.*a tenth"):
        fit_reconstruction(
            model, ramps, epochs=2, learning_rate=float("nan"), progress=False
        )
