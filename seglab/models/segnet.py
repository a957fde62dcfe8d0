r"""SegNet: a decoder that knows where the encoder's maxima were.

The network of Badrinarayanan, Kendall and Cipolla, "SegNet: A Deep Convolutional
Encoder-Decoder Architecture for Image Segmentation", TPAMI 39 (2017), read from its
Figure 2. With two levels for short (the paper's are five), and w for the width::

    image                                                            logits
      |                                                                 |
    conv, conv   w                                           conv, conv (classes)
      |                                                            |
      pool . . . . . . . . . . indices . . . . . . . . . . . . . unpool    level 0
      |                                                            |
      conv, conv   2w                                    conv, conv (w)
        |                                                   |
        pool . . . . . . . . . indices . . . . . . . . . unpool            level 1
        |                                                   |
        +---------------------------------------------------+

The encoder is VGG16's 13 convolutions. Where U-Net copies whole feature maps across,
SegNet copies only which of four pixels each maximum was: 2 bits instead of a number.
The decoder mirrors the encoder, and needs no weights to enlarge a map.

``basic=True`` gives the paper's SegNet-Basic: four levels of one 7x7 convolution each,
all of one width, and a decoder without ReLU.

Where this departs from the paper, and why:

* The encoder starts from random weights, drawn as He et al. propose; the paper's starts
  from VGG16's, which this course does not carry.
* SegNet-Basic does not normalize the image locally before its first layer (Caffe's LRN,
  in the authors' configuration and not in the paper's text).
* Any size is taken. A pooling of an odd size rounds up, as in Caffe, and the unpooling
  gives back the size that the pooling saw; the authors' configuration lists those sizes
  by hand.
* Batch norm's averages move faster than Keras's default, for short trainings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from seglab.models._shared import MOMENTUM, check_arguments
from seglab.models.pooling import MaxPoolingWithIndices2D, MaxUnpooling2D

_ENCODER = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
"""Channels of each convolution of each level, in widths (Simonyan and Zisserman, "Very
Deep Convolutional Networks", ICLR 2015, Table 1, configuration D)."""

_DECODER = ((1,), (2, 1), (4, 4, 2), (8, 8, 4), (8, 8, 8))
"""The same mirrored: what a convolution took in, its mirror gives out. That of the
first convolution gives the logits."""

_BASIC = ((1,), (1,), (1,), (1,))
"""Both ways."""


def segnet(
    input_shape: Sequence[int | None],
    num_classes: int,
    *,
    width: int = 64,
    basic: bool = False,
) -> keras.Model:
    """Build a SegNet that gives a score for each class at each pixel.

    Seed with `seglab.device.set_seed` first: the initial weights are drawn here.

    Parameters
    ----------
    input_shape : (H, W, C)
        Shape of an image; any size. H and W may be None.
    num_classes : int
        Number of classes, background included; channels of the output.
    width : int, default 64
        Channels at the first level. 64 is the paper's and needs a GPU; 8 trains on a
        laptop. The levels below have 2, 4, 8 and 8 times as many; in the basic
        network, as many.
    basic : bool, default False
        Build SegNet-Basic, the paper's smaller network.

    Returns
    -------
    keras.Model
        From images, float (N, H, W, C), to logits, float32 (N, H, W, num_classes). A
        file of it loads where `seglab.models` has been imported.

    Raises
    ------
    ValueError
        When an argument is out of range.

    Source
    ------
    Badrinarayanan et al. (2017), section 3 and 3.1 (basic). With ``width=64``, from
    three channels to eleven classes, the network has 29 449 355 trainable parameters,
    and the basic one 1 416 075.

    Examples
    --------
    >>> segnet((45, 60, 3), num_classes=11, width=4).output_shape
    (None, 45, 60, 11)
    >>> model = segnet((32, 32, 1), num_classes=2, width=8, basic=True)
    >>> model.count_params()
    22618
    """
    check_arguments(input_shape, num_classes, width=width)

    def convs(x: Any, multiples: Sequence[int], name: str, relu: bool = True) -> Any:
        """Convolutions, each with batch normalization and perhaps a ReLU."""
        for i, multiple in enumerate(multiples):
            x = layers.Conv2D(
                multiple * width,
                7 if basic else 3,
                padding="same",
                use_bias=not basic,  # as published; batch norm makes a bias idle
                kernel_initializer="he_normal",
                name=f"{name}_conv{i}",
            )(x)
            x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm{i}")(x)
            if relu:
                x = layers.ReLU(name=f"{name}_relu{i}")(x)
        return x

    encoder, decoder = (_BASIC, _BASIC) if basic else (_ENCODER, _DECODER)
    image = keras.Input(tuple(input_shape), name="image")
    x = image

    pooled = []
    for level, multiples in enumerate(encoder):
        x = convs(x, multiples, f"down{level}")
        before = x  # (N, H / 2**level, W / 2**level, C), rounded up
        x, indices = MaxPoolingWithIndices2D(name=f"down{level}_pool")(x)
        pooled.append((indices, before))

    for level in reversed(range(len(decoder))):
        x = MaxUnpooling2D(name=f"up{level}_unpool")([x, *pooled[level]])
        x = convs(x, decoder[level], f"up{level}", relu=not basic)

    # In float32 also when the rest is in half precision: the loss takes exponentials.
    logits = layers.Conv2D(
        num_classes,
        1 if basic else 3,
        padding="same",
        kernel_initializer="he_normal",
        dtype="float32",
        name="logits",
    )(x)
    return keras.Model(image, logits, name="segnet")
