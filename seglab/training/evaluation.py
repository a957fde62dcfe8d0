"""Run a network over a split in batches, and count what it gets right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from seglab.data import Split
from seglab.metrics import confusion_matrix
from seglab.report import Report
from seglab.training.checks import check_model
from seglab.training.crop import center_crop


def evaluate(model: keras.Model, split: Split, *, batch_size: int = 32) -> Report:
    """Measure a network on labeled images.

    Use the test split once, at the very end; the validation split to choose.

    Parameters
    ----------
    model : keras.Model
        From images (N, H, W, C) to logits or probabilities (N, H', W', classes). A
        map that is smaller than the image (a "valid" U-Net's) is compared with the
        center of the mask.
    split : Split
        For example ``dataset.test``.
    batch_size : int, default 32
        Images at a time. It changes memory and time, not the result.

    Returns
    -------
    Report
        Per class; it keeps the confusion matrix of each image.

    Raises
    ------
    ValueError
        When the split is empty, or the model does not fit its images and classes.

    Examples
    --------
    >>> from seglab import data, device, models
    >>> device.set_seed(0)
    >>> digits = data.load("digits", count=12, size=16)
    >>> untrained = models.unet((16, 16, 1), digits.num_classes, width=2, depth=1)
    >>> report = evaluate(untrained, digits.test)
    >>> report.confusions.shape
    (2, 11, 11)
    """
    if len(split) == 0:
        raise ValueError("the split has no images to evaluate on.")
    height, width = check_model(model, split)
    confusions = [
        confusion_matrix(
            center_crop(split.masks[part], height, width),
            logits.argmax(axis=-1),
            split.num_classes,
            split.ignore_index,
            per_image=True,
        )
        for part, logits in stream_logits(model, split.images, batch_size)
    ]
    return Report(split.classes, np.concatenate(confusions))


def stream_logits(
    model: keras.Model, images: NDArray[np.float32], batch_size: int
) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Give the logits of a few images at a time: those of all may not fit in memory.

    Parameters
    ----------
    model : keras.Model
        With one input and one output.
    images : ndarray of float32, shape (N, H, W, C)
        At least one.
    batch_size : int
        Largest number of images at a time.

    Yields
    ------
    part : slice
        Which images.
    logits : ndarray, shape (len(part), H', W', classes)
        The model's output for them.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be 1 or more.")
    N, batch = len(images), min(batch_size, len(images))
    for start in range(0, N, batch):
        stop = min(start + batch, N)
        x = images[start:stop]
        if len(x) < batch:
            # Fill the last batch up: one shape, so that XLA compiles once.
            x = np.concatenate([x, images[: batch - len(x)]])
        yield slice(start, stop), model.predict_on_batch(x)[: stop - start]
