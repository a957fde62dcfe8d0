"""What the losses share: which pixels count, and how a mistake makes itself known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

Tensor = Any
"""A tensor of the active backend."""


class SegmentationLoss(keras.losses.Loss):
    """A loss of logits and integer masks: what is the same for every one of them.

    A subclass gives `compute`. Here it is settled that everything is float32 (a sum
    over the pixels of an image overflows in float16), which pixels count, and that a
    label which is no class is not passed over.

    Parameters
    ----------
    ignore_index : int, optional
        Pixels with this label do not count: no term of the loss has them, and their
        gradient is 0.
    name : str, optional
        By default made from the name of the class.

    Raises
    ------
    ValueError
        When called with shapes that do not fit together, with `sample_weight` where
        it has no meaning, or with a NumPy array that holds labels that are no class.
        Of a tensor the labels are not looked at, since in a compiled step nothing can
        be raised: there the loss becomes NaN, and so stops a training.
    """

    _weighs_pixels = False
    """Whether the loss is a mean over pixels, so that each can have a weight."""

    def __init__(
        self, *, ignore_index: int | None = None, name: str | None = None
    ) -> None:
        # Not Keras's default float type, which a user may set to float16.
        super().__init__(name=name, dtype="float32")
        if ignore_index is not None and ignore_index != int(ignore_index):
            raise ValueError(
                f"ignore_index is {ignore_index!r}; it must be an integer label or "
                "None."
            )
        self.ignore_index = None if ignore_index is None else int(ignore_index)

    def __call__(
        self, y_true: Any, y_pred: Any, sample_weight: Any | None = None
    ) -> Tensor:
        """Compute the loss of a batch.

        Parameters
        ----------
        y_true : array or tensor of int, shape (N, H, W)
            The class of each pixel, or `ignore_index`.
        y_pred : array or tensor of float, shape (N, H, W, C)
            Logits: what the network gives before a softmax.
        sample_weight : array or tensor of float, shape (N,) or (N, H, W), optional
            Weights of images or pixels. Only a loss that is a mean over pixels
            (`CrossEntropy`, `Focal`) takes them.

        Returns
        -------
        tensor of float32, shape ()
        """
        _check_shapes(y_true, y_pred)
        if isinstance(y_true, np.ndarray):
            check_labels(y_true, int(y_pred.shape[-1]), self.ignore_index)
        if sample_weight is None:
            return super().__call__(y_true, y_pred)
        if not self._weighs_pixels:
            raise ValueError(
                f"{type(self).__name__} takes no sample_weight: it is no mean over "
                "pixels, so a pixel's share in it cannot be weighted. Leave pixels "
                "out with ignore_index, or use CrossEntropy or Focal."
            )
        _check_weights(sample_weight, y_true)
        # Keras multiplies by the weights what call returns, too late for a weighted
        # mean: they go with the labels instead.
        return super().__call__((y_true, sample_weight), y_pred)

    def call(self, y_true: Any, y_pred: Tensor) -> Tensor:
        """Find the pixels that count; called by Keras, with float32 tensors."""
        labels, weights = y_true if isinstance(y_true, tuple) else (y_true, None)
        C = y_pred.shape[-1]
        counted = ops.ones_like(labels)  # (N, H, W)
        if self.ignore_index is not None:
            counted = ops.cast(labels != self.ignore_index, "float32")
        known = (labels >= 0) & (labels < C) & (ops.floor(labels) == labels)
        alarm = ops.where(ops.all(known | (counted == 0)), 0.0, float("nan"))
        # Ignored pixels get a class too, which nothing looks at.
        labels = ops.cast(ops.where(known, labels, 0), "int32") * ops.cast(
            counted, "int32"
        )
        if weights is not None:
            missing = len(labels.shape) - len(weights.shape)
            weights = ops.reshape(weights, (*ops.shape(weights), *[1] * missing))
            counted = counted * weights
        # One number, but with an axis: Keras then divides it by the replicas of a
        # distributed training, whose gradients are added.
        return ops.reshape(self.compute(labels, y_pred, counted) + alarm, (1,))

    def compute(self, labels: Tensor, logits: Tensor, counted: Tensor) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        labels : tensor of int32, shape (N, H, W)
            All of them classes, those of ignored pixels arbitrary.
        logits : tensor of float32, shape (N, H, W, C)
            Of every pixel.
        counted : tensor of float32, shape (N, H, W)
            1, and 0 for ignored pixels; times their weights, if they have any.

        Returns
        -------
        tensor of float32, shape ()
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Give what rebuilds the loss from a file."""
        return {"name": self.name, "ignore_index": self.ignore_index}

    def __add__(self, other: keras.losses.Loss) -> Any:
        """Add two losses: ``CrossEntropy() + Dice()``."""
        from seglab.losses.combination import Sum

        if not isinstance(other, keras.losses.Loss):
            return NotImplemented
        return Sum([self, other])

    def __radd__(self, other: keras.losses.Loss) -> Any:
        """Add to a loss that is not of this package."""
        from seglab.losses.combination import Sum

        if not isinstance(other, keras.losses.Loss):
            return NotImplemented
        return Sum([other, self])

    def __mul__(self, weight: float) -> Any:
        """Weight a loss, for a sum: ``0.5 * CrossEntropy()``."""
        from seglab.losses.combination import Sum

        if not isinstance(weight, (int, float, np.number)):
            return NotImplemented
        return Sum([self], weights=[float(weight)])

    __rmul__ = __mul__


def one_hot(labels: Tensor, counted: Tensor, num_classes: int) -> Tensor:
    """Spread labels over an axis of classes: (N, H, W) to (N, H, W, C), 0 and 1."""
    classes = ops.arange(num_classes, dtype="int32")
    hot = ops.cast(labels[..., None] == classes, "float32")
    return hot * counted[..., None]


def mean_of_present(losses: Tensor, present: Tensor) -> Tensor:
    """Average over the classes that are there; 0 if none is.

    Parameters
    ----------
    losses, present : tensor, shape (..., C)
        Of each class, and whether it counts, as 0 and 1.

    Returns
    -------
    tensor, shape (...)
    """
    total = ops.sum(losses * present, axis=-1)
    return total / ops.maximum(ops.sum(present, axis=-1), 1.0)


def check_class_weights(class_weights: Sequence[float] | None) -> list[float] | None:
    """Turn class weights into plain floats, or say what is wrong with them."""
    if class_weights is None:
        return None
    weights = np.asarray(class_weights, np.float64)
    # A comparison with NaN is false, so this refuses NaN too.
    if weights.ndim != 1 or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise ValueError(
            f"class_weights is {class_weights!r}; it must hold one number for each "
            "class, 0 or more, and not all of them 0."
        )
    return [float(weight) for weight in weights]


def weigh_classes(
    counted: Tensor, labels: Tensor, class_weights: list[float] | None, C: int
) -> Tensor:
    """Multiply the weight of each pixel, (N, H, W), by that of its class."""
    if class_weights is None:
        return counted
    if len(class_weights) != C:
        raise ValueError(
            f"class_weights has {len(class_weights)} numbers and y_pred scores {C} "
            "classes; give one for each."
        )
    return counted * ops.take(ops.convert_to_tensor(class_weights, "float32"), labels)


def _check_shapes(y_true: Any, y_pred: Any) -> None:
    masks, logits = tuple(np.shape(y_true)), tuple(np.shape(y_pred))
    if len(logits) != 4 or logits[-1] is None or logits[-1] < 2:
        hint = ""
        if logits[-1:] == (1,):
            hint = (
                " A single channel with a sigmoid is not supported: give background "
                "and object a channel each."
            )
        raise ValueError(
            f"y_pred has shape {logits}; it must be logits of shape (N, H, W, C), one "
            f"channel for each of two or more classes.{hint}"
        )
    if len(masks) != 3 or any(
        None not in (a, b) and a != b for a, b in zip(masks, logits, strict=False)
    ):
        hint = ""
        if len(masks) == 4 and masks[-1] == 1:
            hint = " Take the last axis off: masks[..., 0]."
        elif masks == logits:
            hint = " If it is one-hot: masks.argmax(axis=-1)."
        elif len(masks) == 3 and masks[0] == logits[0]:
            hint = " Cut the masks to the center that the network labels."
        raise ValueError(
            f"y_true has shape {masks}; for logits of shape {logits} it must be "
            f"integer masks of shape {logits[:-1]}.{hint}"
        )


def _check_weights(sample_weight: Any, y_true: Any) -> None:
    weights, masks = tuple(np.shape(sample_weight)), tuple(np.shape(y_true))
    if len(weights) not in (1, 3) or any(
        None not in (a, b) and a != b for a, b in zip(weights, masks, strict=False)
    ):
        raise ValueError(
            f"sample_weight has shape {weights}; for masks of shape {masks} it must be "
            f"{masks[:1]}, a weight for each image, or {masks}, one for each pixel."
        )


def check_labels(masks: NDArray[Any], C: int, ignore_index: int | None) -> None:
    """Refuse masks with labels that are neither a class nor ignored, or no pixels."""
    if masks.size == 0:
        raise ValueError(f"y_true has shape {masks.shape}: it holds no pixel.")
    wrong = (masks < 0) | (masks >= C) | (masks != np.floor(masks))
    if ignore_index is not None:
        wrong &= masks != ignore_index
    if wrong.any():
        raise ValueError(
            f"y_true holds the label {masks[wrong][0]}; logits of {C} classes take 0 "
            f"to {C - 1}"
            + (
                ". If it means that a pixel is not annotated, give ignore_index."
                if ignore_index is None
                else f", and {ignore_index} for pixels to ignore."
            )
        )
