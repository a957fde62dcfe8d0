r"""Patch CNN: classify the pixel in the center of a patch, then slide the patch.

A patch goes in, and the class of the pixel in its center comes out: so Cireşan,
Giusti, Gambardella and Schmidhuber, "Deep Neural Networks Segment Neuronal Membranes
in Electron Microscopy Images", NIPS 2012, won a challenge in segmentation. Their
network N4, with w for the width (48)::

    patch     95 x 95, gray
    conv 4x4  92 x 92, w  --- pool ---  46 x 46, w
    conv 5x5  42 x 42, w  --- pool ---  21 x 21, w
    conv 4x4  18 x 18, w  --- pool ---   9 x  9, w
    conv 4x4   6 x  6, w  --- pool ---   3 x  3, w
    dense     200
    dense     one score for each class

Patches of neighboring pixels overlap almost wholly, and so does the work. `to_dense`
turns a trained patch classifier into a fully convolutional network that computes
what overlaps once, and gives the same score at every pixel.

The trick is in the poolings. A pooling of stride 2 keeps every other maximum: those
that the patch of *this* pixel needs. The patch of the next pixel needs the others. So
the dense network keeps them all (stride 1), and every layer behind steps over those
that are not for its pixel: its taps lie 2 apart, behind two poolings 4, and so on ("à
trous", with holes). Long et al. (2015, section 3.2) call it filter rarefaction; Li,
Zhao and Wang (2014) d-regularly sparse kernels. Two other ways lead to the same scores:
Giusti et al. (2013) sort the maxima into fragments that are convolved one by one, and
shift-and-stitch, which Long et al. credit to OverFeat (Sermanet et al., 2014), runs the
network on shifted images and interlaces what comes out.

Where this departs from the paper, and why: ReLU (the paper does not name its nonlinear
activation) and He initialization, as in the other networks here; one network where the
paper averages four; none of its foveation and nonuniform sampling (blur and coarser
sampling towards the border of a patch), which a dense network could not share between
pixels; no rotated and mirrored copies in training; and no calibration of the scores:
see `sample_patches` on what that was for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from seglab.data import Split
from seglab.models._shared import check_arguments


def patch_cnn(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    width: int = 48,
    kernels: Sequence[int] = (4, 5, 4, 4),
    hidden: int = 200,
) -> keras.Model:
    """Build a network that scores the classes of the pixel in a patch's center.

    Train it with `keras.Model.fit` on what `sample_patches` gives, and turn it into a
    segmentation network with `to_dense`. Seed with `seglab.device.set_seed` first: the
    initial weights are drawn here.

    Parameters
    ----------
    input_shape : (H, W, C)
        Shape of a patch. Its center is the pixel ``[H // 2, W // 2]``: take odd sizes.
    num_classes : int
        Number of classes, background included.
    width : int, default 48
        Channels of each convolution; 48 is the paper's.
    kernels : sequence of int, default (4, 5, 4, 4)
        Side of each convolution's kernel; a 2x2 pooling follows each. The default is
        the paper's and takes patches of 63 pixels or more; (4, 5, 4) takes 31 or more.
    hidden : int, default 200
        Units of the dense layer; 200 is the paper's.

    Returns
    -------
    keras.Model
        From patches, float (N, H, W, C), to logits, float32 (N, num_classes).

    Raises
    ------
    ValueError
        When an argument is out of range, or nothing is left of a patch of that size.

    Source
    ------
    Cireşan et al. (2012), Table 1: ``patch_cnn((95, 95, 1), 2)`` has its layers and
    sizes.

    Examples
    --------
    >>> model = patch_cnn((31, 31, 1), num_classes=2, width=8, kernels=(4, 5, 4))
    >>> model.output_shape
    (None, 2)
    >>> to_dense(model).output_shape
    (None, None, None, 2)
    """
    counts = {f"kernels[{i}]": kernel for i, kernel in enumerate(kernels)}
    check_arguments(input_shape, num_classes, width=width, hidden=hidden, **counts)
    if None in tuple(input_shape):
        raise ValueError(
            f"input_shape is {tuple(input_shape)}; a patch has a height and a width. "
            "Of any size is the network that to_dense makes of it."
        )
    smallest = smallest_patch(kernels)
    if min(tuple(input_shape)[:2]) < smallest:
        raise ValueError(
            f"a patch of {input_shape[0]} x {input_shape[1]} is too small: kernels="
            f"{tuple(kernels)}, each with a pooling, leave something of {smallest} x "
            f"{smallest} and more. Take a larger patch, or fewer kernels."
        )

    patch = keras.Input(tuple(input_shape), name="patch")
    x = patch
    for i, kernel in enumerate(kernels, start=1):
        x = layers.Conv2D(
            width,
            kernel,
            activation="relu",
            kernel_initializer="he_normal",
            name=f"conv{i}",
        )(x)
        x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(
        hidden, activation="relu", kernel_initializer="he_normal", name="dense"
    )(x)
    # In float32 also when the rest is in half precision: the loss takes exponentials.
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(patch, logits, name="patch_cnn")


def smallest_patch(kernels: Sequence[int]) -> int:
    """Side of the smallest patch of which something is left behind all poolings.

    It is what one unit there sees, the receptive field.

    Examples
    --------
    >>> smallest_patch((4, 5, 4, 4)), smallest_patch((4, 5, 4))
    (63, 31)
    """
    size = 1
    for kernel in reversed(kernels):
        size = 2 * size + kernel - 1
    return size


def to_dense(model: keras.Model) -> keras.Model:
    """Turn a classifier of patches into a network that scores every pixel of an image.

    The scores at a pixel are those that the classifier gives for the patch around it,
    up to the rounding of float32. Pixels outside the image are mirror images of those
    inside, the edge itself not repeated.

    Parameters
    ----------
    model : keras.Model
        From a patch, (N, H, W, C), to scores, (N, num_classes): a chain of Conv2D and
        MaxPooling2D with padding "valid" and any stride, Flatten, Dense, activations,
        dropout and batch normalization. `patch_cnn` makes such a network.

    Returns
    -------
    keras.Model
        From images of any size, (N, H', W', C), to scores (N, H', W', num_classes).
        It has copies of the weights and layers of the same names, and no weight more.

    Raises
    ------
    ValueError
        When the network has a layer that cannot be converted exactly. The message
        says which and why.

    Notes
    -----
    A dense layer behind a map of h x w units is a convolution with an h x w kernel:
    the same numbers, in another shape. A layer behind strides whose product is d has
    its taps d pixels apart here (dilation d), and a stride of 1.

    A pixel costs what the convolutions cost at full resolution, whatever the size of
    the image. Memory grows with the image: of a large one, predict tiles.

    Source
    ------
    Long, Shelhamer and Darrell (2015), sections 3.1 and 3.2. Li, Zhao and Wang,
    "Highly Efficient Forward and Backward Propagation of Convolutional Neural Networks
    for Pixelwise Classification", arXiv:1412.4526 (2014). Mirroring: Cireşan et al.
    (2012).

    Examples
    --------
    >>> import numpy as np
    >>> model = patch_cnn((7, 7, 1), num_classes=3, width=2, kernels=(3,), hidden=4)
    >>> image = np.random.default_rng(0).random((1, 16, 12, 1), np.float32)
    >>> scores = to_dense(model).predict(image, verbose=0)
    >>> scores.shape
    (1, 16, 12, 3)
    >>> patch = image[:, 2:9, 4:11]  # around row 5, column 7
    >>> bool(np.allclose(scores[0, 5, 7], model(patch)[0], atol=1e-5))
    True
    """
    converted = {}
    dilation = (1, 1)  # distance of the taps, in pixels
    seen = (1, 1)  # pixels from the first to the last that a score depends on
    flat: tuple[int, int] = (1, 1)  # size of the map that a dense layer sees whole
    for layer in _chain(model):
        if isinstance(layer, layers.Flatten):
            flat = layer.input.shape[1:3]
            continue
        config = layer.get_config()
        if isinstance(layer, layers.Dense):
            new = layers.Conv2D(
                layer.units,
                flat,
                # no taps, no holes: some backends would work for nothing
                dilation_rate=1 if flat == (1, 1) else dilation,
                activation=layer.activation,
                use_bias=layer.use_bias,
                dtype=layer.dtype_policy,
                name=layer.name,
            )
            seen, flat = _see(seen, flat, dilation), (1, 1)
        elif isinstance(layer, layers.Conv2D):
            holes = _times(dilation, layer.dilation_rate)
            config |= {"strides": 1, "dilation_rate": holes}
            new = layers.Conv2D.from_config(config)
            seen = _see(seen, layer.kernel_size, holes)
            dilation = _times(dilation, layer.strides)
        elif isinstance(layer, layers.MaxPooling2D):
            new = DilatedMaxPooling2D(
                layer.pool_size,
                dilation_rate=dilation,
                dtype=layer.dtype_policy,
                name=layer.name,
            )
            seen = _see(seen, layer.pool_size, dilation)
            dilation = _times(dilation, layer.strides)
        else:
            if isinstance(layer, layers.BatchNormalization):
                config["axis"] = -1  # of a vector also called 1, which a map's rows are
            new = type(layer).from_config(config)
        converted[layer] = new

    height, width, channels = model.input_shape[1:]
    border = []
    for side, sees in zip((height, width), seen, strict=True):
        before = side // 2  # pixels of the patch before its center
        after = sees - 1 - before  # fewer than it has, where a pooling drops the last
        if after < 0:
            raise ValueError(
                f"of {side} pixels of a patch the model sees the first {sees}: not the "
                "one in the center, whose class it is to tell."
            )
        border.append((before, after))
    image = keras.Input((None, None, channels), name="image")
    x = MirrorPadding2D(tuple(border), name="mirror")(image)
    for new in converted.values():
        x = new(x)
    # A dense layer's kernel, (h * w * c, units), is one of (h, w, c, units): rows,
    # columns, channels is the order in which Flatten counts.
    for layer, new in converted.items():
        pairs = zip(layer.get_weights(), new.weights, strict=True)
        new.set_weights([value.reshape(like.shape) for value, like in pairs])
    return keras.Model(image, x, name=f"dense_{model.name}")


def sample_patches(
    split: Split,
    size: int,
    count: int,
    *,
    seed: int = 0,
    balanced: bool = True,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Cut patches from labeled images, to train a classifier of their centers.

    Parameters
    ----------
    split : Split
        For example ``dataset.train``. Ignored pixels are never centers, but may be
        seen in a patch.
    size : int
        Side of a patch in pixels; odd, so that it has a center.
    count : int
        Number of patches. They take ``4 * count * size**2 * C`` bytes.
    seed : int, default 0
        Decides which pixels are centers.
    balanced : bool, default True
        Take equally many centers of each class that the split has, as the paper does.
        False: take each annotated pixel with the same probability.

    Returns
    -------
    patches : ndarray of float32, shape (count, size, size, C)
        In random order. Beyond the image they go on as its mirror image, as in the
        network of `to_dense`.
    labels : ndarray of int32, shape (count,)
        Class of each patch's center.

    Raises
    ------
    ValueError
        When a number is out of range, or no pixel is annotated.

    Notes
    -----
    No pixel is a center twice, unless there are too few of them.

    A classifier that has seen all classes equally often takes them to be equally
    frequent, and finds too much of the rare ones. The paper's authors corrected that
    afterwards, by a polynomial fitted to the outputs. If balance is all that was
    changed, Bayes' rule says what to add to the logits: the logarithm of each class's
    share, ``np.log(split.class_shares())``.

    Source
    ------
    Cireşan et al. (2012), section 2.

    Examples
    --------
    >>> from seglab import data
    >>> cells = data.load("cells", count=10, size=32)
    >>> patches, labels = sample_patches(cells.train, size=15, count=100)
    >>> patches.shape, np.bincount(labels).tolist()
    ((100, 15, 15, 1), [50, 50])
    """
    for name, value in {"size": size, "count": count}.items():
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be an integer, 1 or more.")
    if size % 2 == 0:
        raise ValueError(
            f"size is {size}; a patch with a pixel in its center has an odd size, such "
            f"as {size + 1}."
        )
    labels = split.masks.ravel()  # (N * H * W,)
    annotated = labels != split.ignore_index
    if not annotated.any():
        raise ValueError("the split has no annotated pixel to center a patch on.")
    if balanced:
        groups = [np.flatnonzero(labels == c) for c in np.unique(labels[annotated])]
    else:
        groups = [np.flatnonzero(annotated)]

    rng = np.random.default_rng(seed)
    shares = np.full(len(groups), count // len(groups))
    # What does not divide evenly goes to classes drawn by lot.
    shares[rng.permutation(len(groups))[: count % len(groups)]] += 1
    centers = rng.permutation(
        np.concatenate(
            [
                rng.choice(group, share, replace=share > len(group))
                for group, share in zip(groups, shares, strict=True)
            ]
        )
    )  # (count,)

    n, row, column = np.unravel_index(centers, split.masks.shape)
    reach = np.arange(size) - size // 2
    _, height, width = split.masks.shape
    rows = _mirror(row[:, None] + reach, height)  # (count, size)
    columns = _mirror(column[:, None] + reach, width)
    patches = split.images[n[:, None, None], rows[:, :, None], columns[:, None, :]]
    return patches, labels[centers]


@keras.saving.register_keras_serializable(package="seglab")
class MirrorPadding2D(layers.ZeroPadding2D):
    """Pad images with their mirror image, by any amount.

    Like ``numpy.pad(..., mode="reflect")``: the edge is not repeated, and an image that
    is smaller than its padding is mirrored again and again.

    Parameters
    ----------
    padding : int or ((top, bottom), (left, right))
        Pixels to add.
    **kwargs
        Of `keras.layers.Layer`.

    Examples
    --------
    >>> row = np.array([1.0, 2.0, 3.0], np.float32).reshape(1, 1, 3, 1)
    >>> padded = MirrorPadding2D(((0, 0), (2, 3)))(row)
    >>> np.array(padded)[0, 0, :, 0].tolist()
    [3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0, 2.0]
    """

    def call(self, inputs: Any) -> Any:
        """Pad images (N, H, W, C)."""
        for axis, (before, after) in enumerate(self.padding, start=1):
            size = ops.shape(inputs)[axis]
            index = _mirror(ops.arange(-before, size + after), size, ops.maximum)
            inputs = ops.take(inputs, index, axis=axis)
        return inputs


@keras.saving.register_keras_serializable(package="seglab")
class DilatedMaxPooling2D(layers.MaxPooling2D):
    """Take the maximum of values that lie some way apart, at every position.

    What a max pooling becomes in a dense network: stride 1, padding "valid", and a
    distance between the taps of its window, as a dilated convolution has.

    Parameters
    ----------
    pool_size : int or (int, int), default 2
        Values along each axis.
    dilation_rate : int or (int, int), default 1
        Distance from one to the next.
    **kwargs
        Of `keras.layers.Layer`.

    Examples
    --------
    >>> row = np.array([5.0, 1.0, 4.0, 2.0], np.float32).reshape(1, 1, 4, 1)
    >>> pool = DilatedMaxPooling2D((1, 2), dilation_rate=2)
    >>> np.array(pool(row))[0, 0, :, 0].tolist()  # of 5 and 4, of 1 and 2
    [5.0, 2.0]
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        dilation_rate: int | Sequence[int] = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides=1, **kwargs)
        self.dilation_rate = (
            (dilation_rate, dilation_rate)
            if isinstance(dilation_rate, int)
            else tuple(dilation_rate)
        )

    def call(self, inputs: Any) -> Any:
        """Pool maps (N, H, W, C), along the columns and then along the rows."""
        _, height, width, _ = self.compute_output_shape(ops.shape(inputs))
        step, taps = self.dilation_rate[0], range(self.pool_size[0])
        x = reduce(ops.maximum, [inputs[:, t * step :][:, :height] for t in taps])
        step, taps = self.dilation_rate[1], range(self.pool_size[1])
        return reduce(ops.maximum, [x[:, :, t * step :][:, :, :width] for t in taps])

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """Give the shape (N, H - step * (taps - 1), W - ..., C)."""
        count, *size, channels = input_shape
        return (
            count,
            *(
                None if s is None else s - step * (taps - 1)
                for s, step, taps in zip(
                    size, self.dilation_rate, self.pool_size, strict=True
                )
            ),
            channels,
        )

    def get_config(self) -> dict[str, Any]:
        """Give what rebuilds the layer from a file."""
        config = super().get_config()
        del config["strides"], config["padding"]  # always 1 and "valid"
        return {**config, "dilation_rate": self.dilation_rate}


def _mirror(index: Any, size: Any, maximum: Any = np.maximum) -> Any:
    """Send positions beyond an axis of that size back inside, as a mirror would.

    ... 2 1 [0 1 2 3] 2 1 0 1 ...: a zigzag of period 2 * (size - 1). On arrays of
    NumPy, and of Keras with its own `maximum`.
    """
    last = size - 1
    period = maximum(2 * last, 1)  # 1: an axis of one pixel is all mirror images
    return abs((index + last) % period - last)


_POINTWISE = (
    layers.Activation,
    layers.BatchNormalization,
    layers.Dropout,
    layers.LeakyReLU,
    layers.ReLU,
)
"""Layers that do the same at every place of a map."""


def _chain(model: keras.Model) -> list[layers.Layer]:
    """List the layers of a classifier of patches from first to last, all checked."""
    wanted = "to_dense takes a classifier of patches, as patch_cnn makes"
    if (
        len(model.inputs) != 1
        or len(model.outputs) != 1
        or len(model.input_shape) != 4
        or None in model.input_shape[1:]
        or len(model.output_shape) != 2
    ):
        raise ValueError(
            f"the model leads from {model.input_shape} to {model.output_shape}; "
            f"{wanted}: from patches of one size, (None, H, W, C), to scores, (None, "
            "num_classes)."
        )
    chain = [
        layer for layer in model.layers if not isinstance(layer, layers.InputLayer)
    ]
    # A Sequential is a chain by its kind, and connects its layers anew at each `add`.
    may_branch = not isinstance(model, keras.Sequential)
    flat = False  # between Flatten and the first Dense: no map, so no place
    x = model.inputs[0]
    for layer in chain:
        if may_branch and layer.input is not x:
            raise ValueError(
                f"layer {layer.name!r} does not follow the one before it alone: the "
                f"model branches. {wanted}: a chain of layers."
            )
        reason = _obstacle(layer, flat)
        if reason:
            raise ValueError(
                f"layer {layer.name!r} ({type(layer).__name__}) cannot be made dense: "
                f"{reason}."
            )
        flat = type(layer) is layers.Flatten or (flat and type(layer) in _POINTWISE)
        x = layer.output
    if flat:
        raise ValueError(f"the model does not end in a dense layer. {wanted}.")
    return chain


def _obstacle(layer: layers.Layer, flat: bool) -> str:
    """Say why a layer cannot be made dense; nothing if it can."""
    kind = type(layer)
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return 'only data_format="channels_last" is known here'
    if kind in (layers.Conv2D, layers.MaxPooling2D):
        if layer.padding != "valid":
            return (
                f"padding={layer.padding!r} adds a border to each patch, and inside an "
                'image patches have none. Build it with padding="valid"'
            )
        return ""
    if kind is layers.BatchNormalization and (
        flat or layer.axis not in (-1, len(layer.input.shape) - 1)
    ):
        return "it does not normalize the channels of a map, but places of it"
    if flat and kind in _POINTWISE and _joins_values(layer):
        return (
            "behind Flatten it takes the softmax over all places of the patch, which a "
            "map has for the channels of each place alone"
        )
    if kind in (layers.Flatten, layers.Dense, *_POINTWISE):
        return ""
    return (
        "known are Conv2D, MaxPooling2D, Flatten, Dense, and layers that do the same "
        "at every place: activations, dropout, batch normalization"
    )


def _joins_values(layer: layers.Layer) -> bool:
    """Whether an activation makes a value depend on the others of its vector."""
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    return "softmax" in name or name in ("sparsemax", "glu")


def _times(a: Sequence[int], b: Sequence[int]) -> tuple[int, int]:
    return a[0] * b[0], a[1] * b[1]


def _see(
    seen: Sequence[int], taps: Sequence[int], dilation: Sequence[int]
) -> tuple[int, int]:
    """Widen what a score depends on by a window with its taps so far apart."""
    height, width = (
        s + (t - 1) * d for s, t, d in zip(seen, taps, dilation, strict=True)
    )
    return height, width
