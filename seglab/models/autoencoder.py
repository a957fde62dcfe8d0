r"""A convolutional autoencoder: an image through a few numbers, and back.

With two levels for short, w for the width and k for the size of the code::

    image  H x W x C                                     image'  H x W x C
      |                                                      |
    conv   w                                               conv   w
      |                                                      |
      pool                                                up-conv          level 0
      |                                                      |
      conv   2w                                            conv   2w
        |                                                   |
        pool                                             up-conv           level 1
        |                                                   |
        flatten, dense                               dense, reshape
           |                                              |
           +--------------> code, k numbers --------------+
    `------------------------------' `-------------------------------'
                encoder                           decoder

The bottleneck is real: all that the decoder learns of an image is a vector of k
numbers, however large the image. What k numbers cannot say is not in the output, so
image' is not the image but the nearest thing that the decoder can draw.

`segmentation_head` puts the convolutions of a trained encoder to another use: labels.

Choices made here, since there is no one paper to follow:

* The code is what a dense layer gives, without activation: any vector of k real
  numbers. A small map would be a bottleneck only if one counted its numbers, which
  grow with the image.
* The output is the image itself, without a sigmoid: trained with the squared error, it
  need not be kept within [0, 1], and black and white are in reach.
* ``depth=0`` leaves two dense layers and no activation, the linear autoencoder, whose
  best weights span the same space as the first k principal components (Baldi and
  Hornik, "Neural networks and principal component analysis", Neural Networks 2, 1989).
* ``noise`` makes it a denoising autoencoder: it sees a noisy image in training and is
  asked for the clean one (Vincent et al., "Extracting and Composing Robust Features
  with Denoising Autoencoders", ICML 2008, with another kind of noise).
* There are no skips. They would carry the image past the bottleneck.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from seglab.models._shared import MOMENTUM, check_arguments


def autoencoder(
    input_shape: Sequence[int],
    *,
    width: int = 16,
    depth: int = 3,
    code_size: int = 64,
    noise: float = 0.0,
) -> keras.Model:
    """Build a network that squeezes an image into a code, and draws it again.

    Train it with `seglab.training.fit_reconstruction`: the target is the image itself.
    Seed with `seglab.device.set_seed` first: the initial weights are drawn here.

    Parameters
    ----------
    input_shape : (H, W, C)
        Shape of an image. H and W are multiples of ``2**depth``, and fixed: the dense
        layers depend on them.
    width : int, default 16
        Channels at the first level, doubled at each level down.
    depth : int, default 3
        Number of poolings. 0: no convolution at all, the linear autoencoder.
    code_size : int, default 64
        Numbers in the code, k. The smaller, the more has to be left out.
    noise : float, default 0.0
        Standard deviation of the Gaussian noise that is added to the image in training,
        in the units of the image, which goes from 0 to 1.

    Returns
    -------
    keras.Model
        From images, float (N, H, W, C), to images, float32 (N, H, W, C). Its two
        halves are models of their own, also after saving and loading, with Keras
        alone: ``model.get_layer("encoder")`` from images to codes, (N, k), and
        ``model.get_layer("decoder")`` from codes to images.

    Raises
    ------
    ValueError
        When an argument is out of range, or an image of that size does not fit.

    Source
    ------
    Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural
    Networks", Science 313 (2006); Masci et al., "Stacked Convolutional Auto-Encoders",
    ICANN 2011.

    Examples
    --------
    >>> model = autoencoder((32, 32, 1), width=4, code_size=10)
    >>> model.output_shape
    (None, 32, 32, 1)
    >>> model.get_layer("encoder").output_shape
    (None, 10)
    >>> model.get_layer("decoder").input_shape
    (None, 10)
    """
    shape = tuple(input_shape)
    check_arguments(shape, 1, width=width, code_size=code_size)
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 0:
        raise ValueError(f"depth is {depth!r}; it must be an integer, 0 or more.")
    _check_sizes(shape, depth)
    if not 0 <= noise < math.inf:
        raise ValueError(f"noise is {noise!r}; it must be a number, 0 or more.")
    H, W, C = shape

    # Encoder.
    image = keras.Input(shape, name="image")
    x = image
    for level in range(depth):
        x = _conv(x, width * 2**level, f"down{level}")
        x = layers.MaxPooling2D(2, name=f"down{level}_pool")(x)
    small = x.shape[1:]  # (H / 2**depth, W / 2**depth, width * 2**(depth - 1))
    x = layers.Flatten(name="flatten")(x)
    code = layers.Dense(code_size, name="code")(x)
    encoder = keras.Model(image, code, name="encoder")

    # Decoder.
    code = keras.Input((code_size,), name="code")
    if depth:
        x = layers.Dense(math.prod(small), activation="relu", name="dense")(code)
        x = layers.Reshape(small, name="reshape")(x)
        x = _expand(x, depth)
        drawn = layers.Conv2D(C, 1, dtype="float32", name="drawn")(x)
    else:
        x = layers.Dense(H * W * C, dtype="float32", name="dense")(code)
        drawn = layers.Reshape(shape, dtype="float32", name="drawn")(x)
    decoder = keras.Model(code, drawn, name="decoder")

    image = keras.Input(shape, name="image")
    x = layers.GaussianNoise(noise, name="noise")(image) if noise else image
    return keras.Model(image, decoder(encoder(x)), name="autoencoder")


def segmentation_head(
    autoencoder: keras.Model, num_classes: int, *, frozen: bool = True
) -> keras.Model:
    """Build a segmentation network on the convolutions of an autoencoder.

    What the encoder learned without labels is kept: its convolutions, up to the last
    pooling. The code is not, since a vector has no *where*. A new decoder enlarges
    the small map to a score for each class at each pixel. Seed with
    `seglab.device.set_seed` first: the decoder's initial weights are drawn here.

    Parameters
    ----------
    autoencoder : keras.Model
        From `autoencoder`, trained or not, or loaded from a file. It stays as it is:
        its weights are copied.
    num_classes : int
        Number of classes, background included; channels of the output.
    frozen : bool, default True
        Train the decoder alone. False: fine-tune the encoder too. It can be changed
        later, before `fit`: ``model.get_layer("encoder").trainable = True``.

    Returns
    -------
    keras.Model
        From images, float (N, H, W, C), to logits, float32 (N, H, W, num_classes).

    Raises
    ------
    ValueError
        When the model is no autoencoder with convolutions.

    Examples
    --------
    >>> model = segmentation_head(autoencoder((32, 32, 1), width=4), num_classes=2)
    >>> model.output_shape
    (None, 32, 32, 2)
    >>> model.get_layer("encoder").trainable_weights
    []
    """
    encoder = _find_encoder(autoencoder)
    features = encoder.get_layer("flatten").input  # (N, H / 2**depth, ...)
    depth = sum(isinstance(layer, layers.MaxPooling2D) for layer in encoder.layers)
    if not depth:
        raise ValueError(
            "the autoencoder has depth 0: no convolutions that could be used for "
            "segmentation. Build it with depth=1 or more."
        )
    check_arguments(encoder.input_shape[1:], num_classes)
    trained = keras.Model(encoder.input, features, name="encoder")
    copy = keras.models.clone_model(trained)
    copy.set_weights(trained.get_weights())
    copy.trainable = not frozen

    image = keras.Input(encoder.input_shape[1:], name="image")
    x = _expand(copy(image), depth)
    # In float32 also when the rest is in half precision: the loss takes exponentials.
    logits = layers.Conv2D(
        num_classes, 1, kernel_initializer="he_normal", dtype="float32", name="logits"
    )(x)
    return keras.Model(image, logits, name="segmentation_head")


def _conv(x: Any, channels: int, name: str) -> Any:
    """Apply a 3x3 convolution, batch normalization and a ReLU."""
    x = layers.Conv2D(
        channels,
        3,
        padding="same",
        use_bias=False,  # batch norm adds its own
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _expand(x: Any, depth: int) -> Any:
    """Enlarge the small map by two, `depth` times, back to the size of the image."""
    channels = x.shape[-1]  # width * 2**(depth - 1)
    for level in reversed(range(depth)):
        x = layers.Conv2DTranspose(
            channels,
            2,
            strides=2,
            kernel_initializer="he_normal",
            name=f"up{level}_upconv",
        )(x)
        x = _conv(x, channels, f"up{level}")  # (N, H / 2**level, W / 2**level, ...)
        channels //= 2
    return x


def _find_encoder(model: keras.Model) -> keras.Model:
    names = [layer.name for layer in getattr(model, "layers", ())]
    if "encoder" not in names or "decoder" not in names:
        raise ValueError(
            f"autoencoder is {getattr(model, 'name', model)!r}, which has no layers "
            '"encoder" and "decoder"; pass what seglab.models.autoencoder gave.'
        )
    return model.get_layer("encoder")


def _check_sizes(shape: tuple[int, ...], depth: int) -> None:
    step = 2**depth
    for axis, size in zip(("height", "width"), shape, strict=False):
        if size is None:
            raise ValueError(
                f"input_shape is {shape}; an autoencoder needs a fixed height and "
                "width, because its dense layers depend on them."
            )
        if size % step:
            below = size // step * step
            nearest = f"{below} and {below + step}" if below else f"{step}"
            raise ValueError(
                f"the image's {axis} is {size}; an autoencoder of depth {depth} takes "
                f"multiples of {step}: nearest {nearest}. Crop, pad or resize the "
                "image, or take another depth."
            )
