"""Pooling, and the unpooling that puts values back to where they came from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seglab.geometry import Padding
from seglab.scratch.layer import Array, Layer, check_counts, check_input
from seglab.scratch.windows import col2im, im2col, pads


class MaxPool2D(Layer):
    """The largest value of each window, channel by channel.

    It tells that something is there and forgets where; `indices` remember. The
    gradient goes to the pixel that was the largest, and to no other.

    Parameters
    ----------
    size : int, default 2
        Side of the window.
    stride : int, optional
        Steps between windows; `size` unless given.
    padding : "valid", "same" or int, default "valid"
        Padding never wins: it counts as minus infinity.

    Attributes
    ----------
    indices : ndarray of int, shape (N, H', W', C)
        After `forward`: where each maximum was, as ``row * W + column`` in its channel.
        Of equal values, the first.

    Examples
    --------
    >>> x = np.array([[1.0, 5, 2, 0], [3, 4, 0, 9]]).reshape(1, 2, 4, 1)
    >>> layer = MaxPool2D()
    >>> layer.forward(x).ravel(), layer.indices.ravel()
    (array([5., 9.]), array([1, 7]))
    >>> layer.backward(np.array([10.0, 20.0]).reshape(1, 1, 2, 1))[0, ..., 0]
    array([[ 0., 10.,  0.,  0.],
           [ 0.,  0.,  0., 20.]])
    """

    def __init__(
        self, size: int = 2, stride: int | None = None, padding: Padding = "valid"
    ) -> None:
        super().__init__()
        self.size, self.stride = size, size if stride is None else stride
        self.padding = padding
        _check_window(self, self.size, self.stride, padding)
        self.indices: NDArray[np.intp] = np.empty(0, np.intp)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Pool x, of shape (N, H, W, C), to (N, H', W', C)."""
        check_input(self, x, ndim=4, channels=None)
        _, H, W, C = x.shape
        windows = im2col(x, self.size, self.stride, self.padding, fill=-np.inf)
        N, rows, cols, *_ = windows.shape
        windows = windows.reshape(N, rows, cols, self.size**2, C)
        tap = windows.argmax(axis=3)  # (N, H', W', C)
        y = np.take_along_axis(windows, tap[:, :, :, None], axis=3)[:, :, :, 0]

        # From a place in the window to a place in the image.
        top, _ = pads(H, self.size, self.stride, self.padding)
        left, _ = pads(W, self.size, self.stride, self.padding)
        i = np.arange(rows)[:, None, None] * self.stride - top  # (H', 1, 1)
        j = np.arange(cols)[:, None] * self.stride - left  # (W', 1)
        self.indices = (i + tap // self.size) * W + (j + tap % self.size)
        self._cache = x.shape
        return y

    def backward(self, grad: Array) -> Array:
        """Send dL/dy to where the maxima were."""
        return _scatter(grad, self.indices, self._recall())

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the last input, (N, H, W, C)."""
        shape: tuple[int, ...] = self._recall()
        return shape


class MaxUnpool2D(Layer):
    """Put values back to where a `MaxPool2D` found its maxima; zeros elsewhere.

    The decoder of SegNet: the values are new, the places are the encoder's.

    Parameters
    ----------
    pool : MaxPool2D
        Its last `forward` says where to, and how large the output is. Its windows must
        not overlap, so that no two values meet.

    Source
    ------
    Badrinarayanan, Kendall and Cipolla, "SegNet", TPAMI 39 (2017), section 3.

    Examples
    --------
    >>> pool = MaxPool2D()
    >>> x = np.array([[1.0, 5], [3, 4]]).reshape(1, 2, 2, 1)
    >>> MaxUnpool2D(pool).forward(2 * pool.forward(x))[0, ..., 0]
    array([[ 0., 10.],
           [ 0.,  0.]])
    """

    def __init__(self, pool: MaxPool2D) -> None:
        super().__init__()
        if pool.stride < pool.size:
            raise ValueError(
                f"the pooling has windows of side {pool.size} every {pool.stride} "
                "pixels, which overlap: two values may go to one pixel. Unpooling "
                "needs a stride of at least the size."
            )
        self.pool = pool

    def forward(self, x: Array, training: bool = False) -> Array:
        """Unpool x, of the shape that the pooling gave, to that of its input."""
        shape = self.pool.input_shape
        if x.shape != self.pool.indices.shape:
            raise ValueError(
                f"MaxUnpool2D got x of shape {x.shape}; its pooling gave "
                f"{self.pool.indices.shape}, and there is one place for each value."
            )
        self._cache = self.pool.indices, shape
        return _scatter(x, self.pool.indices, shape)

    def backward(self, grad: Array) -> Array:
        """Collect dL/dy from where the values were put."""
        indices, (N, H, W, C) = self._recall()
        planes = grad.reshape(N, H * W, C)
        return np.take_along_axis(planes, indices.reshape(N, -1, C), axis=1).reshape(
            indices.shape
        )


class AveragePool2D(Layer):
    """The mean of each window, channel by channel.

    Parameters
    ----------
    size : int, default 2
        Side of the window.
    stride : int, optional
        Steps between windows; `size` unless given.
    padding : "valid", "same" or int, default "valid"
        Padding is not counted, as in Keras: a window at the border is the mean of its
        pixels of the image.

    Examples
    --------
    >>> x = np.array([[1.0, 5, 2, 0], [3, 7, 0, 2]]).reshape(1, 2, 4, 1)
    >>> AveragePool2D().forward(x).ravel()
    array([4., 1.])
    """

    def __init__(
        self, size: int = 2, stride: int | None = None, padding: Padding = "valid"
    ) -> None:
        super().__init__()
        self.size, self.stride = size, size if stride is None else stride
        self.padding = padding
        _check_window(self, self.size, self.stride, padding)

    @property
    def _window(self) -> tuple[int, int, Padding]:
        return self.size, self.stride, self.padding

    def forward(self, x: Array, training: bool = False) -> Array:
        """Pool x, of shape (N, H, W, C), to (N, H', W', C)."""
        check_input(self, x, ndim=4, channels=None)
        windows = im2col(x, *self._window)  # (N, H', W', size, size, C)
        inside = np.ones((1, *x.shape[1:3], 1), x.dtype)
        count = im2col(inside, *self._window).sum(axis=(3, 4))  # (1, H', W', 1)
        self._cache = count, windows.shape, x.shape
        y: Array = windows.sum(axis=(3, 4)) / count
        return y

    def backward(self, grad: Array) -> Array:
        """Share dL/dy equally among the pixels of each window."""
        count, windows_shape, x_shape = self._recall()
        share = (grad / count)[:, :, :, None, None]  # (N, H', W', 1, 1, C)
        return col2im(np.broadcast_to(share, windows_shape), x_shape, *self._window)


def _scatter(values: Array, indices: NDArray[np.intp], shape: tuple[int, ...]) -> Array:
    """Add values (N, H', W', C) at their places in zeros of `shape`, (N, H, W, C)."""
    N, H, W, C = shape
    image = np.arange(N)[:, None, None, None]
    flat = (image * H * W + indices) * C + np.arange(C)  # places in the whole array
    sums = np.bincount(flat.ravel(), weights=values.ravel(), minlength=N * H * W * C)
    return sums.astype(values.dtype).reshape(shape)


def _check_window(layer: Layer, size: int, stride: int, padding: Padding) -> None:
    check_counts(layer, size=size, stride=stride)
    if not isinstance(padding, str) and not 0 <= padding < size:
        raise ValueError(
            f"padding is {padding} with windows of side {size}: it must be at least 0 "
            "and below the side, or a window would hold padding alone."
        )
