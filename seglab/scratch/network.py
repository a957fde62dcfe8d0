"""Layers one after the other."""

from __future__ import annotations

from typing import Any

from numpy.typing import DTypeLike
from threadpoolctl import ThreadpoolController

from seglab.scratch.layer import Array, Layer

_THREADS = ThreadpoolController()
"""Of NumPy's matrix product. Its threads wait for each other in busy loops after each
of a network's many small products. On a machine with other work to do they wait long:
a step then took 4 to 9 times as long with two threads as with one, and as much more
processor time. One thread also sums in the same order on every machine."""


class Sequential(Layer):
    """A network whose layers feed each other in a row. It is itself a layer.

    Its parameters are those of its layers, under names such as ``"0.W"``: the layer's
    place and the parameter's name. While it computes, NumPy uses one processor core.

    Parameters
    ----------
    *layers : Layer
        From input to output.

    Examples
    --------
    >>> import numpy as np
    >>> from seglab.scratch import SGD, Conv2D, CrossEntropy, ReLU
    >>> rng = np.random.default_rng(0)
    >>> network = Sequential(
    ...     Conv2D(1, 4, 3, padding="same", seed=rng), ReLU(), Conv2D(4, 2, 1, seed=rng)
    ... )
    >>> list(network.params)
    ['0.W', '0.b', '2.W', '2.b']

    A training step, in full:

    >>> x, y = rng.normal(size=(8, 16, 16, 1)), rng.integers(0, 2, (8, 16, 16))
    >>> loss, optimizer = CrossEntropy(), SGD(learning_rate=0.1)
    >>> before = loss.forward(network.forward(x, training=True), y)
    >>> _ = network.backward(loss.backward())
    >>> optimizer.step(network)
    >>> loss.forward(network.forward(x), y) < before
    True
    """

    def __init__(self, *layers: Layer) -> None:
        super().__init__()
        for i, layer in enumerate(layers):
            _check_layer(i, layer)
        self.layers = layers

    @property
    def params(self) -> dict[str, Array]:
        """Parameters of all layers; the arrays themselves, not copies."""
        return {
            f"{i}.{name}": value
            for i, layer in enumerate(self.layers)
            for name, value in layer.params.items()
        }

    @property
    def grads(self) -> dict[str, Array]:
        """Gradients of all parameters, by the same names."""
        return {
            f"{i}.{name}": value
            for i, layer in enumerate(self.layers)
            for name, value in layer.grads.items()
        }

    def forward(self, x: Array, training: bool = False) -> Array:
        """Pass x through all layers, from the first to the last."""
        with _THREADS.limit(limits=1, user_api="blas"):
            for layer in self.layers:
                x = layer.forward(x, training)
        return x

    def backward(self, grad: Array) -> Array:
        """Pass the gradient back, from the last layer to the first: the chain rule."""
        with _THREADS.limit(limits=1, user_api="blas"):
            for layer in reversed(self.layers):
                grad = layer.backward(grad)
        return grad

    def cast(self, dtype: DTypeLike) -> None:
        """Turn the parameters of all layers into another dtype."""
        for layer in self.layers:
            layer.cast(dtype)


def _check_layer(i: int, layer: Any) -> None:
    if not isinstance(layer, Layer):
        raise TypeError(
            f"entry {i} is a {type(layer).__name__}; Sequential takes layers one by "
            "one: Sequential(Conv2D(...), ReLU(), ...)."
        )
