"""Small data and networks that train in a moment."""

import keras
import numpy as np
import pytest

from seglab.data import Dataset, Split


def make_split(n, *, seed=0, size=(8, 8), ignore_index=None):
    """Noise whose bright pixels are the class: one convolution can learn it."""
    rng = np.random.default_rng(seed)
    images = rng.random((n, *size, 1), np.float32)
    masks = (images[..., 0] > 0.6).astype(np.int32)
    return Split(images, masks, ("dark", "bright"), ignore_index=ignore_index)


@pytest.fixture
def dataset():
    return Dataset(
        "noise", make_split(20), make_split(7, seed=1), make_split(5, seed=2)
    )


@pytest.fixture
def make_model():
    def make(channels=2, *, shape=(8, 8, 1), activation=None, seed=0, **options):
        keras.utils.set_random_seed(seed)
        image = keras.Input(shape)
        hidden = keras.layers.Conv2D(4, 1, activation="tanh")(image)
        logits = keras.layers.Conv2D(channels, 1, activation=activation, **options)
        return keras.Model(image, logits(hidden))

    return make
