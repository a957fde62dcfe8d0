r"""FCN: a classifier made fully convolutional, and skips that give back detail.

The networks of Long, Shelhamer and Darrell, "Fully Convolutional Networks for
Semantic Segmentation", CVPR 2015, read from left to right of its Figure 3. The VGG16
classifier pools five times; each score map below is summed with the one that comes
from the right, upsampled::

    image   pool1   pool2   pool3    pool4    pool5
      o-------o-------o-------o--------o--------o--- fc6 --- fc7
                              |        |                      |
                          score_pool3  score_pool4        score_fr    1x1 convolutions
                              |        |                      |
                              +-- x2 --+-------- x2 ----------+
                              |        |                      |
                             x8       x16                    x32      back to pixels
                           FCN-8s    FCN-16s                FCN-32s

What makes it *fully* convolutional: the classifier's dense layers fc6 and fc7 are
convolutions, of 7x7 and of 1x1, with the same weights. So an image of any size goes
in, and instead of one score for each class a map of them comes out, 32 pixels from
one to the next. Bilinear interpolation brings it back to pixels; it is a transposed
convolution whose kernel is `bilinear_kernel`.

Where this departs from the paper, and why:

* The weights are drawn (He initialization), not taken from a VGG16 that was trained on
  ImageNet, so nothing has to be fetched. The paper holds training from scratch to be
  "not feasible considering the time required"; for its size and its photographs. A
  network of ``width=8`` on images of 64 x 64 pixels learns in minutes.
* ``padding="same"`` (default) is what one would build today: see `fcn`. The paper's is
  ``padding="paper"``.
* Poolings round sizes up in both, as Caffe's do: a window that sticks out at the far
  end takes the largest of what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from seglab.models._shared import (
    MOMENTUM,
    check_arguments,
    check_choice,
    check_dropout,
)

_CONVOLUTIONS = (2, 2, 3, 3, 3)
"""VGG16's 3x3 convolutions before each pooling (Simonyan and Zisserman, ICLR 2015,
Table 1, column D)."""

_CHANNELS = (1, 2, 4, 8, 8)
"""Their channels, in units of the width: 64, 128, 256, 512, 512 for the paper's."""

_PAD = 100
"""Zeros that the paper's conv1_1 adds on each side: fc6, a 7x7 convolution without
padding, then has something to see for an image of a single pixel."""

_SKIP_OFFSETS = {16: 5, 8: 9}
"""Where the upsampled scores begin on the larger map of that stride: rows (and
columns) of the skip to leave out before. Published with the authors' networks."""

_OUTPUT_OFFSETS = {32: 19, 16: 27, 8: 31}
"""Where the image begins on the scores of FCN-32s, 16s and 8s back at pixels."""


def fcn(
    input_shape: Sequence[int | None],
    num_classes: int,
    *,
    stride: int = 8,
    padding: str = "same",
    width: int = 64,
    fc_channels: int | None = None,
    batch_norm: bool | None = None,
    dropout: float = 0.5,
    upsampling: str = "paper",
) -> keras.Model:
    """Build an FCN-32s, FCN-16s or FCN-8s that scores each class at each pixel.

    It takes images of any size, and its output is as large as the image. Seed with
    `seglab.device.set_seed` first: the initial weights are drawn here.

    Parameters
    ----------
    input_shape : (H, W, C)
        Shape of an image. H and W may be None: any size.
    num_classes : int
        Number of classes, background included; channels of the output.
    stride : {8, 16, 32}, default 8
        Pixels from one score to the next on the finest map that is scored. 32 uses
        the coarse map alone; 16 adds a skip from pool4, 8 another from pool3.
    padding : {"same", "paper"}
        "same": each layer pads so that maps cover the image and nothing more; what is
        too much at the far end after rounding up is cut off. "paper": 100 zeros
        around the image, a 7x7 convolution fc6 without padding, and the published
        crops. FCN-32s then scores 288 x 288 pixels for an image of 224 x 224.
    width : int, default 64
        Channels of the first block. 64 is the paper's VGG16 and needs a GPU; 8
        trains on a laptop.
    fc_channels : int, optional
        Channels of fc6 and fc7; ``64 * width`` unless given (the paper's 4096). They
        hold nine tenths of the weights: ``8 * width`` makes a light network.
    batch_norm : bool, optional
        Batch normalization between each convolution and its ReLU, in fc6 and fc7
        too. Unless given: True with "same", False with "paper", whose VGG16 has none.
    dropout : float, default 0.5
        Share of the values dropped after fc6 and after fc7.
    upsampling : {"paper", "fixed", "learned"}
        All upsampling starts as bilinear interpolation. "paper": the steps by 2 go on
        learning, the last one is fixed. "fixed": all are, as in the authors'
        published code. "learned": none is.

    Returns
    -------
    keras.Model
        From images, float (N, H, W, C), to logits, float32 (N, H, W, num_classes).
        The layers have the names of the authors' code: ``model.get_layer("fc6")``.

    Raises
    ------
    ValueError
        When an argument is out of range.

    Notes
    -----
    All score layers start at zero, as in the paper (section 4.3 for score_fr, 4.2 for
    the skips): a new network gives the logits 0, and a finer network that takes over
    a coarser one's weights starts from its predictions; see `transfer_weights`.

    A file of a saved network loads where `seglab.models` has been imported.

    Source
    ------
    Long, Shelhamer and Darrell (2015), Figure 3 and section 4; the authors' code
    (`net.py` and `train.prototxt` of voc-fcn32s, 16s and 8s) for paddings and crops.
    With ``padding="paper", width=64``, from three channels to 21 classes, FCN-8s has
    134 489 759 parameters, FCN-16s 134 815 994 and FCN-32s 136 152 917: the paper's
    134 million, and the kernels of the upsampling.

    Examples
    --------
    >>> model = fcn((64, 48, 1), num_classes=2, width=2)
    >>> model.output_shape
    (None, 64, 48, 2)
    >>> paper = fcn((500, 375, 3), num_classes=21, padding="paper", width=1)
    >>> paper.get_layer("fc6").output.shape[1:3], paper.get_layer("upscore8").strides
    ((16, 12), (8, 8))
    >>> paper.output_shape
    (None, 500, 375, 21)
    """
    fc_channels = 64 * width if fc_channels is None else fc_channels
    check_arguments(input_shape, num_classes, width=width, fc_channels=fc_channels)
    check_choice("stride", stride, (8, 16, 32))
    check_choice("padding", padding, ("same", "paper"))
    check_choice("upsampling", upsampling, ("paper", "fixed", "learned"))
    check_dropout(dropout)
    as_paper = padding == "paper"
    norm = not as_paper if batch_norm is None else batch_norm

    def conv(x: Any, channels: int, kernel: int, name: str, valid: bool = False) -> Any:
        """Convolve; normalize if asked; ReLU. The name is conv1_1 or fc6."""
        number = name.removeprefix("conv").removeprefix("fc")
        x = layers.Conv2D(
            channels,
            kernel,
            padding="valid" if valid else "same",
            use_bias=not norm,  # batch norm adds its own
            kernel_initializer="he_normal",
            name=name,
        )(x)
        if norm:
            x = layers.BatchNormalization(momentum=MOMENTUM, name=f"norm{number}")(x)
        return layers.ReLU(name=f"relu{number}")(x)

    # The predictions stay in float32 also when the rest is in half precision: few
    # channels, and the loss takes exponentials.
    def score(x: Any, name: str) -> Any:
        """Score each class at each unit: a linear classifier on the features."""
        return layers.Conv2D(
            num_classes, 1, kernel_initializer="zeros", dtype="float32", name=name
        )(x)

    def upsample(x: Any, factor: int, name: str) -> Any:
        """Interpolate between units, at first bilinearly."""
        last = factor == stride
        return layers.Conv2DTranspose(
            num_classes,
            2 * factor,
            strides=factor,
            padding="valid" if as_paper else "same",
            use_bias=False,
            kernel_initializer=Bilinear(),
            trainable=upsampling == "learned" or (upsampling == "paper" and not last),
            dtype="float32",
            name=name,
        )(x)

    image = keras.Input(tuple(input_shape), name="image")

    # VGG16, convolutions and poolings. Sizes are rounded up.
    x = layers.ZeroPadding2D(_PAD, name="pad")(image) if as_paper else image
    pools = {}
    for block, (times, channels) in enumerate(
        zip(_CONVOLUTIONS, _CHANNELS, strict=True), start=1
    ):
        for i in range(1, times + 1):
            # conv1_1 of the paper pads by _PAD instead of by 1
            valid = as_paper and block == i == 1
            x = conv(x, channels * width, 3, f"conv{block}_{i}", valid=valid)
        # Windows begin at the first pixel; one that sticks out at the end is cut.
        x = layers.MaxPooling2D(2, padding="same", name=f"pool{block}")(x)
        pools[2**block] = x  # (N, H / 2**block, W / 2**block, channels * width)

    # VGG16's dense layers, as convolutions: 7x7, since pool5 of its images is 7 x 7.
    for number, kernel in ((6, 7), (7, 1)):
        x = conv(x, fc_channels, kernel, f"fc{number}", valid=as_paper)
        if dropout:
            x = layers.Dropout(dropout, name=f"drop{number}")(x)

    # Figure 3, from the right: predict, upsample, add a finer prediction.
    scores = score(x, "score_fr")  # (N, H / 32, W / 32, num_classes)
    for now, name in ((16, "pool4"), (8, "pool3")):
        if now < stride:
            break
        coarse = "upscore2" if now == 16 else "upscore_pool4"
        scores = upsample(scores, 2, coarse)  # (N, H / now, W / now, num_classes)
        skip = score(pools[now], f"score_{name}")
        if as_paper:  # the map of the skip is the larger one
            skip = _crop(skip, scores, _SKIP_OFFSETS[now], f"score_{name}c")
        else:  # a row too many where the pooling rounded up
            scores = _crop(scores, skip, 0, f"{coarse}c")
        scores = layers.Add(dtype="float32", name=f"fuse_{name}")([scores, skip])
    scores = upsample(scores, stride, f"upscore{stride}")
    offset = _OUTPUT_OFFSETS[stride] if as_paper else 0
    logits = _crop(scores, image, offset, "score")  # (N, H, W, num_classes)
    return keras.Model(image, logits, name=f"fcn{stride}s")


def transfer_weights(source: keras.Model, target: keras.Model) -> tuple[str, ...]:
    """Give one FCN the weights of another, layer by layer, by name.

    The paper trains in stages: FCN-32s first, whose weights begin FCN-16s, whose
    weights begin FCN-8s. The skips of the finer network start at zero, so that it
    "starts with unmodified predictions" and can only win by training on.

    Parameters
    ----------
    source : keras.Model
        A trained network, of `fcn`.
    target : keras.Model
        A new network, of `fcn` with the same options but another stride. Its weights
        are overwritten.

    Returns
    -------
    tuple of str
        Layers of `target` that have weights and that `source` does not have. They
        keep theirs: in a new network zeros (scores) and bilinear kernels.

    Raises
    ------
    ValueError
        When a layer of the two has other shapes, or they have no layer in common.

    Notes
    -----
    What is the same after a transfer from FCN-32s to a new FCN-16s: every feature map
    and score_fr, exactly. The predictions are equal but for the interpolation: by 2
    and then by 16 instead of by 32 at once. Both are exact on a straight line; at a
    bend they differ by an eighth of the second difference of score_fr at most, along
    each axis. (Beyond the map, score_fr counts as 0. With ``padding="same"`` it holds
    for sizes that are multiples of 32; of others, the far edge is cut off between.)

    Source
    ------
    Long, Shelhamer and Darrell (2015), section 4.2.

    Examples
    --------
    >>> coarse = fcn((32, 32, 1), num_classes=2, width=1, stride=32)
    >>> fine = fcn((32, 32, 1), num_classes=2, width=1, stride=16)
    >>> transfer_weights(coarse, fine)
    ('upscore2', 'score_pool4', 'upscore16')
    """
    known = {layer.name: layer for layer in source.layers if layer.weights}
    wanted = [layer for layer in target.layers if layer.weights]
    if not any(layer.name in known for layer in wanted):
        raise ValueError(
            "source and target have no layer in common; both must be made by fcn."
        )
    for layer in wanted:  # all checks before the first change
        if layer.name in known:
            _check_shapes(known[layer.name], layer)
    for layer in wanted:
        if layer.name in known:
            layer.set_weights(known[layer.name].get_weights())
    return tuple(layer.name for layer in wanted if layer.name not in known)


def bilinear_kernel(size: int) -> NDArray[np.float64]:
    r"""Make the kernel with which a transposed convolution interpolates bilinearly.

    A tent: 1 in the middle, falling in straight lines to 0. To enlarge :math:`f` times,
    take the stride :math:`f` and ``size = 2 * f - f % 2``: with ``padding="same"``
    outputs then lie centered on inputs, each a weighted mean of the four nearest.

    Parameters
    ----------
    size : int
        Side of the kernel, :math:`k`.

    Returns
    -------
    ndarray of float64, shape (size, size)
        :math:`(1 - |i - c| / f)(1 - |j - c| / f)`, with :math:`f = \lfloor (k + 1) /
        2 \rfloor` and the center :math:`c = (k - 1) / 2`.

    Raises
    ------
    ValueError
        When the size is not an integer, 1 or more.

    Source
    ------
    `upsample_filt` in `surgery.py` of the authors' code.

    Examples
    --------
    >>> bilinear_kernel(4)[1]
    array([0.1875, 0.5625, 0.5625, 0.1875])
    >>> bilinear_kernel(3)
    array([[0.25, 0.5 , 0.25],
           [0.5 , 1.  , 0.5 ],
           [0.25, 0.5 , 0.25]])
    """
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"size is {size!r}; it must be an integer, 1 or more.")
    factor = (size + 1) // 2
    tent = 1 - np.abs(np.arange(size) - (size - 1) / 2) / factor
    return np.outer(tent, tent)


@keras.saving.register_keras_serializable(package="seglab")
class Bilinear(keras.initializers.Initializer):
    """Start a transposed convolution as bilinear interpolation of each channel.

    Examples
    --------
    >>> from keras import ops
    >>> kernel = Bilinear()((4, 4, 2, 2))
    >>> float(kernel[1, 1, 0, 0]), float(kernel[1, 1, 0, 1])
    (0.5625, 0.0)
    """

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Make the kernel, shape (size, size, channels, channels)."""
        height, width, out, into = shape
        if height != width or out != into:
            raise ValueError(
                f"a bilinear kernel cannot have the shape {tuple(shape)}; it must be "
                "square and lead from each channel to the same: (k, k, C, C)."
            )
        kernel = bilinear_kernel(height)[:, :, None, None] * np.eye(out)
        return ops.convert_to_tensor(kernel, dtype=dtype or keras.config.floatx())


@keras.saving.register_keras_serializable(package="seglab")
class CropLike(layers.Layer):
    """Cut from one map the part that is as large as another.

    Only a network that was built for any size has this layer.

    Parameters
    ----------
    offset : int
        Rows above and columns left of the part.
    **kwargs
        Of `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> x, like = np.arange(25.0).reshape(1, 5, 5, 1), np.zeros((1, 2, 3, 7))
    >>> np.array(CropLike(offset=1)([x, like]))[0, :, :, 0]
    array([[ 6.,  7.,  8.],
           [11., 12., 13.]], dtype=float32)
    """

    def __init__(self, offset: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.offset = offset

    def call(self, inputs: Sequence[Any]) -> Any:
        """Cut the first map, (N, H, W, C), to the size of the second, (N, h, w, D)."""
        x, like = inputs
        height, width = ops.shape(like)[1:3]
        o = self.offset
        return x[:, o : o + height, o : o + width]

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple[Any, ...]:
        """Give (N, h, w, C)."""
        (count, _, _, channels), (_, height, width, _) = input_shape
        return count, height, width, channels

    def get_config(self) -> dict[str, Any]:
        """Give what rebuilds the layer from a file."""
        return {**super().get_config(), "offset": self.offset}


def _crop(x: Any, like: Any, offset: int, name: str) -> Any:
    """Cut a map to the size of another: with Keras's layer, where sizes are known."""
    has, wants = x.shape[1:3], like.shape[1:3]
    if None in (*has, *wants):
        return CropLike(offset, dtype="float32", name=name)([x, like])
    border = tuple(
        (offset, h - offset - w) for h, w in zip(has, wants, strict=True)
    )  # ((top, bottom), (left, right))
    if border == ((0, 0), (0, 0)):
        return x
    return layers.Cropping2D(border, dtype="float32", name=name)(x)


def _check_shapes(source: layers.Layer, target: layers.Layer) -> None:
    has = [tuple(w.shape) for w in source.weights]
    wants = [tuple(w.shape) for w in target.weights]
    if has != wants:
        raise ValueError(
            f"layer {target.name!r} has weights of shapes {has} in source and {wants} "
            "in target; build both with the same options, but for the stride."
        )
