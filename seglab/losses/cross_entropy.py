"""Cross-entropy, and the focal loss that comes from it: means over pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from seglab.losses.base import (
    SegmentationLoss,
    Tensor,
    check_class_weights,
    one_hot,
    weigh_classes,
)


@keras.saving.register_keras_serializable(package="seglab")
class CrossEntropy(SegmentationLoss):
    r"""Minus the log of the probability that the true class got: mean over pixels.

    The loss to begin with. It asks for probabilities that are right at each pixel, so
    every pixel counts alike, and a class with few of them counts for little;
    `class_weights` and the losses of overlap (`Dice`, `Lovasz`) are answers to that.

    Parameters
    ----------
    ignore_index : int, optional
        Pixels with this label do not count.
    class_weights : sequence of float, optional
        One for each class: how much its pixels count. See `median_frequency_weights`
        and `effective_number_weights`.
    name : str, default "cross_entropy"
        Shown by Keras.

    Notes
    -----
    With scores :math:`s`, softmax :math:`p`, truth :math:`y` and the weight
    :math:`w_{y_i}` of the class that pixel :math:`i` truly is,

    .. math:: L = \frac{\sum_i -w_{y_i} \log p_{i y_i}}{\sum_i w_{y_i}},

    both sums over all pixels of the batch that count. Dividing by the weights, not by
    the number of pixels, keeps the loss at the size of an unweighted one, so that a
    learning rate still fits: as PyTorch does, and Keras's ``sample_weight`` does not
    unless asked. Twice the weights give the same loss. An image with more annotated
    pixels counts for more.

    If no pixel counts, or all that do have weight 0, the loss is 0 and so is its
    gradient. (PyTorch gives NaN.)

    Examples
    --------
    >>> import numpy as np
    >>> loss = CrossEntropy(ignore_index=255)
    >>> logits = np.zeros((1, 1, 2, 2), "float32")  # undecided between two classes
    >>> round(float(loss(np.array([[[1, 255]]]), logits)), 4)  # log 2
    0.6931
    """

    _weighs_pixels = True

    def __init__(
        self,
        *,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
        name: str = "cross_entropy",
    ) -> None:
        super().__init__(ignore_index=ignore_index, name=name)
        self.class_weights = check_class_weights(class_weights)

    def compute(self, labels: Tensor, logits: Tensor, counted: Tensor) -> Tensor:
        """Average over the pixels; see `SegmentationLoss.compute`."""
        weights = weigh_classes(counted, labels, self.class_weights, logits.shape[-1])
        losses = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        return ops.divide_no_nan(ops.sum(weights * losses), ops.sum(weights))

    def get_config(self) -> dict[str, Any]:
        """Give what rebuilds the loss from a file."""
        return {**super().get_config(), "class_weights": self.class_weights}


@keras.saving.register_keras_serializable(package="seglab")
class Focal(SegmentationLoss):
    r"""Cross-entropy in which pixels that are right already hardly count.

    Most pixels of a segmentation are easy background. Each costs little, but together
    they drown the few that are hard. Here the cost of a pixel is multiplied by the
    probability that it gives to *wrong* classes, to the power of `gamma`.

    Parameters
    ----------
    gamma : float, default 2.0
        How fast easy pixels fade, 0 or more. At 0 it is `CrossEntropy`; 2 is what the
        paper found best.
    ignore_index : int, optional
        Pixels with this label do not count.
    class_weights : sequence of float, optional
        One for each class, the paper's :math:`\alpha_t`. A single number for all
        classes, as some libraries have it, would balance nothing.
    name : str, default "focal"
        Shown by Keras.

    Notes
    -----
    With the softmax :math:`p` of the scores and the truth :math:`y`,

    .. math::
       L = \frac{\sum_i -\alpha_{y_i} (1 - p_{i y_i})^\gamma \log p_{i y_i}}
                {\sum_i \alpha_{y_i}},

    over all pixels of the batch that count: the mean of `CrossEntropy`, so that
    ``Focal(gamma=0)`` is that loss with the same weights. The paper has a sigmoid for
    each class of object in a box; a pixel has one class, so this is the softmax form.
    Values are smaller than those of cross-entropy, which is no sign of a better fit.

    If no pixel counts, the loss is 0 and so is its gradient.

    Source
    ------
    Lin, Goyal, Girshick, He and Dollár, "Focal Loss for Dense Object Detection", ICCV
    2017, equation 5.

    Examples
    --------
    >>> import numpy as np
    >>> logits = np.zeros((1, 1, 1, 2), "float32")  # p = 1/2
    >>> truth = np.array([[[1]]])
    >>> round(float(Focal(gamma=2)(truth, logits)), 4)  # log 2, times 1/4
    0.1733
    """

    _weighs_pixels = True

    def __init__(
        self,
        gamma: float = 2.0,
        *,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | None = None,
        name: str = "focal",
    ) -> None:
        super().__init__(ignore_index=ignore_index, name=name)
        if not 0 <= gamma < float("inf"):
            raise ValueError(f"gamma is {gamma!r}; it must be a number, 0 or more.")
        self.gamma = float(gamma)
        self.class_weights = check_class_weights(class_weights)

    def compute(self, labels: Tensor, logits: Tensor, counted: Tensor) -> Tensor:
        """Average over the pixels; see `SegmentationLoss.compute`."""
        C = logits.shape[-1]
        weights = weigh_classes(counted, labels, self.class_weights, C)
        truth = one_hot(labels, ops.ones_like(counted), C)  # (N, H, W, C)
        total = ops.logsumexp(logits, axis=-1)  # (N, H, W)
        log_right = ops.sum(truth * logits, axis=-1) - total
        # 1 - p as the sum over the other classes, in logs: 1 - p itself is rounded to
        # 0 where p is near 1, and the slope of 0**gamma is infinite for gamma < 1.
        others = ops.where(truth > 0, float("-inf"), logits)
        log_wrong = ops.logsumexp(others, axis=-1) - total
        losses = -ops.exp(self.gamma * log_wrong) * log_right
        return ops.divide_no_nan(ops.sum(weights * losses), ops.sum(weights))

    def get_config(self) -> dict[str, Any]:
        """Give what rebuilds the loss from a file."""
        own = {"gamma": self.gamma, "class_weights": self.class_weights}
        return {**super().get_config(), **own}
