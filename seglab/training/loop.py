"""Train a segmentation network on a data set: `fit`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from seglab import device
from seglab.data import Dataset
from seglab.progress import Mode, show
from seglab.training import schedules
from seglab.training.batches import Augmentation, Batches, Sampling
from seglab.training.checkpoint import Checkpoint, describe
from seglab.training.checks import (
    check_augment,
    check_counts,
    check_dataset,
    check_model,
    settle_loss,
)
from seglab.training.history import History
from seglab.training.hosts import HostShare
from seglab.training.logs import CsvLog, TensorBoardLog
from seglab.training.precision import (
    choose_jit,
    choose_policy,
    compile_step,
    computing_in,
)
from seglab.training.watch import Watch


def fit(
    model: keras.Model,
    dataset: Dataset,
    *,
    epochs: int,
    batch_size: int = 16,
    learning_rate: float
    | schedules.Schedule
    | keras.optimizers.schedules.LearningRateSchedule = 3e-3,
    optimizer: keras.optimizers.Optimizer | None = None,
    loss: keras.losses.Loss | None = None,
    augment: Augmentation | None = None,
    sampling: Sampling = "uniform",
    seed: int = 0,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    log: str | Path | None = None,
    tensorboard: str | Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
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
        Of the Adam optimizer. Three times Adam's usual: a few hundred steps is all that
        a laptop's minute allows. Take 0.001 or less for a long training or a pretrained
        network. A schedule of `seglab.training.schedules`, such as
        ``schedules.Cosine(3e-3)``, is stretched over the whole training; one of Keras
        counts steps.
    optimizer : keras.optimizers.Optimizer, optional
        Instead of Adam. It has its own learning rate, and `learning_rate` is used only
        if it is a schedule of `seglab.training.schedules`.
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
        Of which images share a batch and of the augmentation. What else is random, the
        first weights and dropout, was seeded when the model was built; the order in
        which the batches of an epoch come is drawn by Python's global generator, which
        `seglab.device.set_seed` seeds. Global generators are not seeded anew.
    patience : int, optional
        Stop when the mean IoU on the validation images has not risen for so many
        epochs. Default: train all epochs.
    checkpoint : str or Path, optional
        A folder in which the state is kept after each epoch. The same call goes on
        from there, exactly: a training that was killed and called again ends with the
        weights of one that was not, to the bit where the backend repeats its results
        (on a CPU it does). All that decides the result must be as before, or an error
        says what is not, as far as that can be told: of the data a few images are
        compared, of a function its name alone, and of an object without a `repr` of
        its own its class. `patience` may differ, and `epochs` too unless
        `learning_rate` is a schedule that is stretched over them. Once all epochs are
        trained, the call gives their result. What `callbacks` remember is not kept.
    log : str or Path, optional
        A CSV file that grows by a line each epoch, with the columns of
        `History.to_csv`. One that is there is replaced.
    tensorboard : str or Path, optional
        A folder for TensorBoard, which must be installed; a new one for each training.
    callbacks : sequence of keras.callbacks.Callback, optional
        Of your own. The logs that they get at the end of an epoch hold ``loss``,
        ``val_loss``, ``val_mean_iou``, ``val_iou_NAME`` of each class, and
        ``learning_rate``.
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
        When model, data and loss do not fit together, or an argument is out of range.
    CheckpointError
        When the checkpoint is damaged, or of a training with other settings.
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
    check_counts(epochs=epochs, batch_size=batch_size)
    if patience is not None:
        check_counts(patience=patience)
    size = check_model(model, dataset.train)
    check_dataset(dataset, *size)
    if augment is not None:
        check_augment(augment, dataset.train)
    loss = settle_loss(loss, model, dataset)
    batches = Batches(
        dataset.train,
        batch_size,
        size=size,
        augment=augment,
        seed=seed,
        sampling=sampling,
    )
    here = device.accelerator()
    policy = choose_policy(mixed_precision, here)
    index, hosts = device.host()

    with device.shared_by(model) as devices:
        _check_shares(batches.batch_size, devices)
        optimizer = _bind(optimizer, learning_rate, epochs * batches.num_batches)
        keeper = None
        if checkpoint is not None:
            settings = {
                "batch_size": batches.batch_size,
                "seed": seed,
                "sampling": sampling,
                "augment": augment,
                "loss": loss,
                "optimizer": optimizer,
                "mixed_precision": policy,
            }
            keeper = Checkpoint(Path(checkpoint), describe(model, dataset, settings))

        first = index == 0  # of several hosts, one writes and speaks
        with (
            computing_in(model, policy),
            show(progress if first else False) as display,
        ):
            jit = choose_jit(jit_compile, here, devices)
            compile_step(model, optimizer, loss, jit)
            watch = Watch(
                dataset,
                epochs,
                batches,
                display,
                patience=patience,
                shares=devices if here.backend == "tensorflow" else 1,
            )
            if keeper is not None:
                keeper.resume(watch, model)
            called = [watch, *callbacks]
            if first and log is not None:
                called.append(CsvLog(Path(log), watch))
            if first and tensorboard is not None:
                called.append(TensorBoardLog(Path(tensorboard)))
            if first and keeper is not None:
                called.append(keeper)  # the last: what the others change is kept
            interrupted = False
            try:
                if not watch.finished:
                    model.fit(
                        batches if hosts == 1 else HostShare(batches, index, hosts),
                        epochs=epochs,
                        initial_epoch=len(watch.loss),
                        shuffle=False,  # the batches come shuffled
                        verbose=0,
                        callbacks=called,
                    )
            except KeyboardInterrupt:
                if not watch.loss:
                    raise  # nothing to keep
                interrupted = True
            finally:
                if watch.best_weights is not None:
                    model.set_weights(watch.best_weights)
    return watch.history(interrupted)


def _check_shares(batch_size: int, devices: int) -> None:
    if batch_size % devices:
        raise ValueError(
            f"a batch has {batch_size} images, and {devices} devices take equal parts "
            f"of it: batch_size must be a multiple of {devices}, and no more than the "
            "training images."
        )


def _bind(
    optimizer: keras.optimizers.Optimizer | None, learning_rate: Any, steps: int
) -> keras.optimizers.Optimizer:
    """Give the optimizer a schedule that knows how many steps there are."""
    if not isinstance(learning_rate, schedules.Schedule):
        return keras.optimizers.Adam(learning_rate) if optimizer is None else optimizer
    rate = schedules.OverSteps(learning_rate, steps)
    if optimizer is None:
        return keras.optimizers.Adam(rate)
    taken = int(keras.ops.convert_to_numpy(optimizer.iterations))
    if taken:
        raise ValueError(
            f"the optimizer has taken {taken} steps already, and the schedule "
            f"{learning_rate!r} begins at its first. Make a new optimizer."
        )
    optimizer.learning_rate = rate
    return optimizer
