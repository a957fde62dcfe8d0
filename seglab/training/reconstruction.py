"""Train an autoencoder to give back its input: `fit_reconstruction`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from numpy.typing import NDArray

from seglab import device
from seglab.data import Dataset
from seglab.progress import Display, Mode, show
from seglab.training.batches import Batches
from seglab.training.checks import check_counts
from seglab.training.precision import choose_jit, compile_step
from seglab.training.watch import DivergedError


def fit_reconstruction(
    model: keras.Model,
    dataset: Dataset,
    *,
    epochs: int,
    batch_size: int = 16,
    learning_rate: float = 3e-3,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Mode = True,
) -> dict[str, list[float]]:
    """Train a network to give back the image that it gets. No mask is looked at.

    The loss is the mean squared error between output and image. A denoising
    autoencoder (`seglab.models.autoencoder` with ``noise``) adds its noise inside, so
    that the target is the clean image here too.

    Parameters
    ----------
    model : keras.Model
        From images to images. Its first weights were drawn when it was built: call
        `seglab.device.set_seed` before that to repeat a training.
    dataset : Dataset
        Trains on ``dataset.train``, measures on ``dataset.val``.
    epochs : int
        Passes over the training images.
    batch_size : int, default 16
        Images in a step.
    learning_rate : float, default 0.003
        Of the Adam optimizer.
    seed : int, default 0
        Of the order of the images.
    callbacks : sequence of keras.callbacks.Callback, optional
        Of your own.
    progress : bool or "lines", default True
        See `seglab.progress.show`.

    Returns
    -------
    dict
        ``"loss"`` and ``"val_loss"``: the mean squared error of each epoch. That of
        training is a mean over the epoch, of noisy images if the model adds noise.

    Raises
    ------
    ValueError
        When an argument is out of range, or the model gives no images of that size.
    DivergedError
        When the loss becomes NaN.

    Examples
    --------
    >>> from seglab import data, device, models
    >>> cells = data.load("cells", count=20, size=16)
    >>> device.set_seed(0)
    >>> model = models.autoencoder(cells.image_shape, width=2, depth=1, code_size=4)
    >>> losses = fit_reconstruction(model, cells, epochs=3)
    >>> losses["val_loss"][-1] < losses["val_loss"][0]
    True
    """
    check_counts(epochs=epochs, batch_size=batch_size)
    if tuple(model.output_shape[1:]) != dataset.image_shape:
        raise ValueError(
            f"the model gives {tuple(model.output_shape[1:])} for an image, and the "
            f"images are {dataset.image_shape}: it cannot give them back. An "
            "autoencoder can: seglab.models.autoencoder(dataset.image_shape)."
        )
    val = dataset.val.images[:]  # into memory, if they are on disk
    with show(progress) as display:
        jit = choose_jit("auto", device.accelerator(), devices=1)
        compile_step(model, keras.optimizers.Adam(learning_rate), "mse", jit)
        history = model.fit(
            _Images(dataset.train, batch_size, size=val.shape[1:3], seed=seed),
            epochs=epochs,
            validation_data=(val, val),
            validation_batch_size=batch_size,
            callbacks=[_Watch(epochs, display), *callbacks],
            verbose=0,
        )
    return {name: history.history[name] for name in ("loss", "val_loss")}


class _Images(Batches):
    """The images of each batch, and once more as what is wanted of the network."""

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        images, _ = super().__getitem__(index)
        return images, images


class _Watch(keras.callbacks.Callback):
    """Say how it goes, and stop when it goes nowhere."""

    def __init__(self, epochs: int, display: Display) -> None:
        super().__init__()
        self.epochs, self.display = epochs, display

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not math.isfinite(logs["loss"]):
            raise DivergedError(
                f"the loss became {logs['loss']} in epoch {epoch + 1} of {self.epochs}."
                " Try a tenth of the learning rate."
            )
        self.display.step(
            (epoch + 1) / self.epochs,
            f"epoch {epoch + 1}/{self.epochs} · squared error {logs['loss']:.4f}"
            f" · val {logs['val_loss']:.4f}",
        )
