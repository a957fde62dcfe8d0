"""Train a segmentation network on a data set: `fit`."""

from __future__ import annotations

import math
import time
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from seglab import device, metrics
from seglab.data import Dataset
from seglab.metrics import confusion_matrix
from seglab.progress import Display, Mode, show
from seglab.training.batches import Augmentation, Batches, Sampling
from seglab.training.checks import (
    check_augment,
    check_dataset,
    check_logits,
    check_model,
)
from seglab.training.crop import center_crop
from seglab.training.evaluation import stream_logits
from seglab.training.history import History
from seglab.training.precision import choose_policy, computing_in


class DivergedError(ValueError):
    """The loss became NaN or infinite: the settings do not train this model."""


def fit(
    model: keras.Model,
    dataset: Dataset,
    *,
    epochs: int,
    batch_size: int = 16,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 3e-3,
    optimizer: keras.optimizers.Optimizer | None = None,
    loss: keras.losses.Loss | None = None,
    augment: Augmentation | None = None,
    sampling: Sampling = "uniform",
    seed: int = 0,
    mixed_precision: bool | str = "auto",
    jit_compile: bool | str = "auto",
    progress: Mode = True,
) -> History:
    """Train a network, and keep the weights that did best on the validation images.

    It is `keras.Model.fit` with what segmentation needs added: the ignore label is
    left out of the loss, the IoU of each class is measured on the validation split
    after each epoch, and the weights of the epoch with the highest mean IoU are put
    back at the end. It compiles the model itself.

    Parameters
    ----------
    model : keras.Model
        Gives logits, one channel for each class. Its first weights were drawn when it
        was built: call `seglab.device.set_seed` before that to repeat a training.
    dataset : Dataset
        Trains on ``dataset.train``, validates on ``dataset.val``, and never looks at
        ``dataset.test``.
    epochs : int
        Passes over the training images.
    batch_size : int, default 16
        Images in a step. The last batch of an epoch is filled up with images from its
        start, so that all have one size.
    learning_rate : float or schedule, default 0.003
        Of the Adam optimizer; not used when `optimizer` is given. Three times Adam's
        usual: a few hundred steps is all that a laptop's minute allows. Take 0.001 or
        less for a long training or a pretrained network.
    optimizer : keras.optimizers.Optimizer, optional
        Instead of Adam.
    loss : keras.losses.Loss, optional
        Of masks (N, H, W) and logits (N, H, W, C). Default: the mean cross-entropy of
        the pixels that are not ignored.
    augment : callable, optional
        ``augment(images, masks, rng)`` returns a varied batch; see
        `seglab.data.Augment`.
    sampling : {"uniform", "balanced"}, default "uniform"
        Show every image once an epoch, or as many images drawn so that rare classes
        are seen as often as frequent ones; see `seglab.training.batches.Batches`.
    seed : int, default 0
        Of the order of the images and of the augmentation. What else is random, the
        first weights and dropout, was seeded when the model was built; global
        generators are not seeded anew.
    mixed_precision : "auto", bool or str, default "auto"
        Compute in half precision. "auto": bfloat16 or float16 on a GPU that is made
        for it (`seglab.device.Accelerator.precision`), float32 elsewhere. The model
        is float32 again afterwards.
    jit_compile : "auto" or bool, default "auto"
        Compile the training step with XLA. "auto": where it pays
        (`seglab.device.Accelerator.jit_compile`): on a GPU, not on a CPU.
    progress : bool or "lines", default True
        See `seglab.progress.show`.

    Returns
    -------
    History
        Losses and IoU of each epoch. Stopping by hand (Ctrl-C, or the stop button of a
        notebook) after the first epoch keeps the best weights so far too.

    Raises
    ------
    ValueError
        When model and data do not fit together, or an argument is out of range.
    DivergedError
        When the loss becomes NaN. The best weights so far are put back first.

    Examples
    --------
    >>> from seglab import data, device, models
    >>> cells = data.load("cells", count=20, size=16)
    >>> device.set_seed(0)
    >>> model = models.unet(cells.image_shape, cells.num_classes, width=2, depth=1)
    >>> history = fit(model, cells, epochs=3)
    >>> len(history), history.classes
    (3, ('background', 'cell'))
    >>> history.loss[-1] < history.loss[0]
    True
    """
    for name, value in {"epochs": epochs, "batch_size": batch_size}.items():
        if value != int(value) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be an integer, 1 or more.")
    size = check_model(model, dataset.train)
    check_dataset(dataset, *size)
    if augment is not None:
        check_augment(augment, dataset.train)
    if loss is None:
        check_logits(model)
        loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=dataset.ignore_index
        )
    if optimizer is None:
        optimizer = keras.optimizers.Adam(learning_rate)
    here = device.accelerator()
    policy = choose_policy(mixed_precision, here)
    if jit_compile == "auto":
        jit_compile = here.jit_compile

    with computing_in(model, policy), show(progress) as display:
        model.compile(optimizer=optimizer, loss=loss, jit_compile=jit_compile)
        batches = Batches(
            dataset.train,
            batch_size,
            size=size,
            augment=augment,
            seed=seed,
            sampling=sampling,
        )
        watch = _Watch(dataset, epochs, batches, display)
        interrupted = False
        try:
            model.fit(batches, epochs=epochs, verbose=0, callbacks=[watch])
        except KeyboardInterrupt:
            if not watch.loss:
                raise  # nothing to keep
            interrupted = True
        finally:
            if watch.best_weights is not None:
                model.set_weights(watch.best_weights)
    return watch.history(interrupted)


class _Watch(keras.callbacks.Callback):
    """Measure after each epoch, remember the best weights, and say how it goes."""

    def __init__(
        self, dataset: Dataset, epochs: int, batches: Batches, display: Display
    ) -> None:
        super().__init__()
        self.val, self.classes = dataset.val, dataset.classes
        self.epochs, self.batches, self.display = epochs, batches, display
        self.loss: list[float] = []
        self.val_loss: list[float] = []
        self.val_iou: list[NDArray[np.float64]] = []
        self.best_epoch, self.best_iou = 0, -math.inf
        self.best_weights: list[NDArray[Any]] | None = None
        self.started = time.perf_counter()
        self.seconds = 0.0
        self.summary = ""

    # Not on_train_batch_end: that would make Keras fetch the loss after each step, and
    # an accelerator wait for it.
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.display.due():
            done, steps = len(self.loss), self.batches.num_batches
            self.display.update(
                (done + batch / steps) / self.epochs,
                f"epoch {done + 1}/{self.epochs}, step {batch + 1}/{steps}"
                + (f" · so far {self.summary}" if self.summary else ""),
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        train_loss = float(logs["loss"])
        if not math.isfinite(train_loss):
            raise DivergedError(self._diverged(epoch, train_loss))
        val_loss, iou = self._validate()
        self.loss.append(train_loss)
        self.val_loss.append(val_loss)
        self.val_iou.append(iou)
        mean = float(metrics.overlap.nan_mean(iou))
        if mean > self.best_iou:
            self.best_epoch, self.best_iou = epoch, mean
            self.best_weights = self.model.get_weights()
        self.seconds = time.perf_counter() - self.started
        shown = f"{train_loss:.2f}" if train_loss < 100 else f"{train_loss:.1e}"
        self.summary = f"loss {shown} · val IoU {_spell(self.classes, iou)}"
        self.display.step(
            (epoch + 1) / self.epochs,
            f"epoch {epoch + 1}/{self.epochs} · {self.summary} · {self.seconds:.0f} s",
        )

    def history(self, interrupted: bool) -> History:
        return History(
            self.classes,
            self.loss,
            self.val_loss,
            np.array(self.val_iou),  # (epochs, C)
            self.best_epoch,
            self.seconds,
            interrupted,
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
            total += float(mean) * len(masks)
            matrix += confusion_matrix(
                masks, logits.argmax(axis=-1), C, self.val.ignore_index
            )
        return total / len(self.val), metrics.iou(matrix)

    def _diverged(self, epoch: int, loss: float) -> str:
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        kept = (
            f" The weights of epoch {self.best_epoch + 1}, the best so far, are back "
            "in the model."
            if self.best_weights is not None
            else ""
        )
        return (
            f"the loss became {loss} in epoch {epoch + 1} of {self.epochs}. The usual "
            f"cause is too large a learning rate (it is {rate:.2g}): try a tenth of "
            f"it. Others: a loss that divides by zero or takes log(0).{kept}"
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
