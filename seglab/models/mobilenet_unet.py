r"""A U-Net whose encoder has learned to see already: MobileNet, trained on ImageNet.

The encoder is MobileNetV1 (Howard et al., "MobileNets: Efficient Convolutional Neural
Networks for Mobile Vision Applications", 2017, Table 1) at a quarter of its width and
without its classifier: 0.2 million weights that were learned from 1.2 million labeled
photographs. The decoder is a U-Net's, and new. With w for its width::

    image                                                             logits
      |                                                                  |
    rescale      3 ----------------- skip ---------------> concat, conv, conv   w
      |                                                         |
    conv /2, separable   16 -------- skip --------> concat, conv, conv   2w
      |                                                  |
    separable /2, 1 more   32 ------ skip -----> concat, conv, conv   4w
      |                                               |
    separable /2, 1 more   64 ------ skip ---> concat, conv, conv   8w
      |                                            |
    separable /2, 5 more   128 ----- skip -> concat, conv, conv   16w
      |                                         |
    separable /2, 1 more   256 ------------> up-conv

*Separable* is a 3x3 convolution of each channel by itself (depthwise), then a 1x1
convolution over the channels (pointwise), each followed by a ReLU that stops at 6.
"/2" has stride 2, and a skip leaves from the last layer of a size.

Where the encoder departs from the paper, and why:

* Batch normalization is folded into the convolutions before it: after training it is
  but a factor and an offset for each channel. Nothing is left of it that could go
  wrong when the encoder is frozen or fine-tuned.
* The weights are Google's for eight-bit integers, turned back into numbers.
"""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from seglab.data import MissingDataError, places
from seglab.models._shared import MOMENTUM, check_arguments
from seglab.models.unet import CheckSize, output_size

WEIGHTS = "mobilenet_v1_0.25_128_imagenet.npz"
"""File with the encoder's weights."""

_SHA256 = "b5ba801a1d0da93a01f3aeac1eb883eb07737897accf62063a18752143916317"

_DEPTH = 5
"""Times that the encoder halves the image: its sides are multiples of 32."""

_BLOCKS = (
    *((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1)),
    *((128, 1), (128, 1), (128, 1), (128, 1), (256, 2), (256, 1)),
)
"""Channels and stride of each separable layer: the paper's Table 1 with alpha 0.25."""


def mobilenet_unet(
    input_shape: Sequence[int | None],
    num_classes: int,
    *,
    width: int = 8,
    weights: str | os.PathLike[str] | None = "imagenet",
    frozen: bool | None = None,
) -> keras.Model:
    """Build a U-Net on an encoder that was trained to classify photographs.

    The network to try on color photographs, and where labels are few: only the decoder
    has to be learned. Seed with `seglab.device.set_seed` first: the decoder's initial
    weights are drawn here.

    Parameters
    ----------
    input_shape : (H, W, C)
        Shape of an image, with values from 0 to 1. H and W are multiples of 32, or
        None for any such size; C is 3, or 1 for gray, which is repeated.
    num_classes : int
        Number of classes, background included; channels of the output.
    width : int, default 8
        Channels of the decoder at full size, doubled at each level down. 8 mirrors
        the encoder's.
    weights : "imagenet", path or None, default "imagenet"
        Of the encoder. "imagenet": from the file `WEIGHTS`, which is looked for as
        the prepared data sets are, where `seglab.data.places` says. A path: of such a
        file. None: random.
    frozen : bool, optional
        Leave the encoder as it is and train the decoder alone. By default True if
        there are weights, and False without. To fine-tune after a first training, set
        ``layer.trainable = True`` for each of ``model.layers`` (of the model as a
        whole it may do nothing), and train on with a tenth of the learning rate.

    Returns
    -------
    keras.Model
        From images, float (N, H, W, C), to logits, float32 (N, H, W, num_classes).

    Raises
    ------
    ValueError
        When an argument is out of range, an image of that size does not fit, or a file
        does not hold the encoder's weights.
    MissingDataError
        When the file is not on this machine. The message says where to put it.

    Warns
    -----
    UserWarning
        When the file "imagenet" is not the one that the book was made with.

    Source
    ------
    Howard et al. (2017), Table 1. The weights: ``mobilenet_v1_0.25_128_quant.tflite``
    of github.com/google-coral/test_data, Apache-2.0.

    Examples
    --------
    >>> model = mobilenet_unet((64, 96, 3), num_classes=2, weights=None)
    >>> model.output_shape
    (None, 64, 96, 2)
    """
    check_arguments(input_shape, num_classes, width=width)
    shape = tuple(input_shape)
    if shape[2] not in (1, 3):
        raise ValueError(
            f"input_shape is {shape}; the encoder has learned from color photographs: "
            "the number of channels must be 3, or 1 for gray."
        )
    for axis, size in zip(("height", "width"), shape, strict=False):
        if size is not None:
            output_size(size, depth=_DEPTH, padding="same", axis=axis)
    trained = None if weights is None else _read(_find(weights))

    image = keras.Input(shape, name="image")
    x = image
    if None in shape:
        x = CheckSize(_DEPTH, "same", name="check_size")(x)
    if shape[2] == 1:
        x = layers.Concatenate(name="gray_to_rgb")([x, x, x])
    # The encoder learned from integers: value / 128 - 1, for values from 0 to 255.
    x = layers.Rescaling(255 / 128, offset=-1.0, name="rescale")(x)

    skips = [x]
    x = _relu6(_conv0(x), "conv0")  # (N, H / 2, W / 2, 8)
    for number, (channels, stride) in enumerate(_BLOCKS, 1):
        if stride == 2:
            skips.append(x)  # (N, H / 2**level, W / 2**level, 8 * 2**level)
        x = _separable(x, channels, stride, f"conv{number}")

    encoder = keras.Model(image, x)
    if trained is not None:
        _set_weights(encoder, trained)
    encoder.trainable = not (trained is not None if frozen is None else frozen)

    for level in reversed(range(_DEPTH)):
        x = layers.Conv2DTranspose(  # twice the size
            width * 2**level,
            2,
            strides=2,
            kernel_initializer="he_normal",
            name=f"up{level}_upconv",
        )(x)
        x = layers.Concatenate(name=f"up{level}_concat")([skips[level], x])
        x = _double_conv(x, width * 2**level, f"up{level}")

    # In float32 also when the rest is in half precision: the loss takes exponentials.
    logits = layers.Conv2D(
        num_classes, 1, kernel_initializer="he_normal", dtype="float32", name="logits"
    )(x)
    return keras.Model(image, logits, name="mobilenet_unet")


def _conv0(x: Any) -> Any:
    """Convolve the image, with stride 2."""
    return layers.Conv2D(
        8,
        3,
        strides=2,
        padding="same",
        kernel_initializer="he_normal",
        name="conv0_conv",
    )(x)


def _separable(x: Any, channels: int, stride: int, name: str) -> Any:
    """Convolve over space, then over channels. Names are those of the file."""
    x = layers.DepthwiseConv2D(
        3,
        strides=stride,
        padding="same",
        # He's variance, 2 / 9: a channel meets its own 9 values alone.
        depthwise_initializer=keras.initializers.RandomNormal(0, math.sqrt(2 / 9)),
        name=f"{name}_depthwise",
    )(x)
    x = _relu6(x, f"{name}_depthwise")
    x = layers.Conv2D(
        channels, 1, kernel_initializer="he_normal", name=f"{name}_pointwise"
    )(x)
    return _relu6(x, f"{name}_pointwise")


def _relu6(x: Any, name: str) -> Any:
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x)


def _double_conv(x: Any, channels: int, name: str) -> Any:
    """Apply two 3x3 convolutions, each with batch normalization and a ReLU."""
    for i in range(2):
        x = layers.Conv2D(
            channels,
            3,
            padding="same",
            use_bias=False,  # batch norm adds its own
            kernel_initializer="he_normal",
            name=f"{name}_conv{i}",
        )(x)
        x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm{i}")(x)
        x = layers.ReLU(name=f"{name}_relu{i}")(x)
    return x


def _find(weights: str | os.PathLike[str]) -> Path:
    """Give the path of the file, or say how to get it; warn if it is another one."""
    if weights != "imagenet":
        path = Path(weights)
        if not path.is_file():
            raise MissingDataError(
                f'weights is {str(weights)!r}, which is neither "imagenet" nor the '
                "path of a file."
            )
        return path
    candidates = [place / WEIGHTS for place in places()]
    for path in candidates:
        if not path.is_file():
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != _SHA256:
            warnings.warn(
                f"{path} does not hold the weights that the book was made with: your "
                f"numbers may differ from the book's. (Its sha256 is {digest}, the "
                f"book's {_SHA256}.)",
                UserWarning,
                stacklevel=3,
            )
        return path
    looked = "\n".join(f"  {path}" for path in candidates)
    raise MissingDataError(
        f"the encoder's weights are not on this machine. Looked for:\n{looked}\n"
        f"To get them: take {WEIGHTS} from the course's release or from your teacher, "
        "put it into a folder, and set SEGLAB_DATA to that folder.\n"
        f"  licence  Apache-2.0\n  sha256   {_SHA256}\n"
        "weights=None builds the network with random weights, without the file."
    )


def _read(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read the arrays of the file, by the names of layers and their weights."""
    try:
        with np.load(path) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # what damaged files raise has no class in common
        raise ValueError(
            f"{path} is not a file of weights, a NumPy archive (.npz): {error}."
        ) from error


def _set_weights(encoder: keras.Model, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Give the encoder's layers the arrays of their names; what is left is not used."""
    for layer in encoder.layers:
        if not layer.weights:
            continue
        values = []
        for part, variable in zip(("kernel", "bias"), layer.weights, strict=True):
            name = f"{layer.name}/{part}"
            shape = arrays[name].shape if name in arrays else None
            if shape != tuple(variable.shape):
                found = "is missing" if shape is None else f"has shape {shape}"
                raise ValueError(
                    f"the file does not hold weights of MobileNetV1 0.25: {name!r} "
                    f"{found}, and must have shape {tuple(variable.shape)}."
                )
            values.append(arrays[name])
        layer.set_weights(values)
