"""What happened during training, epoch by epoch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seglab.metrics.overlap import nan_mean


@dataclass(frozen=True, eq=False, repr=False)
class History:
    """Losses and validation IoU after each epoch of `seglab.training.fit`.

    Epochs are counted from 0, as everywhere in the code: ``val_iou[best_epoch]`` is
    what the model that `fit` leaves behind reaches.

    Parameters
    ----------
    classes : tuple of str
        Names of the C classes.
    loss : list of float
        Mean training loss over each epoch, while the weights were changing.
    val_loss : list of float
        Loss on the validation images with the weights after each epoch.
    val_iou : ndarray of float64, shape (epochs, C)
        IoU of each class on all validation images together; NaN for a class in
        neither truth nor prediction.
    best_epoch : int
        The first epoch with the highest mean IoU on the validation images; its
        weights are the ones kept.
    seconds : float
        Wall-clock time of all epochs with their validation.
    interrupted : bool
        Whether the training was stopped by hand before its last epoch.
    stopped_early : bool
        Whether it ended before its last epoch because `patience` ran out, or because
        a callback asked for it.
    learning_rate : list of float
        At the end of each epoch; empty where it was not recorded.

    Examples
    --------
    >>> import numpy as np
    >>> iou = np.array([[0.9, 0.5], [0.95, 0.75]])
    >>> history = History(("background", "cell"), [0.7, 0.4], [0.6, 0.5], iou, 1, 2.5)
    >>> history
    History(2 epochs, best_epoch=1, val_iou: background 0.95, cell 0.75)
    >>> history.mean_iou.tolist()
    [0.7, 0.85]
    >>> print(history.to_csv(), end="")
    epoch,loss,val_loss,mean_iou,iou_background,iou_cell
    0,0.7,0.6,0.7,0.9,0.5
    1,0.4,0.5,0.85,0.95,0.75
    """

    classes: tuple[str, ...]
    loss: list[float]
    val_loss: list[float]
    val_iou: NDArray[np.float64]
    best_epoch: int
    seconds: float
    interrupted: bool = False
    stopped_early: bool = False
    learning_rate: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        """Count the epochs that were finished."""
        return len(self.loss)

    @property
    def mean_iou(self) -> NDArray[np.float64]:
        """Mean IoU on the validation images after each epoch, (epochs,)."""
        return nan_mean(self.val_iou)

    def to_csv(self, path: str | Path | None = None) -> str:
        """Give one line an epoch as CSV text, and write it to a file if one is named.

        Parameters
        ----------
        path : str or Path, optional
            File to write.

        Returns
        -------
        str
            The text: columns ``epoch`` (from 0), ``loss``, ``val_loss``, ``mean_iou``,
            ``iou_NAME`` of each class, and ``learning_rate`` where it was recorded.
            NaN is an empty field.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows(self.rows())
        if path is not None:
            Path(path).write_text(text.getvalue(), encoding="utf-8")
        return text.getvalue()

    def rows(self) -> Iterator[list[str | int]]:
        """Give the rows of `to_csv`: the names of the columns, then each epoch's."""
        names = [f"iou_{name}" for name in self.classes]
        rates = ["learning_rate"] * (len(self.learning_rate) == len(self))
        yield ["epoch", "loss", "val_loss", "mean_iou", *names, *rates]
        mean_iou = self.mean_iou
        for epoch in range(len(self)):
            values = [
                self.loss[epoch],
                self.val_loss[epoch],
                mean_iou[epoch],
                *self.val_iou[epoch],
                *self.learning_rate[epoch : epoch + 1],
            ]
            # 6 digits: more are noise, and differ from machine to machine.
            yield [epoch, *("" if np.isnan(v) else f"{v:.6g}" for v in values)]

    def __repr__(self) -> str:
        epochs = f"{len(self)} epoch{'s' * (len(self) != 1)}"
        stopped = ", interrupted" if self.interrupted else ""
        stopped += ", stopped early" if self.stopped_early else ""
        scores = ", ".join(
            f"{name} {value:.2f}"
            for name, value in zip(
                self.classes, self.val_iou[self.best_epoch], strict=True
            )
        )
        return (
            f"History({epochs}{stopped}, best_epoch={self.best_epoch}, "
            f"val_iou: {scores})"
        )
