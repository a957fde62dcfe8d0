"""The training that the tuning questions vary: a small U-Net, and each of its knobs.

A question turns one knob or two; all others stay as they are here, where they were
fixed before the first run. Two tasks stand for an easy and a hard one. *cells*: which
pixels are cell? *digits*: which are a 0, a 1 or a 2, and which are none? The images are
small, and so is the network, so that thousands of trainings take an afternoon on two
processor cores. Whether what is found here holds for larger images of other kinds is
another question.

A network is compiled once in a process, and then only its weights, its optimizer and
its rate begin anew (`seglab.training.restart`): the compiling would take as long as the
training. After each epoch the validation images are looked at, and the weights that did
best on them are scored on the test images, as `seglab.training.fit` does. The untrained
network counts as epoch 0, so that also a training that fails at once has a score.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from seglab.evidence.experiment import Value

SETS: dict[str, dict[str, Any]] = {
    "cells": {"count": 800, "size": 32},
    "digits": {
        **{"count": 2800, "size": 24},
        **{"digits_per_image": 1, "digit_size": 16, "difficulty": 0},
    },
}
DIGITS = 3  # of the ten digits, those below
TRAIN, VAL, TEST = 160, 60, 60
EPOCHS = 12
BATCH = 16

OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "rmsprop": ("RMSprop", {}),
    "adam": ("Adam", {}),
}
LOSSES: dict[str, tuple[str, dict[str, Any]]] = {
    "cross-entropy": ("CrossEntropy", {}),
    "weighted": ("CrossEntropy", {}),  # by the inverse of the classes' frequency
    "focal": ("Focal", {}),
    "dice": ("Dice", {}),
    "ce+dice": ("CrossEntropy", {}),
    "tversky": ("Tversky", {"fp_weight": 0.3, "fn_weight": 0.7}),
    "lovasz": ("Lovasz", {}),
}
SQUARES = ("mse", "relu", "linear")
"""Squared errors: of the softmax (Brier's score), of a ReLU, of the plain output."""
INITIALIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "zeros": ("Zeros", {}),
    "small": ("RandomNormal", {"stddev": 0.01}),
    "large": ("RandomNormal", {"stddev": 0.5}),
    "glorot": ("GlorotUniform", {}),
    "he": ("HeNormal", {}),
}

METRICS = {
    "mean_iou": "mean over the classes of the IoU on the test images, best epoch",
    "last_iou": "the same, last epoch",
    "train_iou": "the same on the training images, last epoch",
    "rarest_iou": "test IoU of the class with the fewest training pixels, best epoch",
    "val_iou": "mean IoU on the validation images, best epoch",
    "speed": "mean over the epochs of the mean IoU on the validation images",
    "wobble": "mean loss of validation mean IoU from one epoch to the next",
    "train_loss": "mean loss of the last epoch's steps",
    "diverged": "1 if the loss became infinite or no number, else 0",
    "curve": "validation mean IoU before the training and after each epoch",
}
TOLERANCE = {"mean_iou": 0.15, "speed": 0.1}


@dataclass
class Training:
    """A network that was trained, and what was seen on the way.

    Parameters
    ----------
    model : keras.Model
        With the weights of the last epoch.
    dataset : Dataset
    best : list of ndarray
        The weights of the epoch with the highest validation mean IoU.
    curve : list of float
        That IoU before the training and after each epoch.
    losses : list of float
        Mean loss of each epoch.
    """

    model: Any
    dataset: Any
    best: list[Any]
    curve: list[float]
    losses: list[float] = field(default_factory=list)


@functools.lru_cache(maxsize=8)
def load(data: str, count: int) -> Any:
    """Draw a data set, with so many training images."""
    from seglab import data as data_sets

    whole = data_sets.load(data, seed=0, **SETS[data])
    if data == "digits":
        whole = replace(whole, **{k: few(s) for k, s in whole.splits().items()})
    return replace(
        whole,
        train=whole.train[:count],
        val=whole.val[:VAL],
        test=whole.test[:TEST],
    )


def few(split: Any) -> Any:
    """Keep the images whose only digits are the first ones, and these classes."""
    highest = split.masks.max(axis=(1, 2))
    return replace(split[highest <= DIGITS], classes=split.classes[: DIGITS + 1])


def unet(
    shape: tuple[int, ...],
    classes: int,
    *,
    width: int = 8,
    depth: int = 2,
    kernel: int = 3,
    activation: str = "relu",
    initializer: str = "he",
    norm: bool = True,
    dropout: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
) -> Any:
    """Build a U-Net as `seglab.models.unet` does, with more knobs."""
    import keras
    from keras import layers

    kind, options = INITIALIZERS[initializer]

    def conv(make: Any, channels: int, size: int, **more: Any) -> Any:
        return make(
            channels,
            size,
            padding="same",
            # a new one each: an initializer draws the same for equal shapes
            kernel_initializer=getattr(keras.initializers, kind)(**options),
            kernel_regularizer=keras.regularizers.L1L2(l1, l2) if l1 or l2 else None,
            **more,
        )

    def block(x: Any, channels: int) -> Any:
        for _ in range(2):
            x = conv(layers.Conv2D, channels, kernel)(x)
            if norm:
                x = layers.BatchNormalization(momentum=0.9)(x)
            x = layers.Activation(activation)(x)
        return x

    x = image = keras.Input(shape)
    skips = []
    for level in range(depth):
        x = block(x, width * 2**level)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = block(x, width * 2**depth)
    if dropout:
        x = layers.Dropout(dropout)(x)
    for level in reversed(range(depth)):
        x = conv(layers.Conv2DTranspose, width * 2**level, 2, strides=2)(x)
        x = block(layers.Concatenate()([skips[level], x]), width * 2**level)
    return keras.Model(image, conv(layers.Conv2D, classes, 1)(x))


@functools.lru_cache(maxsize=64)
def compiled(
    data: str, count: int, optimizer: str, loss: str, knobs: tuple[tuple[str, Any], ...]
) -> Any:
    """Build a network, and compile it once for all trainings of this kind."""
    import keras

    dataset = load(data, count)
    network = unet(dataset.image_shape, dataset.num_classes, **dict(knobs))
    kind, options = OPTIMIZERS[optimizer]
    network.compile(
        optimizer=getattr(keras.optimizers, kind)(1e-3, **options),
        loss=make_loss(loss, dataset),
        jit_compile=False,
    )
    return network


def make_loss(name: str, dataset: Any) -> Callable[..., Any]:
    """Make a loss of masks (N, H, W) and the network's outputs z (N, H, W, C)."""
    from seglab import losses

    if name in SQUARES or name == "sigmoid":
        return functools.partial(of_each_class, name, dataset.num_classes)
    kind, options = LOSSES[name]
    if name == "weighted":
        weights = losses.median_frequency_weights(dataset.train)
        options = {"class_weights": weights.tolist()}
    made: Any = getattr(losses, kind)(**options)
    return made + losses.Dice() if name == "ce+dice" else made  # type: ignore[no-any-return]


def of_each_class(name: str, classes: int, masks: Any, z: Any) -> Any:
    """Sum over the classes a loss of each one's output, and average over pixels.

    ``sigmoid``: whether a pixel is of the class, by cross-entropy. The others: the
    squared error of an answer that should be 1 for the class of the pixel, else 0. The
    answer is z itself, its positive part, or the softmax.
    """
    from keras import ops

    truth = ops.one_hot(masks, classes)  # (N, H, W, C)
    if name == "sigmoid":
        each = ops.relu(z) - z * truth + ops.softplus(-ops.abs(z))
    else:
        answers = {"mse": ops.softmax, "relu": ops.relu}
        each = (answers[name](z) if name in answers else z) - truth
        each = each**2
    return ops.mean(ops.sum(each, axis=-1))


def train(
    data: str,
    rate: float,
    seed: int,
    *,
    optimizer: str = "adam",
    loss: str = "cross-entropy",
    count: int = TRAIN,
    epochs: int = EPOCHS,
    batch: int = BATCH,
    augment: bool = False,
    **knobs: Any,
) -> Training:
    """Train a network from new first weights, and look at it after each epoch."""
    from seglab import data as data_sets
    from seglab import device, training

    dataset = load(data, count)
    model = compiled(data, count, optimizer, loss, tuple(sorted(knobs.items())))
    model.optimizer.learning_rate = rate
    device.set_seed(seed)
    start = unet(dataset.image_shape, dataset.num_classes, **knobs)
    training.restart(model, start)
    vary = data_sets.Augment() if augment else None
    rng = np.random.default_rng(seed)
    images, masks = dataset.train.images, dataset.train.masks
    batch = min(batch, len(images))
    steps = len(images) // batch  # what is left over waits for the next epoch
    found = Training(model, dataset, model.get_weights(), [])
    found.curve.append(mean_iou(model, dataset.val))
    for _ in range(epochs):
        order = rng.permutation(len(images))[: steps * batch]
        spent = []
        for chosen in order.reshape(steps, batch):
            x, y = images[chosen], masks[chosen]
            if vary is not None:
                x, y = vary(x, y, rng)
            spent.append(float(model.train_on_batch(x, y)))
            model.reset_metrics()  # else Keras gives the mean of all steps so far
        found.losses.append(float(np.mean(spent)))
        found.curve.append(mean_iou(model, dataset.val))
        if found.curve[-1] > max(found.curve[:-1]):
            found.best = model.get_weights()
        if not math.isfinite(found.losses[-1]):
            break  # it stays so
    found.curve += found.curve[-1:] * (epochs + 1 - len(found.curve))
    return found


def confusion(model: Any, split: Any) -> Any:
    """Count the pixels of each class and prediction."""
    from seglab import metrics

    labels = []
    for start in range(0, len(split), VAL):
        # Parts of one size, filled up with the last image: others are compiled anew.
        part = np.minimum(np.arange(start, start + VAL), len(split) - 1)
        logits = model.predict_on_batch(split.images[part])  # (VAL, H, W, C)
        labels.append(logits.argmax(axis=-1))
    found = np.concatenate(labels)[: len(split)]
    return metrics.confusion_matrix(split.masks, found, split.num_classes)


def mean_iou(model: Any, split: Any) -> float:
    """Average the IoU of the classes over a split."""
    from seglab import metrics

    return float(metrics.mean_iou(confusion(model, split)))


def scores(found: Training) -> dict[str, Value]:
    """Score a training by the metrics of `METRICS`."""
    from seglab import metrics

    model, dataset = found.model, found.dataset
    last = mean_iou(model, dataset.test)
    trained = mean_iou(model, dataset.train)
    model.set_weights(found.best)
    iou = metrics.iou(confusion(model, dataset.test))
    falls = np.maximum(0, -np.diff(found.curve))
    return {
        "mean_iou": float(np.nanmean(iou)),
        "last_iou": last,
        "train_iou": trained,
        "rarest_iou": float(iou[int(np.argmin(dataset.train.class_shares()))]),
        "val_iou": max(found.curve),
        "speed": float(np.mean(found.curve[1:])),
        "wobble": float(falls.mean()),
        "train_loss": found.losses[-1],
        "diverged": float(not math.isfinite(found.losses[-1])),
        "curve": found.curve,
    }
