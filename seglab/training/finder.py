"""The learning-rate range test: try all rates in one short training, and look."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from seglab import device
from seglab.data import Dataset
from seglab.progress import Mode, show
from seglab.training.batches import Augmentation, Batches, Sampling
from seglab.training.checks import (
    check_augment,
    check_counts,
    check_dataset,
    check_model,
    settle_loss,
)
from seglab.training.precision import (
    choose_jit,
    choose_policy,
    compile_step,
    computing_in,
)
from seglab.training.watch import DivergedError

_DIVERGED = 4
"""The test ends when the loss is this many times the lowest: fastai's choice."""

_SMOOTHING = 2.0
"""Standard deviation, in steps, of the Gaussian that the losses are smoothed with."""


@dataclass(frozen=True, eq=False, repr=False)
class RangeTest:
    """What `find_learning_rate` saw: the loss at each rate, and what to make of it.

    Draw `smoothed` over `rates` on a logarithmic axis. From left to right it is flat
    (too small to learn anything), falls, reaches a lowest point and shoots up (too
    large: training diverges).

    Parameters
    ----------
    rates : ndarray of float64, shape (S,)
        The rates that were tried, rising by a constant factor. Fewer than asked for
        if the loss blew up before.
    losses : ndarray of float64, shape (S,)
        Training loss of one batch with the weights before the step with that rate. So
        ``losses[i]`` tells what the rates before ``rates[i]`` did.
    diverged : bool
        Whether the loss blew up.

    Examples
    --------
    >>> import numpy as np
    >>> losses = np.array([1.0, 0.9, 0.5, 0.3, 0.2, 0.4, 2.0])
    >>> test = RangeTest(np.geomspace(1e-4, 1e2, 7), losses, diverged=True)
    >>> test
    RangeTest(7 rates from 0.0001 to 100, diverged, suggestion 0.1)
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    diverged: bool

    @property
    def smoothed(self) -> NDArray[np.float64]:
        """The losses without the noise of single batches, (S,): what to draw.

        A Gaussian window: it looks as far ahead as back, so that the curve is not
        moved to the right, as a running average would. A loss that blew up counts as
        one that had just begun to: else the window would spread it far to the left.
        """
        # Narrower where steps are few, so that it stays a small part of the curve.
        window = min(_SMOOTHING, len(self.losses) / 20)
        smoothed: NDArray[np.float64] = gaussian_filter1d(
            np.minimum(self.losses, _limit(self.losses)), window, mode="nearest"
        )
        return smoothed

    @property
    def suggestion(self) -> float:
        """A rate to train with: a tenth of the one where the loss was lowest.

        At the lowest point the loss is about to rise: that rate is too large for a
        whole training. How much smaller is a convention, not a theorem; a third or a
        thirtieth may do better.
        """
        return float(self.rates[np.argmin(self.smoothed)]) / 10

    def __repr__(self) -> str:
        diverged = ", diverged" if self.diverged else ""
        return (
            f"RangeTest({len(self.rates)} rates from {self.rates[0]:.3g} to "
            f"{self.rates[-1]:.3g}{diverged}, suggestion {self.suggestion:.2g})"
        )


def find_learning_rate(
    model: keras.Model,
    dataset: Dataset,
    *,
    batch_size: int = 16,
    optimizer: keras.optimizers.Optimizer | None = None,
    loss: keras.losses.Loss | None = None,
    augment: Augmentation | None = None,
    sampling: Sampling = "uniform",
    seed: int = 0,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 100,
    mixed_precision: bool | str = "auto",
    jit_compile: bool | str = "auto",
    progress: Mode = True,
) -> RangeTest:
    """Try learning rates from small to large in one short training.

    Each step trains on a batch with a slightly larger rate than the step before, until
    the loss blows up. Then model and optimizer are as they were, to the bit: train
    afterwards with what the test suggests.

    Parameters
    ----------
    model : keras.Model
        As for `seglab.training.fit`: untrained, or pretrained.
    dataset : Dataset
        Its train split is used, and nothing else.
    batch_size, optimizer, loss, augment, sampling, seed, mixed_precision, jit_compile
        As for `seglab.training.fit`, and what the rate will be used with: a rate for
        one batch size or optimizer says little about another. Only a copy of the
        optimizer is used.
    lowest, highest : float, default 1e-6 and 1
        The range, both above 0.
    steps : int, default 100
        Rates to try, at least 2. They may go through the images more than once, or
        not through all.
    progress : bool or "lines", default True
        See `seglab.progress.show`.

    Returns
    -------
    RangeTest
        Rates, losses and a suggestion.

    Warns
    -----
    UserWarning
        When the loss was lowest at one of the last rates, and did not blow up: where
        the range should end is not known.

    Raises
    ------
    ValueError
        When model, data and loss do not fit together, or an argument is out of range.
    DivergedError
        When the loss is NaN or infinite at the lowest rates already.

    Source
    ------
    Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section
    3.3. There the rate rises by a constant amount and the accuracy is watched; here, as
    in fastai, it rises by a constant factor and the loss is watched.

    Examples
    --------
    >>> from seglab import data, device, models
    >>> cells = data.load("cells", count=20, size=16)
    >>> device.set_seed(0)
    >>> model = models.unet(cells.image_shape, cells.num_classes, width=2, depth=1)
    >>> test = find_learning_rate(model, cells, steps=30, highest=10)
    >>> 1e-4 < test.suggestion < 1
    True
    """
    if not 0 < lowest < highest < math.inf:
        raise ValueError(
            f"lowest is {lowest!r} and highest {highest!r}; both must be above 0, and "
            "lowest the smaller one."
        )
    check_counts(steps=steps, least=2)
    check_counts(batch_size=batch_size)
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
    rates = np.geomspace(lowest, highest, steps)
    losses: list[float] = []
    with device.shared_by(model) as devices, show(progress) as display:
        # The same layers in another model, which is compiled in place of the user's.
        trial = keras.Model(model.inputs, model.outputs, name=model.name)
        variables = trial.variables
        before = [np.array(keras.ops.convert_to_numpy(v)) for v in variables]
        chance = device.random_state()
        with computing_in(trial, choose_policy(mixed_precision, here)):
            jit = choose_jit(jit_compile, here, devices)
            compile_step(trial, _copy(optimizer), loss, jit)
            try:
                for step, rate in enumerate(rates):
                    if step % batches.num_batches == 0:
                        batches.on_epoch_begin()
                    trial.optimizer.learning_rate = rate
                    batch = batches[step % batches.num_batches]
                    losses.append(float(trial.train_on_batch(*batch)))
                    if _blew_up(losses):
                        break
                    display.update((step + 1) / steps, f"learning rate {rate:.1e}")
            finally:
                for variable, value in zip(variables, before, strict=True):
                    variable.assign(value)
                device.set_random_state(chance)
        found = _conclude(rates, losses)
        display.step(1.0, f"suggested learning rate: {found.suggestion:.2g}")
    return found


def _limit(losses: Sequence[float] | NDArray[np.float64]) -> float:
    """Give what a loss may rise to before the test counts it as blown up."""
    lowest = min(losses)
    # Of losses that may be negative or near 0, the rise counts, not the ratio.
    return float(
        lowest + (_DIVERGED - 1) * max(abs(lowest), 0.1 * abs(float(losses[0])))
    )


def _blew_up(losses: list[float]) -> bool:
    return not math.isfinite(losses[-1]) or losses[-1] > _limit(losses)


def _conclude(rates: NDArray[np.float64], losses: list[float]) -> RangeTest:
    diverged = _blew_up(losses)
    finite = losses if math.isfinite(losses[-1]) else losses[:-1]
    if len(finite) < 2:
        rate = rates[len(losses) - 1]
        raise DivergedError(
            f"the loss is {losses[-1]} at the learning rate {rate:.2g} already: it "
            "divides by zero or takes log(0), or the smallest rate is too large: try a "
            "smaller lowest."
        )
    found = RangeTest(rates[: len(finite)], np.array(finite), diverged)
    if not diverged and np.argmin(found.smoothed) >= len(finite) - 3:
        warnings.warn(
            f"the loss was lowest at the end of the range, {rates[-1]:.2g}: where it "
            "rises again is not known. Try a larger highest.",
            stacklevel=3,
        )
    return found


def _copy(optimizer: keras.optimizers.Optimizer | None) -> keras.optimizers.Optimizer:
    """Make an optimizer of the same kind, unused, whose rate can be set."""
    if optimizer is None:
        return keras.optimizers.Adam(1.0)
    config = optimizer.get_config()
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return keras.optimizers.LossScaleOptimizer(_copy(optimizer.inner_optimizer))
    return type(optimizer).from_config(config | {"learning_rate": 1.0})
