"""Transposed convolution: a convolution's matrix, transposed."""

from __future__ import annotations

import numpy as np

from seglab.geometry import Padding, transposed_conv_output
from seglab.scratch.layer import (
    Array,
    Layer,
    Seed,
    check_counts,
    check_input,
    he_normal,
)
from seglab.scratch.windows import col2im, im2col


class ConvTranspose2D(Layer):
    r"""Upsample with learned kernels: each pixel stamps a kernel onto the output.

    A convolution is linear: :math:`y = Ax` for a matrix A made of its kernel. This
    layer multiplies by :math:`A^T`, so its forward pass is that convolution's backward
    pass and the other way round. It undoes the convolution's change of size, not the
    convolution. Kernels whose side is no multiple of the stride overlap unevenly, which
    shows as a checkerboard.

    Parameters
    ----------
    in_channels, out_channels : int
        C and D: of this layer, not of the convolution.
    kernel : int
        Side k of the kernel.
    stride : int, default 1
        The factor of upsampling.
    padding : "valid", "same" or int, default "valid"
        What is taken off the output; see `seglab.geometry.transposed_conv_output`.
    bias : bool, default True
        Whether a bias is added.
    seed : int or numpy Generator, default 0
        For the initial weights.

    Notes
    -----
    ``params["W"]`` has shape (k, k, D, C), as in Keras: that of the convolution from D
    to C channels whose transpose this is.

    Source
    ------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016),
    section 4.1.

    Examples
    --------
    >>> layer = ConvTranspose2D(1, 1, kernel=3, stride=2)
    >>> layer.params["W"][:] = 1
    >>> layer.forward(np.array([[1.0, 10.0]]).reshape(1, 1, 2, 1))[0, 0, :, 0]
    array([ 1.,  1., 11., 10., 10.])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        padding: Padding = "valid",
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
        )
        self.kernel, self.stride, self.padding = kernel, stride, padding
        shape = (kernel, kernel, out_channels, in_channels)
        # An output pixel is reached by (k / s)^2 of the kernel's taps.
        fan_in = max(kernel * kernel * in_channels // stride**2, 1)
        self.params["W"] = he_normal(shape, fan_in, seed)
        if bias:
            self.params["b"] = np.zeros(out_channels, np.float32)

    @property
    def _window(self) -> tuple[int, int, Padding]:
        return self.kernel, self.stride, self.padding

    def forward(self, x: Array, training: bool = False) -> Array:
        """Upsample x, of shape (N, H, W, C), to (N, H', W', D)."""
        weights = self.params["W"]
        k, _, D, C = weights.shape
        check_input(self, x, ndim=4, channels=C)
        N, H, W, _ = x.shape
        rows, cols = (transposed_conv_output(size, *self._window) for size in (H, W))
        X = x.reshape(-1, C)  # (N H W, C)
        stamps = X @ weights.reshape(-1, C).T  # (N H W, k k D)
        stamps = stamps.reshape(N, H, W, k, k, D)
        y = col2im(stamps, (N, rows, cols, D), *self._window)  # where they overlap: sum
        if "b" in self.params:
            y = y + self.params["b"]
        self._cache = X, x.shape
        return y

    def backward(self, grad: Array) -> Array:
        """Take dL/dy, of shape (N, H', W', D), to dL/dx of shape (N, H, W, C)."""
        X, x_shape = self._recall()
        weights = self.params["W"]
        k, _, D, C = weights.shape
        G = im2col(grad, *self._window).reshape(-1, k * k * D)  # (N H W, k k D)
        self.grads["W"] = (G.T @ X).reshape(weights.shape)
        if "b" in self.params:
            self.grads["b"] = grad.sum(axis=(0, 1, 2))
        return (G @ weights.reshape(-1, C)).reshape(x_shape)
