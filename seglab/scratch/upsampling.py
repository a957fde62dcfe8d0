"""Upsampling without parameters: repeat pixels, or interpolate between them."""

from __future__ import annotations

import numpy as np

from seglab.scratch.layer import Array, Layer, check_counts, check_input


class UpSample(Layer):
    r"""Enlarge feature maps by a whole factor.

    Interpolation is linear, and the same along each axis, so it is two matrices:
    :math:`Y = A X B^T` for each channel, and :math:`A^T G B` on the way back.

    Parameters
    ----------
    factor : int, default 2
        How many times as high and as wide.
    interpolation : {"nearest", "bilinear"}, default "nearest"
        Repeat each pixel, or interpolate between pixel centers; beyond the outermost
        centers the value stays.

    Examples
    --------
    >>> x = np.array([0.0, 4.0]).reshape(1, 1, 2, 1)
    >>> UpSample(2).forward(x)[0, 0, :, 0]
    array([0., 0., 4., 4.])
    >>> UpSample(2, "bilinear").forward(x)[0, 0, :, 0]
    array([0., 1., 3., 4.])
    """

    def __init__(self, factor: int = 2, interpolation: str = "nearest") -> None:
        super().__init__()
        check_counts(self, factor=factor)
        if interpolation not in ("nearest", "bilinear"):
            raise ValueError(
                f'interpolation is {interpolation!r}; it must be "nearest" or '
                '"bilinear".'
            )
        self.factor, self.interpolation = factor, interpolation

    def forward(self, x: Array, training: bool = False) -> Array:
        """Enlarge x, of shape (N, H, W, C)."""
        check_input(self, x, ndim=4, channels=None)
        A, B = (
            interpolation_matrix(size, self.factor, self.interpolation).astype(x.dtype)
            for size in x.shape[1:3]
        )  # (factor H, H) and (factor W, W)
        self._cache = A, B
        return _both_axes(A, x, B)

    def backward(self, grad: Array) -> Array:
        """Give each pixel the gradients of what it was spread to."""
        A, B = self._recall()
        return _both_axes(A.T, grad, B.T)


def interpolation_matrix(size: int, factor: int, interpolation: str) -> Array:
    """Weights that interpolate `size` values to `factor` times as many.

    Parameters
    ----------
    size, factor : int
    interpolation : {"nearest", "bilinear"}

    Returns
    -------
    ndarray of float64, shape (factor * size, size)
        Each row sums to 1.

    Examples
    --------
    >>> interpolation_matrix(2, 2, "bilinear")
    array([[1.  , 0.  ],
           [0.75, 0.25],
           [0.25, 0.75],
           [0.  , 1.  ]])
    """
    rows = np.arange(factor * size)
    if interpolation == "nearest":
        position = rows // factor + 0.0
    else:
        # The center of new pixel i, in old pixels, kept between the outermost centers.
        position = np.clip((rows + 0.5) / factor - 0.5, 0, size - 1)
    distance = np.abs(position[:, None] - np.arange(size))  # (factor size, size)
    weights: Array = np.maximum(1 - distance, 0)
    return weights


def _both_axes(A: Array, x: Array, B: Array) -> Array:
    """Multiply x (N, H, W, C) by A along its height and by B along its width."""
    y: Array = np.einsum("ih,nhwc,jw->nijc", A, x, B, optimize=True)
    return y
