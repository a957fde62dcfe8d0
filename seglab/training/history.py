"""What happened during training, epoch by epoch."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
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
            The text: columns ``epoch`` (from 0), ``loss``, ``val_loss``,
            ``mean_iou`` and ``iou_NAME`` of each class. NaN is an empty field.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = (f"iou_{name}" for name in self.classes)
        writer.writerow(["epoch", "loss", "val_loss", "mean_iou", *names])
        table = np.column_stack(
            [self.loss, self.val_loss, self.mean_iou, self.val_iou]
        )  # (epochs, 3 + C)
        for epoch, row in enumerate(table):
            # 6 digits: more are noise, and differ from machine to machine.
            numbers = ("" if np.isnan(value) else f"{value:.6g}" for value in row)
            writer.writerow([epoch, *numbers])
        if path is not None:
            Path(path).write_text(text.getvalue(), encoding="utf-8")
        return text.getvalue()

    def __repr__(self) -> str:
        epochs = f"{len(self)} epoch{'s' * (len(self) != 1)}"
        stopped = ", interrupted" if self.interrupted else ""
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
