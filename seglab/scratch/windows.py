"""All windows of an image as rows of a matrix, and the way back.

Convolution and pooling both look at an image through a window that moves over it.
Written as a matrix with one row for each position of the window, convolution is a
matrix product and pooling a maximum over columns.
"""

from __future__ import annotations

import numpy as np

from seglab.geometry import Padding, conv_output, same_padding
from seglab.scratch.layer import Array


def im2col(
    x: Array,
    kernel: int,
    stride: int = 1,
    padding: Padding = "valid",
    dilation: int = 1,
    *,
    fill: float = 0.0,
) -> Array:
    """Copy each window of a batch of images into a row.

    Parameters
    ----------
    x : ndarray of float, shape (N, H, W, C)
        Images or feature maps.
    kernel, stride, dilation : int
        Side of the window, steps between windows, distance of its taps.
    padding : "same", "valid" or int
        As in `seglab.geometry.conv_output`.
    fill : float, default 0.0
        Value of the padding.

    Returns
    -------
    ndarray, shape (N, H', W', kernel, kernel, C)
        Entry ``[n, i, j, a, b, c]`` is what the window at output (i, j) sees at its tap
        (a, b): ``x[n, i * stride + a * dilation, j * stride + b * dilation, c]`` of the
        padded images. Reshaped to two axes it is the matrix.

    Raises
    ------
    ValueError
        When the window does not fit.

    Examples
    --------
    >>> x = np.arange(9.0).reshape(1, 3, 3, 1)
    >>> im2col(x, kernel=2).reshape(4, 4)  # four windows of four pixels
    array([[0., 1., 3., 4.],
           [1., 2., 4., 5.],
           [3., 4., 6., 7.],
           [4., 5., 7., 8.]])
    """
    N, H, W, C = x.shape
    rows = conv_output(H, kernel, stride, padding, dilation)  # H'
    cols = conv_output(W, kernel, stride, padding, dilation)  # W'
    vertical = pads(H, kernel, stride, padding, dilation)
    horizontal = pads(W, kernel, stride, padding, dilation)
    if any(vertical + horizontal):
        borders = ((0, 0), vertical, horizontal, (0, 0))
        x = np.pad(x, borders, constant_values=fill)
    windows = np.empty((N, rows, cols, kernel, kernel, C), x.dtype)
    for a in range(kernel):
        for b in range(kernel):
            # What all windows see at tap (a, b) is the image, shifted and thinned.
            down = _taps(a, rows, stride, dilation)
            across = _taps(b, cols, stride, dilation)
            windows[:, :, :, a, b] = x[:, down, across]
    return windows


def col2im(
    windows: Array,
    shape: tuple[int, ...],
    kernel: int,
    stride: int = 1,
    padding: Padding = "valid",
    dilation: int = 1,
) -> Array:
    """Add each window back to where `im2col` took it from.

    The transpose of `im2col`, which is linear: a pixel that was copied into nine
    windows gets the sum of nine values. Backward passes are made of it.

    Parameters
    ----------
    windows : ndarray of float, shape (N, H', W', kernel, kernel, C)
        As `im2col` gives them.
    shape : (N, H, W, C)
        Shape of the images.
    kernel, stride, padding, dilation
        As they were passed to `im2col`.

    Returns
    -------
    ndarray, shape (N, H, W, C)

    Examples
    --------
    >>> ones = np.ones((1, 2, 2, 2, 2, 1))
    >>> col2im(ones, (1, 3, 3, 1), kernel=2)[0, ..., 0]  # windows over each pixel
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    N, H, W, C = shape
    _, rows, cols, *_ = windows.shape
    top, bottom = pads(H, kernel, stride, padding, dilation)
    left, right = pads(W, kernel, stride, padding, dilation)
    x = np.zeros((N, top + H + bottom, left + W + right, C), windows.dtype)
    for a in range(kernel):
        for b in range(kernel):
            # Copied to be contiguous: adding is then over twice as fast.
            seen = np.ascontiguousarray(windows[:, :, :, a, b])  # (N, H', W', C)
            down = _taps(a, rows, stride, dilation)
            across = _taps(b, cols, stride, dilation)
            x[:, down, across] += seen
    return x[:, top : top + H, left : left + W]


def pads(
    size: int, kernel: int, stride: int, padding: Padding, dilation: int = 1
) -> tuple[int, int]:
    """Pixels of padding before and after one axis, from a number or Keras's words.

    Parameters
    ----------
    size, kernel, stride, dilation : int
        Along one axis.
    padding : "same", "valid" or int

    Returns
    -------
    (int, int)

    Examples
    --------
    >>> pads(8, kernel=3, stride=2, padding="same"), pads(8, 3, 2, padding=1)
    ((0, 1), (1, 1))
    """
    if padding == "same":
        return same_padding(size, kernel, stride, dilation)
    p = 0 if isinstance(padding, str) else padding
    return p, p


def _taps(tap: int, count: int, stride: int, dilation: int) -> slice:
    """Where `count` windows have one of their taps, along one axis."""
    first = tap * dilation
    return slice(first, first + (count - 1) * stride + 1, stride)
