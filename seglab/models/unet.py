r"""U-Net: a contracting path, an expansive path, and skips between them.

The network of Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for
Biomedical Image Segmentation", MICCAI 2015, read from the top of its Figure 1.
With depth 2 for short (the paper's is 4), and w for the width::

    image                                                          logits
      |                                                              |
    conv, conv   w ----------------- skip -----------> concat, conv, conv   level 0
      |                                                      |
      pool                                                up-conv
      |                                                      |
      conv, conv   2w ------- skip ------> concat, conv, conv               level 1
        |                                     |
        pool                               up-conv
        |                                     |
        conv, conv   4w ----------------------+                        bottleneck

Each level down halves height and width and doubles the channels: the network sees
more of the image and knows less well where. The skips bring the "where" back.

Where this departs from the paper, and why:

* ``padding="same"`` (default) keeps the size; the paper's "valid" convolutions give
  a smaller map than the image (388 of 572 pixels) and crop the skips to fit.
* ``batch_norm=True`` (default) normalizes after each 3x3 convolution, which then
  needs no bias. The paper (2015) has none, trains for ten hours and says how much
  hangs on the initial weights.
* He initialization as in the paper, but drawn from Keras's truncated normal of the
  same variance.
* Dropout is 0 unless asked for. The paper places it "at the end of the contracting
  path"; here that is after the last level before the bottleneck and after the
  bottleneck, as in the authors' Caffe network.
* ``residual=True`` adds to each pair of convolutions what went into it, before the
  last ReLU (He et al., 2016). A 1x1 convolution gives it the right channels.
* ``separable=True`` makes each 3x3 convolution one over space and one over channels
  (Chollet, 2017): of 64 channels, an eighth of the weights. The first stays whole: of
  one gray channel it would make copies that differ in scale alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from seglab.models._shared import (
    MOMENTUM,
    check_arguments,
    check_choice,
    check_dropout,
)


def unet(
    input_shape: Sequence[int | None],
    num_classes: int,
    *,
    width: int = 64,
    depth: int = 4,
    padding: str = "same",
    batch_norm: bool = True,
    dropout: float = 0.0,
    residual: bool = False,
    separable: bool = False,
) -> keras.Model:
    """Build a U-Net that gives a score for each class at each pixel.

    The first network to try on a new segmentation problem: it trains from scratch
    on a few hundred images. Seed with `seglab.device.set_seed` first: the initial
    weights are drawn here.

    Parameters
    ----------
    input_shape : (H, W, C)
        Shape of an image. H and W may be None: any size that fits.
    num_classes : int
        Number of classes, background included; channels of the output.
    width : int, default 64
        Channels at the first level, doubled at each level down. 64 is the paper's
        and needs a GPU; 8 trains on a laptop.
    depth : int, default 4
        Number of poolings. The bottleneck has ``width * 2**depth`` channels.
    padding : {"same", "valid"}
        "same": the output is as large as the image, whose height and width must be
        multiples of ``2**depth``. "valid": the paper's; see `output_size`.
    batch_norm : bool, default True
        Batch normalization between each 3x3 convolution and its ReLU.
    dropout : float, default 0.0
        Share of the values dropped at the end of the contracting path; the paper's
        authors used 0.5.
    residual : bool, default False
        Add the input of each pair of 3x3 convolutions to its output.
    separable : bool, default False
        Depthwise-separable 3x3 convolutions, but for the first: fewer weights and
        multiplications.

    Returns
    -------
    keras.Model
        From images, float (N, H, W, C), to logits, float32 (N, H', W', num_classes).
        No softmax: the loss wants logits, and ``argmax`` needs none.

    Raises
    ------
    ValueError
        When an argument is out of range, or an image of that size does not fit.

    Source
    ------
    Ronneberger, Fischer and Brox (2015), Figure 1. With ``width=64, depth=4,
    batch_norm=False`` the network has the paper's 23 convolutional layers and, from
    one channel to two classes, 31 030 658 parameters. Residual: He, Zhang, Ren and Sun,
    "Deep Residual Learning for Image Recognition", CVPR 2016, Figure 2. Separable:
    Chollet, "Xception", CVPR 2017, section 3.

    Examples
    --------
    >>> model = unet((64, 64, 1), num_classes=2, width=8)
    >>> model.output_shape, model.count_params()
    ((None, 64, 64, 2), 487890)
    >>> unet((572, 572, 1), num_classes=2, width=8, padding="valid").output_shape
    (None, 388, 388, 2)
    """
    check_arguments(input_shape, num_classes, width=width, depth=depth)
    check_choice("padding", padding, ("same", "valid"))
    check_dropout(dropout)
    for axis, size in zip(("height", "width"), input_shape, strict=False):
        if size is not None:
            output_size(size, depth=depth, padding=padding, axis=axis)

    def conv(x: Any, channels: int, name: str) -> Any:
        """One 3x3 convolution."""
        options: dict[str, Any] = {
            "padding": padding,
            "use_bias": not batch_norm,  # batch norm adds its own
            "name": name,
        }
        if not separable or name == "down0_conv0":
            options["kernel_initializer"] = "he_normal"
            return layers.Conv2D(channels, 3, **options)(x)
        # He's rule twice. Over space, 9 terms and no ReLU: variance 1 / 9. (Keras would
        # count 9 terms for each of the channels, which do not meet there.)
        options["depthwise_initializer"] = keras.initializers.RandomNormal(0, 1 / 3)
        options["pointwise_initializer"] = "he_normal"
        return layers.SeparableConv2D(channels, 3, **options)(x)

    def norm(x: Any, name: str) -> Any:
        if not batch_norm:
            return x
        return layers.BatchNormalization(momentum=MOMENTUM, name=name)(x)

    def double_conv(x: Any, channels: int, name: str) -> Any:
        """Two 3x3 convolutions, each followed by a ReLU."""
        before = x
        x = norm(conv(x, channels, f"{name}_conv0"), f"{name}_norm0")
        x = layers.ReLU(name=f"{name}_relu0")(x)
        x = norm(conv(x, channels, f"{name}_conv1"), f"{name}_norm1")
        if residual:
            x = layers.Add(name=f"{name}_add")([x, shortcut(before, channels, name)])
        return layers.ReLU(name=f"{name}_relu1")(x)

    def shortcut(x: Any, channels: int, name: str) -> Any:
        """Give the input of two convolutions the shape of their output."""
        if padding == "valid":
            x = layers.Cropping2D(2, name=f"{name}_shortcut_crop")(x)
        x = layers.Conv2D(
            channels,
            1,
            use_bias=not batch_norm,
            kernel_initializer="he_normal",
            name=f"{name}_shortcut",
        )(x)
        return norm(x, f"{name}_shortcut_norm")

    image = keras.Input(tuple(input_shape), name="image")
    x = image
    if None in input_shape:
        x = CheckSize(depth, padding, name="check_size")(x)

    # Contracting path. Shapes are those of padding="same".
    skips = []
    for level in range(depth):
        x = double_conv(x, width * 2**level, f"down{level}")
        if dropout and level == depth - 1:
            x = layers.Dropout(dropout, name=f"down{level}_dropout")(x)
        skips.append(x)  # (N, H / 2**level, W / 2**level, width * 2**level)
        x = layers.MaxPooling2D(2, name=f"down{level}_pool")(x)

    x = double_conv(x, width * 2**depth, "bottleneck")
    if dropout:
        x = layers.Dropout(dropout, name="bottleneck_dropout")(x)

    # Expansive path.
    for level in reversed(range(depth)):
        x = layers.Conv2DTranspose(  # twice the size, half the channels
            width * 2**level,
            2,
            strides=2,
            kernel_initializer="he_normal",
            name=f"up{level}_upconv",
        )(x)
        skip = skips[level]
        if padding == "valid":
            border = _skip_border(depth - level)
            skip = layers.Cropping2D(border, name=f"up{level}_crop")(skip)
        x = layers.Concatenate(name=f"up{level}_concat")([skip, x])
        x = double_conv(x, width * 2**level, f"up{level}")

    # In float32 also when the rest is in half precision: the loss takes exponentials.
    logits = layers.Conv2D(
        num_classes, 1, kernel_initializer="he_normal", dtype="float32", name="logits"
    )(x)
    return keras.Model(image, logits, name="unet")


@keras.saving.register_keras_serializable(package="seglab")
class CheckSize(layers.Layer):
    """Pass images through, and refuse those of a size that the U-Net cannot take.

    Only a network that was built for any size has this layer. Without it, such an
    image fails at the first skip, in words about concatenation. A file of such a
    network loads where `seglab.models` has been imported; that of one with a fixed
    size loads with Keras alone.

    Parameters
    ----------
    depth, padding : int, str
        Of the U-Net; see `unet`.
    **kwargs
        Of `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> check = CheckSize(depth=3, padding="same")
    >>> tuple(check(np.zeros((1, 64, 40, 1))).shape)
    (1, 64, 40, 1)
    """

    def __init__(self, depth: int, padding: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.depth, self.padding = depth, padding

    def call(self, images: Any) -> Any:
        """Check the shape (N, H, W, C), as far as it is known by now."""
        self.compute_output_shape(images.shape)
        return images

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Check a shape, and give it unchanged."""
        for axis, size in zip(("height", "width"), input_shape[1:3], strict=True):
            if size is not None:
                output_size(size, depth=self.depth, padding=self.padding, axis=axis)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Give what rebuilds the layer from a file."""
        own = {"depth": self.depth, "padding": self.padding}
        return {**super().get_config(), **own}


def output_size(
    size: int, *, depth: int = 4, padding: str = "valid", axis: str = "size"
) -> int:
    """Height (or width) of a U-Net's output for an image of a given height.

    Parameters
    ----------
    size : int
        Pixels of the image along one axis.
    depth : int, default 4
        Number of poolings.
    padding : {"valid", "same"}
        With "same" the size stays. With "valid" each 3x3 convolution takes off 2
        pixels at its own resolution: 184 image pixels together for depth 4.
    axis : str, optional
        What to call the axis in an error.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        When the size does not fit: a pooling would meet an odd size, and drop a row
        that the skip still has. The message names the nearest sizes that fit.

    Source
    ------
    Ronneberger et al. (2015), section 2: "it is important to select the input tile
    size such that all 2x2 max-pooling operations are applied to a layer with an even
    x- and y-size".

    Examples
    --------
    >>> output_size(572)
    388
    >>> output_size(570)
    Traceback (most recent call last):
        ...
    ValueError: the image's size is 570; a U-Net of depth 4 with padding="valid" \
takes 188, 204, 220, ...: the nearest are 556 and 572. Crop, pad or resize the image.
    """
    step = 2**depth  # the image's pixels that are one at the bottleneck
    if padding == "valid":
        loss = 2 * _skip_border(depth) + 8  # 8: the four convolutions of level 0
        smallest = loss + min(4, step)
    else:
        loss, smallest = 0, step
    # The sizes that fit are smallest + n * step, for n = 0, 1, 2, ...
    if size >= smallest and (size - smallest) % step == 0:
        return size - loss
    below = smallest + max((size - smallest) // step, 0) * step
    nearest = (
        f"the smallest is {smallest}"
        if size < smallest
        else f"the nearest are {below} and {below + step}"
    )
    raise ValueError(
        f"the image's {axis} is {size}; a U-Net of depth {depth} with "
        f'padding="{padding}" takes {smallest}, {smallest + step}, '
        f"{smallest + 2 * step}, ...: {nearest}. Crop, pad or resize the image."
    )


def _skip_border(below: int) -> int:
    """Pixels to crop from each side of a skip with so many poolings below it.

    Below one pooling lie two convolutions, each of which takes off 1 pixel a side
    at half the resolution: 4 pixels of the skip. Below b poolings lie, at half the
    resolution, the next skip's border and four convolutions:
    border(b) = 2 * (border(b - 1) + 4), which is 6 * 2**b - 8.
    """
    border: int = 6 * 2**below - 8
    return border
