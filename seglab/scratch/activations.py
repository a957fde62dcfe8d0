"""Functions of each value, or of the scores at each pixel, without parameters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from seglab.scratch.layer import Array, Layer


class ReLU(Layer):
    r"""Positive values pass, negative ones become 0: :math:`y = \max(x, 0)`.

    The derivative is 1 where x > 0, else 0; at the kink, x = 0, it is taken as 0.

    Examples
    --------
    >>> layer = ReLU()
    >>> layer.forward(np.array([-2.0, 3.0])), layer.backward(np.array([5.0, 5.0]))
    (array([0., 3.]), array([0., 5.]))
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """Compute max(x, 0)."""
        self._cache = x > 0
        y: Array = np.maximum(x, 0)
        return y

    def backward(self, grad: Array) -> Array:
        """Let the gradient pass where x was positive."""
        positive: NDArray[np.bool_] = self._recall()
        return grad * positive


class Sigmoid(Layer):
    r"""Squeeze values into (0, 1): :math:`y = 1 / (1 + e^{-x})`.

    The derivative is :math:`y (1 - y)`: at most 1/4, and nearly 0 for large values of
    either sign, which is why deep networks use `ReLU`.

    Examples
    --------
    >>> layer = Sigmoid()
    >>> layer.forward(np.array([0.0, 1000.0])), layer.backward(np.array([1.0, 1.0]))
    (array([0.5, 1. ]), array([0.25, 0.  ]))
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """Compute the logistic function, without overflow."""
        y: Array = expit(x)
        self._cache = y
        return y

    def backward(self, grad: Array) -> Array:
        """Multiply by y (1 - y)."""
        y: Array = self._recall()
        return grad * y * (1 - y)


class Softmax(Layer):
    r"""Turn the scores of the K classes into probabilities.

    :math:`p_k = e^{s_k} / \sum_l e^{s_l}`, along the last axis. For training, leave it
    out: `CrossEntropy` takes scores, since together the two are simpler and safer.

    Examples
    --------
    >>> Softmax().forward(np.array([[0.0, np.log(3.0)], [1000.0, 0.0]]))
    array([[0.25, 0.75],
           [1.  , 0.  ]])
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """Compute probabilities from scores of shape (..., K), without overflow."""
        p: Array = softmax(x, axis=-1)
        self._cache = p
        return p

    def backward(self, grad: Array) -> Array:
        r"""Apply the derivatives :math:`p_k (\delta_{kl} - p_l)`."""
        p: Array = self._recall()
        dx: Array = p * (grad - (grad * p).sum(axis=-1, keepdims=True))
        return dx
