"""Weighted sums of losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from seglab.losses.base import SegmentationLoss, Tensor


@keras.saving.register_keras_serializable(package="seglab")
class Sum(SegmentationLoss):
    """Several losses, each times its weight, added up.

    Usually written as one: ``0.5 * CrossEntropy() + Dice()``.

    Parameters
    ----------
    losses : sequence of keras.losses.Loss
        Of this package, or your own: each is called with masks and logits. A sum among
        them is taken apart.
    weights : sequence of float, optional
        One for each, by default 1. Read the sizes of the losses before you choose:
        half of a loss that is ten times as large is not half of the sum.
    name : str, default "sum"
        Shown by Keras.

    Attributes
    ----------
    losses, weights : list
        As given, with sums taken apart.

    Raises
    ------
    ValueError
        When the numbers of losses and weights differ, a weight is negative, or two
        losses leave out different labels, which cannot be meant.

    Examples
    --------
    >>> from seglab.losses import CrossEntropy, Dice
    >>> loss = 0.5 * CrossEntropy(ignore_index=255) + Dice(ignore_index=255)
    >>> loss
    0.5 * cross_entropy + 1 * dice
    >>> loss.ignore_index
    255
    """

    def __init__(
        self,
        losses: Sequence[keras.losses.Loss],
        *,
        weights: Sequence[float] | None = None,
        name: str = "sum",
    ) -> None:
        losses = list(losses)
        weights = [1.0] * len(losses) if weights is None else list(weights)
        if len(weights) != len(losses) or not losses:
            raise ValueError(
                f"there are {len(losses)} losses and {len(weights)} weights; give at "
                "least one loss, and one weight for each."
            )
        for loss, weight in zip(losses, weights, strict=True):
            if not isinstance(loss, keras.losses.Loss):
                raise ValueError(
                    f"losses holds {loss!r}; each must be a keras.losses.Loss object, "
                    "such as Dice()."
                )
            if not 0 <= weight < np.inf:
                raise ValueError(f"a weight is {weight!r}; it must be 0 or more.")
        self.losses: list[keras.losses.Loss] = []
        self.weights: list[float] = []
        for loss, weight in zip(losses, weights, strict=True):
            inner = loss.weights if isinstance(loss, Sum) else [1.0]
            self.losses += loss.losses if isinstance(loss, Sum) else [loss]
            self.weights += [float(weight) * w for w in inner]
        ours = [loss for loss in self.losses if isinstance(loss, SegmentationLoss)]
        labels = {loss.ignore_index for loss in ours}
        if len(labels) > 1:
            told = ", ".join(f"{loss.name}: {loss.ignore_index}" for loss in ours)
            raise ValueError(
                f"the losses have different ignore_index ({told}); give all of them "
                "the data's."
            )
        super().__init__(ignore_index=labels.pop() if labels else None, name=name)

    def __call__(
        self, y_true: Any, y_pred: Any, sample_weight: Any | None = None
    ) -> Tensor:
        """Compute each loss of a batch, and add; see `SegmentationLoss`."""
        return sum(
            weight * loss(y_true, y_pred, sample_weight)
            for loss, weight in zip(self.losses, self.weights, strict=True)
        )

    def get_config(self) -> dict[str, Any]:
        """Give what rebuilds the loss from a file."""
        losses = [keras.saving.serialize_keras_object(loss) for loss in self.losses]
        return {"losses": losses, "weights": self.weights, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sum:
        """Rebuild the loss from `get_config`."""
        losses = [keras.saving.deserialize_keras_object(c) for c in config["losses"]]
        return cls(losses, weights=config["weights"], name=config["name"])

    def __repr__(self) -> str:
        return " + ".join(
            f"{weight:g} * {loss.name}"
            for weight, loss in zip(self.weights, self.losses, strict=True)
        )
