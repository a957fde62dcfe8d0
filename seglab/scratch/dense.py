"""The dense layer, and the flattening that classifiers put before it."""

from __future__ import annotations

import numpy as np

from seglab.scratch.layer import (
    Array,
    Layer,
    Seed,
    check_counts,
    check_input,
    he_normal,
)


class Dense(Layer):
    r"""Weighted sums of all channels: :math:`y = xW + b`.

    On feature maps it acts on each pixel by itself and is a 1x1 convolution. Behind
    `Flatten` it mixes all pixels: it then takes one image size only, and does not know
    that neighbors are neighbors.

    Parameters
    ----------
    in_channels, out_channels : int
        C and D.
    seed : int or numpy Generator, default 0
        For the initial weights (`he_normal`). Pass one Generator to all layers.

    Notes
    -----
    ``params["W"]`` has shape (C, D) and ``params["b"]`` (D,).

    Examples
    --------
    >>> layer = Dense(2, 1)
    >>> layer.params["W"][:] = [[1], [10]]
    >>> layer.forward(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[21.],
           [43.]])
    """

    def __init__(self, in_channels: int, out_channels: int, *, seed: Seed = 0) -> None:
        super().__init__()
        check_counts(self, in_channels=in_channels, out_channels=out_channels)
        self.params["W"] = he_normal((in_channels, out_channels), in_channels, seed)
        self.params["b"] = np.zeros(out_channels, np.float32)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Map x, of shape (..., C), to (..., D)."""
        W, b = self.params["W"], self.params["b"]
        check_input(self, x, ndim=None, channels=len(W))
        self._cache = x
        return x @ W + b

    def backward(self, grad: Array) -> Array:
        """Take dL/dy, of shape (..., D), to dL/dx of shape (..., C)."""
        x, W = self._recall(), self.params["W"]
        X = x.reshape(-1, x.shape[-1])  # (rows, C)
        G = grad.reshape(-1, grad.shape[-1])  # (rows, D)
        self.grads["W"] = X.T @ G
        self.grads["b"] = G.sum(axis=0)
        return grad @ W.T


class Flatten(Layer):
    """Write each image as one long vector, rows one after the other.

    Examples
    --------
    >>> Flatten().forward(np.zeros((5, 8, 8, 3))).shape
    (5, 192)
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """Reshape x, of shape (N, ...), to (N, all the rest)."""
        self._cache = x.shape
        return x.reshape(len(x), int(np.prod(x.shape[1:])))

    def backward(self, grad: Array) -> Array:
        """Reshape the gradient back."""
        return grad.reshape(self._recall())
