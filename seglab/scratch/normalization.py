"""Batch normalization: the same mean and spread in each channel, at each step."""

from __future__ import annotations

import numpy as np

from seglab.scratch.layer import Array, Layer, check_counts, check_input


class BatchNorm(Layer):
    r"""Normalize each channel over the batch, then scale and shift it.

    :math:`y = \gamma (x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta`, with mean and
    variance over images and pixels. In training they are the batch's own, so each
    image's output depends on the others; afterwards they are moving averages.

    Parameters
    ----------
    channels : int
        C.
    momentum : float, default 0.99
        How slowly the moving averages forget, as in Keras. (PyTorch's "momentum" is one
        minus this.)
    epsilon : float, default 0.001
        Keeps the root from 0; Keras's default.

    Attributes
    ----------
    moving_mean, moving_variance : ndarray, shape (C,)
        Updated by each ``forward(x, training=True)``; used by the others.

    Notes
    -----
    ``params["gamma"]`` and ``params["beta"]`` have shape (C,). The variance divides by
    the number of values, not by one less, also in the moving average.

    Source
    ------
    Ioffe and Szegedy, "Batch Normalization", ICML 2015, Algorithm 1.

    Examples
    --------
    >>> x = np.array([[1.0], [3.0]])
    >>> layer = BatchNorm(1)
    >>> layer.forward(x, training=True).round(3)
    array([[-1.],
           [ 1.]])
    >>> layer.moving_mean.round(4)
    array([0.02])
    """

    def __init__(
        self, channels: int, *, momentum: float = 0.99, epsilon: float = 0.001
    ) -> None:
        super().__init__()
        check_counts(self, channels=channels)
        self.momentum, self.epsilon = momentum, epsilon
        self.params["gamma"] = np.ones(channels, np.float32)
        self.params["beta"] = np.zeros(channels, np.float32)
        self.moving_mean: Array = np.zeros(channels, np.float32)
        self.moving_variance: Array = np.ones(channels, np.float32)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Normalize x, of shape (..., C)."""
        gamma, beta = self.params["gamma"], self.params["beta"]
        check_input(self, x, ndim=None, channels=len(gamma))
        if training:
            batch = tuple(range(x.ndim - 1))  # all axes but the channels
            mean, variance = x.mean(axis=batch), x.var(axis=batch)
            m = self.momentum
            self.moving_mean = m * self.moving_mean + (1 - m) * mean
            self.moving_variance = m * self.moving_variance + (1 - m) * variance
        else:
            mean, variance = self.moving_mean, self.moving_variance
        scale = (1 / np.sqrt(variance + self.epsilon)).astype(x.dtype)  # (C,)
        normal = (x - mean.astype(x.dtype)) * scale
        self._cache = normal, scale, training
        y: Array = gamma * normal + beta
        return y

    def backward(self, grad: Array) -> Array:
        """Take dL/dy to dL/dx; in training, through mean and variance too."""
        normal, scale, training = self._recall()
        batch = tuple(range(grad.ndim - 1))
        self.grads["gamma"] = (grad * normal).sum(axis=batch)
        self.grads["beta"] = grad.sum(axis=batch)
        g = grad * self.params["gamma"]  # dL/d(normal)
        if training:
            # Mean and spread are fixed: no gradient may point along them.
            g = g - g.mean(axis=batch) - normal * (g * normal).mean(axis=batch)
        dx: Array = g * scale
        return dx
