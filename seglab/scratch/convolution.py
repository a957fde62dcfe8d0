"""Convolution: as loops that are its formula, and as a matrix product."""

from __future__ import annotations

import numpy as np

from seglab.geometry import Padding, conv_output
from seglab.scratch.layer import (
    Array,
    Layer,
    Seed,
    check_counts,
    check_input,
    he_normal,
)
from seglab.scratch.windows import col2im, im2col, pads


def conv2d_loops(
    x: Array,
    W: Array,
    b: Array | None = None,
    stride: int = 1,
    padding: Padding = "valid",
    dilation: int = 1,
) -> Array:
    r"""Convolve by the definition: one loop for each index.

    To be read, not to be used: `Conv2D` gives the same thousands of times faster. Like
    every deep-learning library it does not flip the kernel, so a mathematician would
    call it cross-correlation.

    Parameters
    ----------
    x : ndarray of float, shape (N, H, W, C)
        Images or feature maps.
    W : ndarray of float, shape (k, k, C, D)
        Kernels: one for each of D output channels, over all C input channels.
    b : ndarray of float, shape (D,), optional
        Bias.
    stride, padding, dilation
        As in `seglab.geometry.conv_output`.

    Returns
    -------
    ndarray of float, shape (N, H', W', D)
        :math:`y_{nijd} = b_d + \sum_{u,v,c} W_{uvcd} \,
        x_{n,\,is + ur,\,js + vr,\,c}` with stride s and dilation r, in the padded x.

    Raises
    ------
    ValueError
        When the window does not fit.

    Examples
    --------
    >>> x = np.array([[0.0, 0, 1, 1]] * 3).reshape(1, 3, 4, 1)  # an edge
    >>> W = np.array([[-1.0, 0, 1]] * 3).reshape(3, 3, 1, 1)
    >>> conv2d_loops(x, W)[0, ..., 0]
    array([[3., 3.]])
    """
    (N, _, _, C), (k, _, _, D) = x.shape, W.shape
    rows, cols = (conv_output(s, k, stride, padding, dilation) for s in x.shape[1:3])
    vertical, horizontal = (pads(s, k, stride, padding, dilation) for s in x.shape[1:3])
    x = np.pad(x, ((0, 0), vertical, horizontal, (0, 0)))
    y = np.zeros((N, rows, cols, D), x.dtype)
    for n in range(N):
        for i in range(rows):
            for j in range(cols):
                for d in range(D):
                    total = 0.0 if b is None else b[d]
                    for u in range(k):
                        for v in range(k):
                            for c in range(C):
                                row = i * stride + u * dilation
                                col = j * stride + v * dilation
                                total += W[u, v, c, d] * x[n, row, col, c]
                    y[n, i, j, d] = total
    return y


class Conv2D(Layer):
    r"""Convolution as one matrix product.

    With the windows as rows of a matrix X, of shape (N H' W', k k C), and the kernels
    as columns of W, of shape (k k C, D), the layer is :math:`Y = XW + b`: a dense
    layer that each window goes through. Hence :math:`\partial L / \partial W = X^T G`
    and :math:`\partial L / \partial X = G W^T`, with G the gradient with respect to Y;
    what a pixel did in several windows adds up.

    Parameters
    ----------
    in_channels, out_channels : int
        C and D.
    kernel : int
        Side k of the kernel.
    stride : int, default 1
        Steps between windows.
    padding : "valid", "same" or int, default "valid"
        As in Keras; a number pads each end by as many zeros.
    dilation : int, default 1
        Distance between the kernel's taps.
    bias : bool, default True
        Whether a bias is added.
    seed : int or numpy Generator, default 0
        For the initial weights (`he_normal`). Pass one Generator to all layers.

    Notes
    -----
    ``params["W"]`` has shape (k, k, C, D) and ``params["b"]`` (D,), as in Keras.

    Examples
    --------
    >>> layer = Conv2D(1, 8, kernel=3, padding="same")
    >>> layer.forward(np.ones((2, 32, 32, 1), np.float32)).shape
    (2, 32, 32, 8)
    >>> layer.backward(np.ones((2, 32, 32, 8), np.float32)).shape
    (2, 32, 32, 1)
    >>> layer.grads["b"][0]  # the bias is added at every pixel
    np.float32(2048.0)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        padding: Padding = "valid",
        dilation: int = 1,
        *,
        bias: bool = True,
        seed: Seed = 0,
    ) -> None:
        super().__init__()
        check_counts(
            self,
            in_channels=in_channels,
            out_channels=out_channels,
            kernel=kernel,
            stride=stride,
            dilation=dilation,
        )
        self.kernel, self.stride = kernel, stride
        self.padding, self.dilation = padding, dilation
        shape = (kernel, kernel, in_channels, out_channels)
        self.params["W"] = he_normal(shape, kernel * kernel * in_channels, seed)
        if bias:
            self.params["b"] = np.zeros(out_channels, np.float32)

    @property
    def _window(self) -> tuple[int, int, Padding, int]:
        return self.kernel, self.stride, self.padding, self.dilation

    def forward(self, x: Array, training: bool = False) -> Array:
        """Convolve x, of shape (N, H, W, C), to (N, H', W', D)."""
        W = self.params["W"]
        k, _, C, D = W.shape
        check_input(self, x, ndim=4, channels=C)
        windows = im2col(x, *self._window)  # (N, H', W', k, k, C)
        X = windows.reshape(-1, k * k * C)  # (N H' W', k k C)
        Y = X @ W.reshape(-1, D)  # (N H' W', D)
        if "b" in self.params:
            Y = Y + self.params["b"]
        self._cache = X, windows.shape, x.shape
        return Y.reshape(*windows.shape[:3], D)

    def backward(self, grad: Array) -> Array:
        """Take dL/dy, of shape (N, H', W', D), to dL/dx of shape (N, H, W, C)."""
        X, windows_shape, x_shape = self._recall()
        W = self.params["W"]
        D = W.shape[-1]
        G = grad.reshape(-1, D)  # (N H' W', D)
        self.grads["W"] = (X.T @ G).reshape(W.shape)
        if "b" in self.params:
            self.grads["b"] = G.sum(axis=0)
        windows = (G @ W.reshape(-1, D).T).reshape(windows_shape)
        return col2im(windows, x_shape, *self._window)
