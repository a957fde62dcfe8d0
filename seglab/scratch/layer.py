"""What every layer has: parameters, their gradients, and two directions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[np.floating[Any]]
Seed = int | np.random.Generator


class Layer:
    """A function with parameters that knows its own derivatives.

    `forward` computes the output and remembers what `backward` needs. `backward`
    gets the gradient of the loss with respect to the output, writes the gradients
    of the parameters into `grads`, replacing the old ones, and returns the gradient
    with respect to the input: the chain rule, one link a layer.

    Arrays of float32 stay float32, float64 stay float64.

    Examples
    --------
    >>> class Scale(Layer):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.params["a"] = np.array(3.0)
    ...
    ...     def forward(self, x, training=False):
    ...         self._cache = x
    ...         return self.params["a"] * x
    ...
    ...     def backward(self, grad):
    ...         self.grads["a"] = (grad * self._recall()).sum()
    ...         return grad * self.params["a"]
    >>> layer = Scale()
    >>> layer.forward(np.array([1.0, 2.0])), layer.backward(np.array([1.0, 1.0]))
    (array([3., 6.]), array([3., 3.]))
    >>> float(layer.grads["a"])
    3.0
    """

    def __init__(self) -> None:
        self._params: dict[str, Array] = {}
        self._grads: dict[str, Array] = {}
        self._cache: Any = None

    @property
    def params(self) -> dict[str, Array]:
        """Parameters by name, such as ``"W"``."""
        return self._params

    @property
    def grads(self) -> dict[str, Array]:
        """Gradients of the parameters, by the same names, after `backward`."""
        return self._grads

    def forward(self, x: Array, training: bool = False) -> Array:
        """Compute the layer's output.

        Parameters
        ----------
        x : ndarray
            Input, a batch along the first axis.
        training : bool, default False
            Whether this is a training step. Only batch normalization cares.

        Returns
        -------
        ndarray
        """
        raise NotImplementedError

    def backward(self, grad: Array) -> Array:
        """Go back through the last `forward`.

        Parameters
        ----------
        grad : ndarray, shape of the output
            Gradient of the loss with respect to the output.

        Returns
        -------
        ndarray, shape of the input
            Gradient of the loss with respect to the input.

        Raises
        ------
        ValueError
            Before the first `forward`.
        """
        raise NotImplementedError

    def cast(self, dtype: DTypeLike) -> None:
        """Turn the parameters into another dtype, such as float64."""
        for name, value in self.params.items():
            self.params[name] = value.astype(dtype)

    def _recall(self) -> Any:
        """Give what `forward` remembered."""
        if self._cache is None:
            raise ValueError(
                f"{type(self).__name__}.backward needs what forward remembers: call "
                "forward(x) first."
            )
        return self._cache


def he_normal(shape: tuple[int, ...], fan_in: int, seed: Seed) -> Array:
    r"""Draw initial weights that keep the scale of values from layer to layer.

    A ReLU sets half of the values to 0; a variance of :math:`2 / n` for :math:`n`
    inputs of each output makes up for it.

    Parameters
    ----------
    shape : tuple of int
        Of the weights.
    fan_in : int
        Inputs that one output sums over, :math:`n`.
    seed : int or numpy Generator
        One Generator for all layers of a network makes them differ.

    Returns
    -------
    ndarray of float32

    Source
    ------
    He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015, equation 10.

    Examples
    --------
    >>> W = he_normal((3, 3, 64, 64), fan_in=3 * 3 * 64, seed=0)
    >>> round(float(W.var() * 3 * 3 * 64), 2)
    2.0
    """
    rng = np.random.default_rng(seed)
    return rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)


def check_counts(layer: Layer, **counts: Any) -> None:
    """Refuse sizes that are not whole numbers from 1 on, such as ``kernel=(3, 3)``."""
    for name, value in counts.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, np.integer))
            or value < 1
        ):
            raise ValueError(
                f"{type(layer).__name__} got {name}={value!r}; it must be an integer, "
                "1 or more. Windows are square: one number for both sides."
            )


def check_input(layer: Layer, x: Array, ndim: int | None, channels: int | None) -> None:
    """Refuse an input that a layer cannot take, naming both."""
    kind = type(layer).__name__
    if not isinstance(x, np.ndarray) or not np.issubdtype(x.dtype, np.floating):
        what = f"of {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(
            f"{kind} got x {what}; it must be a NumPy array of floats, such as "
            "x.astype(np.float32)."
        )
    fits = ndim is None or x.ndim == ndim
    if not fits or (channels is not None and x.shape[-1] != channels):
        last = "C" if channels is None else channels
        expected = f"(N, H, W, {last})" if ndim == 4 else f"(..., {last})"
        raise ValueError(f"{kind} got x of shape {x.shape}; it must be {expected}.")
