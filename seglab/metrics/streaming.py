"""Mean IoU while a Keras model trains: a confusion matrix that grows batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seglab import device

device.prepare()  # before Keras: it says what to install if the backend is missing

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import ops  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

Tensor = Any
"""A tensor of the active backend."""

_BASE = 2**22
"""Counts are kept as two digits to this base. float32, which every backend has on
every device, holds integers to 2**24: a digit, or the sum of two, without rounding."""


@keras.saving.register_keras_serializable(package="seglab")
class MeanIoU(keras.metrics.Metric):
    """Mean IoU of all batches since the last reset, for ``model.compile(metrics=...)``.

    It gives the same number as `seglab.metrics.mean_iou` of the confusion matrix of
    all images: NaN classes are left out, an invented class counts 0. What the model's
    output is, it sees from shape and type, and refuses what could be two things:

    ============================  ============  =====================================
    `y_pred`                      type          is taken as
    ============================  ============  =====================================
    (N, H, W, C)                  any           logits or probabilities: the label is
                                                the class with the highest
    (N, H, W), (N, H, W, 1)       integer       labels
    (N, H, W), (N, H, W, 1)       float         logits or probabilities of class 1:
                                                `threshold` must say which
    ============================  ============  =====================================

    Parameters
    ----------
    num_classes : int
        Number of classes, C, background included.
    ignore_index : int, optional
        Pixels with this *true* label are left out.
    threshold : float, optional
        Only for models with one output channel: class 1 is where it is above this. 0.5
        for probabilities, 0 for logits.
    classes : sequence of str, optional
        Names of the classes: the IoU of each is given too, as ``iou_NAME``.
    name : str, default "mean_iou"
        Under which the history has it.

    Raises
    ------
    ValueError
        When an argument is out of range; when the metric is updated with shapes or
        types that do not fit, or with sample weights, which it does not take.

    Notes
    -----
    A label that is no class and not the ignore label makes the result NaN while a
    compiled step runs, where no error can be raised, and an error at the end of the
    epoch. `keras.metrics.MeanIoU` drops such pixels, and turns probabilities into
    labels by cutting off the digits: 0.9 becomes class 0.

    Counts are exact up to 2**46 pixels in a cell of the matrix.

    Examples
    --------
    >>> import numpy as np
    >>> metric = MeanIoU(2, ignore_index=255)
    >>> logits = np.array([[[[2.0, -1.0], [0.1, 0.3], [0.0, 5.0]]]], "float32")
    >>> metric.update_state(np.array([[[0, 0, 255]]]), logits)
    >>> round(float(metric.result()), 3)
    0.25
    >>> metric.confusion_matrix().tolist()
    [[1, 1], [0, 0]]
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        threshold: float | None = None,
        classes: Sequence[str] | None = None,
        name: str = "mean_iou",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self._direction = "up"  # what Keras's callbacks read in mode="auto"
        if num_classes != int(num_classes) or num_classes < 1:
            raise ValueError(
                f"num_classes is {num_classes!r}; it must be an integer, 1 or more."
            )
        if threshold is not None and num_classes != 2:
            raise ValueError(
                f"threshold is {threshold!r}, and num_classes {num_classes}; one "
                "output channel tells 2 classes apart."
            )
        if classes is not None and len(classes) != num_classes:
            raise ValueError(
                f"classes names {len(classes)} classes; num_classes is {num_classes}."
            )
        self.num_classes = int(num_classes)
        self.ignore_index = ignore_index
        self.threshold = threshold
        self.classes = None if classes is None else tuple(classes)
        C = self.num_classes
        self._low, self._high, self._bad = (
            self.add_variable(shape, "zeros", dtype="float32", name=key)
            for key, shape in {"low": (C, C), "high": (C, C), "bad": ()}.items()
        )

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any | None = None
    ) -> None:
        """Count the pixels of a batch.

        Parameters
        ----------
        y_true : array or tensor, shape (N, H, W) or (N, H, W, 1)
            True labels, or `ignore_index`.
        y_pred : array or tensor, shape (N, H, W, C), (N, H, W) or (N, H, W, 1)
            What the model gives.
        sample_weight : None
            Not taken: a pixel counts, or is ignored.
        """
        if sample_weight is not None:
            raise ValueError(
                "MeanIoU takes no sample_weight: pass it in metrics=, not in "
                "weighted_metrics=, and mark pixels to leave out by ignore_index."
            )
        C = self.num_classes
        truth, labels = self._labels(
            ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        )
        i, i_is_class = _numbers(truth, C)
        j, j_is_class = _numbers(labels, C)
        good = ops.logical_and(i_is_class, j_is_class)
        pair = ops.where(good, C * i + j, C * C + 1)
        if self.ignore_index is not None:
            # As numbers: in the dtype of a mask the label could be one of the classes,
            # since 255 of booleans is True, and 256 of uint8 is 0.
            ignored = ops.equal(i, self.ignore_index)
            if "float" in keras.backend.standardize_dtype(truth.dtype):
                whole = ops.equal(truth, ops.floor(truth))
                ignored = ops.logical_and(ignored, whole)
            pair = ops.where(ignored, C * C, pair)
        counts = _count(ops.reshape(pair, (-1,)), C * C + 2)  # (C * C + 2,) int32
        high = counts // _BASE
        low = ops.cast(counts - _BASE * high, "float32")
        high = ops.cast(high, "float32")
        low = self._low + ops.reshape(low[: C * C], (C, C))
        carry = ops.floor(low / _BASE)
        self._low.assign(low - _BASE * carry)
        self._high.assign(self._high + ops.reshape(high[: C * C], (C, C)) + carry)
        bad = ops.cast(counts[C * C + 1], "float32")
        self._bad.assign(self._bad + bad)

    def result(self) -> Any:
        """Give the mean IoU so far, or, with `classes`, a dict with that of each too.

        Returns
        -------
        tensor of float32, shape (), or dict of str to such
            NaN where no pixel was counted.
        """
        self._refuse_bad_labels()
        matrix = _BASE * ops.convert_to_tensor(self._high) + self._low  # (C, C)
        hit = ops.diagonal(matrix)  # (C,)
        union = ops.sum(matrix, axis=0) + ops.sum(matrix, axis=1) - hit
        nan = float("nan")
        iou = ops.where(union > 0, hit / ops.maximum(union, 1.0), nan)
        iou = ops.where(self._bad > 0, nan, iou)
        there = ops.cast(union > 0, "float32")
        mean = ops.sum(ops.where(union > 0, iou, 0.0)) / ops.sum(there)
        if self.classes is None:
            return mean
        each = {f"iou_{label}": iou[k] for k, label in enumerate(self.classes)}
        return {self.name: mean, **each}

    def confusion_matrix(self) -> NDArray[np.int64]:
        """Give the counts so far, from which every other metric can be taken.

        Returns
        -------
        ndarray of int64, shape (C, C)
            Rows are the truth.
        """
        low, high = (
            np.asarray(ops.convert_to_numpy(digit)).astype(np.int64)
            for digit in (self._low, self._high)
        )
        return np.asarray(_BASE * high + low)

    def get_config(self) -> dict[str, Any]:
        """Give what rebuilds the metric from a file."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "ignore_index": self.ignore_index,
            "threshold": self.threshold,
            "classes": self.classes,
        }

    def _labels(self, truth: Tensor, prediction: Tensor) -> tuple[Tensor, Tensor]:
        """Bring truth and prediction to labels of one shape, or say what is wrong."""
        C, shapes = self.num_classes, (tuple(truth.shape), tuple(prediction.shape))
        given = f"y_true has shape {shapes[0]} and y_pred {shapes[1]}"
        if len(truth.shape) >= len(prediction.shape) and truth.shape[-1] == 1:
            truth = ops.squeeze(truth, axis=-1)  # (N, H, W)
        if len(prediction.shape) == len(truth.shape) + 1:
            channels = prediction.shape[-1]
            if self.threshold is None and channels == C and C > 1:
                prediction = ops.argmax(prediction, axis=-1)
            elif channels == 1:
                prediction = ops.squeeze(prediction, axis=-1)
            else:
                raise ValueError(
                    f"{given}: {channels} channels, where num_classes={C} and "
                    f"threshold={self.threshold} take "
                    f"{C if self.threshold is None else 1}."
                )
        if len(prediction.shape) != len(truth.shape) or any(
            a is not None and b is not None and a != b
            for a, b in zip(truth.shape, prediction.shape, strict=False)
        ):
            raise ValueError(
                f"{given}; y_true must be labels, (N, H, W), and y_pred the scores of "
                f"the same pixels, (N, H, W, {C}), or labels, (N, H, W)."
            )
        dtype = keras.backend.standardize_dtype(prediction.dtype)
        whole = "float" not in dtype
        if self.threshold is not None:
            if whole:
                raise ValueError(
                    f"y_pred has dtype {dtype}: labels need no threshold, which is "
                    f"{self.threshold}."
                )
            prediction = ops.cast(prediction > self.threshold, "int32")
        elif not whole:
            hint = (
                " If both have one channel for each class, y_true is one-hot: pass "
                "labels, ops.argmax(y_true, axis=-1)."
                if shapes[0] == shapes[1] and shapes[1][-1] == C
                else ""
            )
            raise ValueError(
                f"{given}, dtype {dtype}: one float for each pixel may be a label, a "
                "probability or a logit. Cast labels to int32; for probabilities of "
                f"class 1 pass threshold=0.5, for logits threshold=0.{hint}"
            )
        return truth, prediction

    def _refuse_bad_labels(self) -> None:
        try:
            bad = float(ops.convert_to_numpy(self._bad))
        except (NotImplementedError, TypeError):
            return  # inside a compiled step, which has no values yet: NaN will say it
        if bad > 0:
            raise ValueError(
                f"{bad:.0f} pixels had a label that is no class. With num_classes="
                f"{self.num_classes} the classes are 0 to {self.num_classes - 1}; "
                "other true labels must be the ignore_index, which is "
                f"{self.ignore_index}. seglab.metrics.confusion_matrix says which "
                "labels there are."
            )


def _numbers(labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Labels as int32, and where they are class numbers: no fraction, in range."""
    numbers = ops.cast(labels, "int32")
    good = ops.logical_and(numbers >= 0, numbers < num_classes)
    if "float" in keras.backend.standardize_dtype(labels.dtype):
        good = ops.logical_and(good, ops.equal(labels, ops.floor(labels)))
    return numbers, good


def _count(numbers: Tensor, length: int) -> Tensor:
    """How often each of 0, 1, ..., length - 1 occurs, (length,) int32."""
    if keras.backend.backend() == "torch":  # where a segment sum takes 80 times as long
        return ops.cast(ops.bincount(numbers, minlength=length), "int32")
    # Not bincount: compiled by XLA, it wants to know its length beforehand.
    return ops.segment_sum(ops.ones_like(numbers), numbers, num_segments=length)
