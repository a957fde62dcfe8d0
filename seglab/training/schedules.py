"""Learning-rate schedules: the rate as a function of how far the training is.

A schedule here does not know how many steps a training has. `seglab.training.fit`
does, and binds the one to the other, so that twice the epochs stretch the same curve::

    fit(model, dataset, epochs=20, learning_rate=schedules.Cosine(3e-3))

All are functions of progress, 0 at the first step and 1 after the last one. A call
draws them: ``schedule(np.linspace(0, 1, 101))``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, Self

import keras
import numpy as np

_serializable = keras.saving.register_keras_serializable(package="seglab")


class Schedule(ABC):
    """The learning rate over the course of a training of any length."""

    def __call__(self, progress: Any) -> Any:
        """Give the rate at some progress.

        Parameters
        ----------
        progress : float, ndarray or tensor
            From 0, the first step, to 1, after the last; beyond, the rate stays.

        Returns
        -------
        float, ndarray or tensor
            Of the same kind and shape.
        """
        if keras.ops.is_tensor(progress):
            return self._rate(keras.ops.clip(progress, 0.0, 1.0), keras.ops)
        rate = self._rate(np.clip(np.asarray(progress, np.float64), 0, 1), np)
        return float(rate) if np.ndim(progress) == 0 else rate

    @abstractmethod
    def _rate(self, p: Any, ops: Any) -> Any:
        """Give the rate at progress `p`; `ops` is NumPy or `keras.ops`."""

    def get_config(self) -> dict[str, Any]:
        """Give the arguments, as Keras stores them in a file."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {
            name: keras.saving.serialize_keras_object(value)
            if isinstance(value, Schedule)
            else value
            for name, value in values.items()
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make the schedule from what `get_config` gave."""
        return cls(
            **{
                name: keras.saving.deserialize_keras_object(value)
                if isinstance(value, dict)
                else value
                for name, value in config.items()
            }
        )


@_serializable
@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate throughout.

    Parameters
    ----------
    rate : float
        Above 0.

    Examples
    --------
    >>> Constant(1e-3)(0.5)
    0.001
    """

    rate: float

    def __post_init__(self) -> None:
        _check_rates(rate=self.rate)

    def _rate(self, p: Any, ops: Any) -> Any:
        return self.rate + 0 * p


@_serializable
@dataclass(frozen=True)
class Cosine(Schedule):
    r"""Half a cosine wave from the peak down to the end: flat, steep, flat.

    :math:`\eta(p) = \eta_1 + (\eta_0 - \eta_1)(1 + \cos \pi p) / 2`

    Parameters
    ----------
    peak : float
        The first rate, above 0.
    end : float, default 0
        What the rate comes down to.

    Source
    ------
    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR
    2017, equation 5; here without restarts.

    Examples
    --------
    >>> rate = Cosine(0.01)
    >>> rate(0), round(rate(0.5), 6), rate(1)
    (0.01, 0.005, 0.0)
    """

    peak: float
    end: float = 0.0

    def __post_init__(self) -> None:
        _check_rates(peak=self.peak)
        _check_rates(end=self.end, zero=True)

    def _rate(self, p: Any, ops: Any) -> Any:
        return self.end + (self.peak - self.end) * (1 + ops.cos(math.pi * p)) / 2


@_serializable
@dataclass(frozen=True)
class Polynomial(Schedule):
    r"""The "poly" rate of semantic segmentation: nearly a straight line.

    :math:`\eta(p) = \eta_1 + (\eta_0 - \eta_1)(1 - p)^{0.9}`

    Parameters
    ----------
    peak : float
        The first rate, above 0.
    power : float, default 0.9
        1 is a straight line; above 1 it falls early, below 1 late.
    end : float, default 0
        What the rate comes down to.

    Source
    ------
    Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets,
    Atrous Convolution, and Fully Connected CRFs", TPAMI 2018, section 4.1.2 (power
    0.9).

    Examples
    --------
    >>> rate = Polynomial(0.01)
    >>> rate(0), round(rate(0.5), 6), rate(1)
    (0.01, 0.005359, 0.0)
    """

    peak: float
    power: float = 0.9
    end: float = 0.0

    def __post_init__(self) -> None:
        _check_rates(peak=self.peak, power=self.power)
        _check_rates(end=self.end, zero=True)

    def _rate(self, p: Any, ops: Any) -> Any:
        return self.end + (self.peak - self.end) * (1 - p) ** self.power


@_serializable
@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from a small rate to the peak, then down to nearly nothing.

    Both legs are half cosine waves, as in fastai and in PyTorch's ``OneCycleLR``; the
    paper's are straight lines. The momentum is left alone: PyTorch and the paper turn
    it down while the rate is high.

    Parameters
    ----------
    peak : float
        The highest rate, above 0.
    rise : float, default 0.3
        Progress at which the peak is reached, between 0 and 1.
    start_factor : float, default 1/25
        The first rate as a share of the peak.
    end_factor : float, default 1/250000
        The last rate as a share of the peak.

    Source
    ------
    Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using
    Large Learning Rates", 2017 (arXiv:1708.07120), section 3.

    Examples
    --------
    >>> rate = OneCycle(0.01)
    >>> rate(0), rate(0.3), f"{rate(1):.1e}"
    (0.0004, 0.01, '4.0e-08')
    """

    peak: float
    rise: float = 0.3
    start_factor: float = 1 / 25
    end_factor: float = 1 / 250_000

    def __post_init__(self) -> None:
        _check_rates(peak=self.peak)
        _check_rates(
            start_factor=self.start_factor, end_factor=self.end_factor, zero=True
        )
        _check_share(rise=self.rise)

    def _rate(self, p: Any, ops: Any) -> Any:
        up = Cosine(self.peak, self.peak * self.start_factor)  # read from its end
        down = Cosine(self.peak, self.peak * self.end_factor)
        return ops.where(
            p < self.rise,
            up._rate(1 - p / self.rise, ops),
            down._rate((p - self.rise) / (1 - self.rise), ops),
        )


@_serializable
@dataclass(frozen=True)
class WarmUp(Schedule):
    """A straight line up to where another schedule begins, then that schedule.

    The other schedule runs over the rest of the training: nothing of it is cut off.

    Parameters
    ----------
    schedule : Schedule
        What follows.
    share : float, default 0.05
        Share of the training that the line takes, between 0 and 1.
    start : float, default 0
        The first rate.

    Source
    ------
    Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017
    (arXiv:1706.02677), section 2.2, "gradual warmup".

    Examples
    --------
    >>> rate = WarmUp(Cosine(0.01), share=0.1)
    >>> rate(0), rate(0.05), rate(0.1), rate(1)
    (0.0, 0.005, 0.01, 0.0)
    """

    schedule: Schedule
    share: float = 0.05
    start: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Schedule):
            raise ValueError(
                f"schedule is {self.schedule!r}; WarmUp comes before another schedule "
                "of seglab.training.schedules, such as Constant(1e-3)."
            )
        _check_share(share=self.share)
        _check_rates(start=self.start, zero=True)

    def _rate(self, p: Any, ops: Any) -> Any:
        first = self.schedule(0.0)
        # Rounding must not push it above 1: (1 - p) ** 0.9 would be NaN.
        rest = ops.clip((p - self.share) / (1 - self.share), 0.0, 1.0)
        return ops.where(
            p < self.share,
            self.start + (first - self.start) * p / self.share,
            self.schedule._rate(rest, ops),
        )


@_serializable
class OverSteps(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule bound to a number of steps: what a Keras optimizer takes.

    Parameters
    ----------
    schedule : Schedule
        Of progress.
    steps : int
        Steps of the whole training. At step t, counted from 0, progress is t / steps;
        from the last on it is 1.

    Examples
    --------
    >>> rate = OverSteps(Polynomial(0.01, power=1), steps=100)
    >>> round(float(rate(75)), 6)
    0.0025
    """

    def __init__(self, schedule: Schedule, steps: int) -> None:
        self.schedule, self.steps = schedule, steps

    def __call__(self, step: Any) -> Any:
        """Give the rate at a step, as a tensor."""
        return self.schedule(keras.ops.cast(step, "float32") / self.steps)

    def get_config(self) -> dict[str, Any]:
        """Give the arguments, as Keras stores them in a file."""
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> OverSteps:
        """Make it from what `get_config` gave."""
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["steps"])


def _check_rates(*, zero: bool = False, **numbers: float) -> None:
    for name, value in numbers.items():
        if not (0 < value < math.inf or (zero and value == 0)):
            least = "0 or more" if zero else "above 0"
            raise ValueError(f"{name} is {value!r}; it must be {least} and finite.")


def _check_share(**shares: float) -> None:
    for name, value in shares.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} is {value!r}; it must be between 0 and 1.")
