"""Max pooling that remembers where, and the unpooling that puts values back there.

Max pooling forgets which of its four pixels was the largest. SegNet keeps that one
number, 2 bits for each window and channel, and its decoder puts each value back where
the maximum was. What was sharp in the encoder is sharp again, at no parameter::

    1 5 | 2 0         5 | 9       1 | 3             0 a | 0 0
    3 4 | 0 9   ->    values      indices,   a b -> 0 0 | 0 b
                                  0 1
                                  2 3

Both are made of `keras.ops` alone, so that they run, compile and export on each
backend. The indices are held as int32: no backend stores 2 bits.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from seglab.geometry import conv_output

_PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Row and column of a window's four pixels, as the indices count them."""


@keras.saving.register_keras_serializable(package="seglab")
class MaxPoolingWithIndices2D(layers.MaxPooling2D):
    """The largest value of each 2x2 window, channel by channel, and where it was.

    Of equal values the first one is the largest, in the order of reading, so that
    there is one index for each window, and the gradient goes to one pixel.

    An odd height or width gets a last window that sticks out over the border, as in
    Caffe, for which SegNet was written: 45 rows give 23. No maximum lies outside.

    Parameters
    ----------
    **kwargs
        Of `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1.0, 5, 2, 0], [3, 4, 0, 9]]).reshape(1, 2, 4, 1)
    >>> values, indices = MaxPoolingWithIndices2D()(x)
    >>> keras.ops.convert_to_numpy(values).ravel()
    array([5., 9.], dtype=float32)
    >>> keras.ops.convert_to_numpy(indices).ravel()
    array([1, 3], dtype=int32)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(pool_size=2, strides=2, padding="same", **kwargs)

    def call(self, images: Any) -> tuple[Any, Any]:
        """Pool images, (N, H, W, C).

        Returns
        -------
        values : float, (N, ceil(H / 2), ceil(W / 2), C)
        indices : int32, the same shape
            0, 1, 2, 3: upper left, upper right, lower left, lower right.
        """
        values = super().call(images)
        H, W = ops.shape(images)[1:3]
        # An odd last row is repeated: its copy equals it, and of equals the first wins.
        if not _is_even(H):
            images = ops.concatenate([images, images[:, H // 2 * 2 :]], axis=1)
        if not _is_even(W):
            images = ops.concatenate([images, images[:, :, W // 2 * 2 :]], axis=2)
        # Not ops.argmax: on TensorFlow neither ONNX nor LiteRT can express Keras's.
        indices = ops.full_like(values, 3, dtype="int32")
        for place in (2, 1, 0):
            i, j = _PLACES[place]
            largest = ops.equal(images[:, i::2, j::2], values)  # (N, H', W', C)
            indices = ops.where(largest, place, indices)
        return values, indices

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, Any]:
        """Give the shapes of values and indices."""
        N, H, W, C = input_shape
        halves = (
            None if s is None else conv_output(s, 2, 2, padding="same") for s in (H, W)
        )
        shape = (N, *halves, C)
        return shape, shape

    def compute_output_spec(self, images: Any) -> tuple[Any, Any]:
        """Give shapes and dtypes: indices stay integers in mixed precision."""
        values, indices = self.compute_output_shape(images.shape)
        return (
            keras.KerasTensor(values, self.compute_dtype),
            keras.KerasTensor(indices, "int32"),
        )

    def get_config(self) -> dict[str, Any]:
        """Give what rebuilds the layer from a file."""
        config: dict[str, Any] = layers.Layer.get_config(self)  # the rest is fixed
        return config


@keras.saving.register_keras_serializable(package="seglab")
class MaxUnpooling2D(layers.Layer):
    """Put each value back to where `MaxPoolingWithIndices2D` found its maximum.

    All other places are zero. The values are usually not the pooled ones, but what a
    decoder has made of them since.

    Parameters
    ----------
    **kwargs
        Of `keras.layers.Layer`.

    Source
    ------
    Badrinarayanan, Kendall and Cipolla, "SegNet", TPAMI 39 (2017), section 3; the
    layer ``Upsample`` of the authors' Caffe.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1.0, 5, 2, 0], [3, 4, 0, 9]]).reshape(1, 2, 4, 1)
    >>> values, indices = MaxPoolingWithIndices2D()(x)
    >>> y = MaxUnpooling2D()([10 * values, indices, x])
    >>> keras.ops.convert_to_numpy(y)[0, ..., 0]
    array([[ 0., 50.,  0.,  0.],
           [ 0.,  0.,  0., 90.]], dtype=float32)
    """

    def call(self, inputs: Any) -> Any:
        """Unpool.

        Parameters
        ----------
        inputs : [values, indices, like]
            ``values``, float (N, H', W', C); ``indices`` of the pooling, of the same
            shape; ``like``, (N, H, W, any): what was pooled, for its size alone. A
            pooled size of 23 may come from 45 or 46.

        Returns
        -------
        float, (N, H, W, C)
        """
        values, indices, like = inputs
        _, h, w, C = ops.shape(values)
        H, W = ops.shape(like)[1:3]
        placed = [_at(place, indices, values) for place in range(4)]
        upper, lower = (  # rows, (N, h, 2 w, C)
            ops.reshape(ops.concatenate(pair, axis=-1), (-1, h, 2 * w, C))
            for pair in (placed[:2], placed[2:])
        )
        whole = ops.reshape(
            ops.concatenate([upper, lower], axis=2), (-1, 2 * h, 2 * w, C)
        )
        return whole[:, :H, :W]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Give the shape of the output from those of the three inputs."""
        values, _, like = input_shape
        return (*like[:3], values[3])

    def compute_output_spec(self, inputs: Any) -> Any:
        """Give shape and dtype of the output."""
        shape = self.compute_output_shape([x.shape for x in inputs])
        return keras.KerasTensor(shape, self.compute_dtype)


def _at(place: int, indices: Any, values: Any) -> Any:
    """Keep the values whose index is a place; zeros else."""
    return ops.where(ops.equal(indices, place), values, ops.zeros((), values.dtype))


def _is_even(size: Any) -> bool:
    """Whether a size is known to be even."""
    return isinstance(size, int) and size % 2 == 0
