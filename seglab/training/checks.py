"""What can be wrong with a model or a data set, said before an hour of training."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from seglab.data import Dataset, Split
from seglab.training.crop import center_crop

_NOT_LOGITS = ("softmax", "sigmoid", "relu")
"""Activations that a last layer whose output are logits does not have."""


def check_counts(least: int = 1, **counts: Any) -> None:
    """Check that arguments, by their names, are integers and not too small.

    Raises
    ------
    ValueError
        When one is not.
    """
    for name, count in counts.items():
        if not isinstance(count, int | np.integer) or count < least:
            raise ValueError(
                f"{name} is {count!r}; it must be an integer, {least} or more."
            )


def check_model(model: keras.Model, split: Split) -> tuple[int, int]:
    """Check that a model takes the images of a split and scores its classes.

    Returns
    -------
    height, width : int
        Of the model's output for these images.

    Raises
    ------
    ValueError
        When it does not.
    """
    image = split.image_shape
    wanted = model.input_shape
    if not _is_shape(wanted) or not _is_shape(model.output_shape):
        raise ValueError(
            "the model has several inputs or outputs; a segmentation network here "
            "has one input, images, and one output, logits."
        )
    if len(wanted) != 4 or any(
        want not in (None, got) for want, got in zip(wanted[1:], image, strict=True)
    ):
        raise ValueError(
            f"the model takes images of shape {_spell(wanted[1:])}, and these are "
            f"{_spell(image)} (height, width, channels). Build it for them, "
            "unet(dataset.image_shape, ...), or load the data with another size=."
        )
    output = model.compute_output_shape((1, *image))  # (1, H', W', channels)
    if len(output) != 4:
        raise ValueError(
            f"the model's output has shape {_spell(output[1:])}; a segmentation "
            "network gives one score for each class at each pixel: (height, width, "
            "classes)."
        )
    if output[-1] != split.num_classes:
        raise ValueError(
            f"the model scores {output[-1]} classes, and the data have "
            f"{split.num_classes} ({', '.join(split.classes)}). Build it with "
            f"num_classes={split.num_classes}"
            + (
                "; one channel with a sigmoid is not supported."
                if output[-1] == 1
                else "."
            )
        )
    height, width = int(output[1]), int(output[2])
    if height > image[0] or width > image[1]:
        raise ValueError(
            f"the model's output, {height} x {width}, is larger than the images, "
            f"{image[0]} x {image[1]}: it does not label their pixels."
        )
    return height, width


def check_logits(model: keras.Model) -> None:
    """Warn when a model ends in an activation, and so gives no logits.

    The usual loss takes the softmax itself. Of probabilities it would take it again:
    training still runs, slowly and to a worse end, and nobody is told.
    """
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    name = getattr(activation, "__name__", "")
    if isinstance(last, (keras.layers.Softmax, keras.layers.ReLU)):
        name = type(last).__name__.lower()
    if name in _NOT_LOGITS:
        warnings.warn(
            f"the model's last layer, {last.name!r}, applies {name}; fit's loss wants "
            "logits and applies softmax itself. Leave the activation out, or pass a "
            "loss that takes what the model gives.",
            stacklevel=4,  # the caller of fit
        )


def settle_loss(loss: Any, model: keras.Model, dataset: Dataset) -> Any:
    """Make the usual loss, or check that another leaves out what it should.

    Parameters
    ----------
    loss : keras.losses.Loss, callable or None
        One with an attribute `ignore_index`, or Keras's `ignore_class`, is checked.
        None: the mean cross-entropy of logits over pixels that are not ignored.
    model : keras.Model
        To be trained with it.
    dataset : Dataset
        To train on.

    Returns
    -------
    keras.losses.Loss or callable

    Raises
    ------
    ValueError
        When the loss leaves out another label than the data set says.
    """
    if loss is None:
        check_logits(model)
        return keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=dataset.ignore_index
        )
    for name in ("ignore_index", "ignore_class"):
        label = getattr(loss, name, dataset.ignore_index)
        if label != dataset.ignore_index:
            raise ValueError(
                f"the loss has {name}={label}, and in {dataset.name} the label of "
                f"ignored pixels is {dataset.ignore_index}. The loss would learn from "
                "other pixels than the metrics count: make it with "
                f"{name}=dataset.ignore_index."
            )
    return loss


def check_dataset(dataset: Dataset, height: int, width: int) -> None:
    """Check that there is something to learn from, and to validate on.

    Parameters
    ----------
    dataset : Dataset
        To train on.
    height, width : int
        Of the model's output: what it is trained on may be the center alone.

    Raises
    ------
    ValueError
        When the training or validation split is empty, or all its pixels ignored.
    """
    for name, split in {"train": dataset.train, "val": dataset.val}.items():
        if len(split) == 0:
            raise ValueError(
                f"{dataset.name} has no images in its {name} split. fit needs images "
                "to learn from (train) and others to choose the best epoch on (val)."
            )
        # One at a time: the first that counts ends it, and not all may fit in memory.
        if split.ignore_index is not None and all(
            np.all(
                center_crop(split.masks[i : i + 1], height, width) == split.ignore_index
            )
            for i in range(len(split))
        ):
            raise ValueError(
                f"all pixels of {dataset.name}'s {name} split have the ignore label "
                f"{split.ignore_index}: there is nothing to "
                + ("learn." if name == "train" else "validate on.")
            )


def check_augment(augment: Any, split: Split) -> None:
    """Try an augmentation on one image: it must keep shapes and invent no label.

    Raises
    ------
    ValueError
        When it does not.
    """
    images, masks = split.images[:1], split.masks[:1]
    result = augment(images, masks, np.random.default_rng(0))
    if not isinstance(result, tuple) or len(result) != 2:
        raise ValueError(
            "augment must return a tuple (images, masks); it returned a "
            f"{type(result).__name__}."
        )
    for name, old, new in zip(
        ("images", "masks"), (images, masks), result, strict=True
    ):
        if np.shape(new) != old.shape:
            raise ValueError(
                f"augment returned {name} of shape {np.shape(new)}; it must keep the "
                f"shape, here {old.shape}."
            )
    known = [*range(split.num_classes), split.ignore_index]
    invented = sorted(set(np.unique(result[1]).tolist()) - set(known))
    if invented:
        raise ValueError(
            f"augment invented labels that are no class: {invented[:5]}. Masks are "
            "moved by nearest neighbor, and their new border takes the ignore label."
        )


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple) and all(
        size is None or isinstance(size, int) for size in shape
    )


def _spell(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if size is None else str(size) for size in shape)
