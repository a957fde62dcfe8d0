"""Measure a network after each epoch of its training, and keep its best weights."""

from __future__ import annotations

import math
import random
import time
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from seglab import device, metrics
from seglab.data import Dataset
from seglab.metrics import confusion_matrix
from seglab.progress import Display
from seglab.training.batches import Batches
from seglab.training.crop import center_crop
from seglab.training.evaluation import stream_logits
from seglab.training.history import History


class DivergedError(ValueError):
    """The loss became NaN or infinite: the settings do not train this model."""


class Watch(keras.callbacks.Callback):
    """Measure after each epoch, remember the best weights, and say how it goes.

    Parameters
    ----------
    dataset : Dataset
        Its validation split is what is measured.
    epochs : int
        Of the whole training.
    batches : Batches
        What the model is trained on.
    display : Display
        Where to say how it goes.
    patience : int, optional
        Stop when the mean IoU has not risen for so many epochs.
    shares : int, default 1
        What a loss outside a training step is divided by: TensorFlow's distribution
        divides every mean by the number of its devices.
    """

    def __init__(
        self,
        dataset: Dataset,
        epochs: int,
        batches: Batches,
        display: Display,
        *,
        patience: int | None = None,
        shares: int = 1,
    ) -> None:
        super().__init__()
        self.val, self.classes = dataset.val, dataset.classes
        self.epochs, self.batches, self.display = epochs, batches, display
        self.patience, self.shares = patience, shares
        self.loss: list[float] = []
        self.val_loss: list[float] = []
        self.val_iou: list[NDArray[np.float64]] = []
        self.learning_rate: list[float] = []
        self.best_epoch, self.best_iou = 0, -math.inf
        self.best_weights: list[NDArray[Any]] | None = None
        self.random_state: dict[str, Any] | None = None
        self.started = time.perf_counter()
        self.seconds = 0.0
        self.summary = ""

    @property
    def finished(self) -> bool:
        """Whether all epochs are trained, or nothing was gained for too long."""
        done = len(self.loss)
        waited = done - 1 - self.best_epoch
        return done >= self.epochs or bool(
            done and self.patience is not None and waited >= self.patience
        )

    def resume(
        self,
        history: History,
        best_weights: list[NDArray[Any]],
        random_state: dict[str, Any],
    ) -> None:
        """Go on from what an interrupted training had reached."""
        self.loss, self.val_loss = list(history.loss), list(history.val_loss)
        self.val_iou, self.learning_rate = (
            list(history.val_iou),
            list(history.learning_rate),
        )
        if best_weights:
            self.best_epoch, self.best_weights = history.best_epoch, best_weights
            self.best_iou = float(history.mean_iou[self.best_epoch])
        self.random_state = random_state
        self.seconds = history.seconds
        self.started = time.perf_counter() - self.seconds

    def on_train_begin(self, logs: Any = None) -> None:
        """Go on with the random numbers of an interrupted training."""
        if self.random_state is not None:
            device.set_random_state(self.random_state)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Tell the batches which epoch it is, and in which order to come.

        Left alone they would count what Keras fetches to find out shapes, which
        depends on the backend, and would not know where a training goes on.
        """
        self.batches.epoch = epoch  # they count one up when Keras begins it
        turns = list(range(self.batches.num_batches))
        random.shuffle(turns)  # as Keras would do, but once an epoch on every backend
        self.batches.turns = turns

    # Not on_train_batch_end: that would make Keras fetch the loss after each step, and
    # an accelerator wait for it.
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Say which step it is, now and then."""
        if self.display.due():
            done, steps = len(self.loss), self.batches.num_batches
            self.display.update(
                (done + batch / steps) / self.epochs,
                f"epoch {done + 1}/{self.epochs}, step {batch + 1}/{steps}"
                + (f" · so far {self.summary}" if self.summary else ""),
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measure, and add what was measured to the logs for callbacks that follow."""
        train_loss = float(logs["loss"])
        if not math.isfinite(train_loss):
            raise DivergedError(self._diverged(epoch, train_loss))
        val_loss, iou = self._validate()
        mean = float(metrics.overlap.nan_mean(iou))
        self.loss.append(train_loss)
        self.val_loss.append(val_loss)
        self.val_iou.append(iou)
        self.learning_rate.append(self._rate())
        if mean > self.best_iou:
            self.best_epoch, self.best_iou = epoch, mean
            self.best_weights = self.model.get_weights()
        logs |= {"val_loss": val_loss, "val_mean_iou": mean}
        logs |= {
            f"val_iou_{c}": float(v) for c, v in zip(self.classes, iou, strict=True)
        }
        logs["learning_rate"] = self.learning_rate[-1]
        self.seconds = time.perf_counter() - self.started
        shown = f"{train_loss:.2f}" if train_loss < 100 else f"{train_loss:.1e}"
        self.summary = f"loss {shown} · val IoU {_spell(self.classes, iou)}"
        text = f"epoch {epoch + 1}/{self.epochs} · {self.summary}"
        if self.finished and epoch + 1 < self.epochs:
            self.model.stop_training = True
            text += f" · stopped: epoch {self.best_epoch + 1} was the best"
        text += f" · {self.seconds:.0f} s"
        self.display.step((epoch + 1) / self.epochs, text)

    def history(self, interrupted: bool = False) -> History:
        """Give what was measured so far."""
        return History(
            self.classes,
            self.loss,
            self.val_loss,
            np.array(self.val_iou),  # (epochs, C)
            self.best_epoch,
            self.seconds,
            interrupted,
            stopped_early=not interrupted and len(self.loss) < self.epochs,
            learning_rate=self.learning_rate,
        )

    def _validate(self) -> tuple[float, NDArray[np.float64]]:
        """Take loss and IoU from one pass over the validation images."""
        C = self.val.num_classes
        total, matrix = 0.0, np.zeros((C, C), np.int64)
        for part, logits in stream_logits(
            self.model, self.val.images, self.batches.batch_size
        ):
            masks = center_crop(self.val.masks[part], *self.batches.size)
            mean = self.model.compute_loss(y=masks, y_pred=logits, training=False)
            total += float(mean) * self.shares * len(masks)
            matrix += confusion_matrix(
                masks, logits.argmax(axis=-1), C, self.val.ignore_index
            )
        return total / len(self.val), metrics.iou(matrix)

    def _rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def _diverged(self, epoch: int, loss: float) -> str:
        kept = (
            f" The weights of epoch {self.best_epoch + 1}, the best so far, are back "
            "in the model."
            if self.best_weights is not None
            else ""
        )
        return (
            f"the loss became {loss} in epoch {epoch + 1} of {self.epochs}. The usual "
            f"cause is too large a learning rate (it is {self._rate():.2g}): try a "
            f"tenth of it. Others: a loss that divides by zero or takes log(0).{kept}"
        )


def _spell(classes: tuple[str, ...], iou: NDArray[np.float64]) -> str:
    """Spell the IoU of each class in a line; of many, the mean and the worst."""
    if len(classes) <= 4:
        return ", ".join(f"{c} {v:.2f}" for c, v in zip(classes, iou, strict=True))
    mean = f"mean {float(metrics.overlap.nan_mean(iou)):.2f}"
    if np.isnan(iou).all():
        return mean
    worst = int(np.nanargmin(iou))
    return f"{mean}, lowest {classes[worst]} {iou[worst]:.2f}"
