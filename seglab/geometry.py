"""How large the output of a layer is, and which input pixels one output unit sees.

Everything here is arithmetic along one axis of an image, height or width: the two do
not influence each other. Nothing is computed on images, so networks of any size can
be measured, and Keras is not imported.

Coordinates: pixel ``i`` has its center at ``i``, so the first pixel's center is at 0
and its left edge at -0.5. Positions before 0 lie in the padding.

Examples
--------
A convolution as in VGG16, and its pooling:

>>> conv_output(224, kernel=3, padding="same"), conv_output(224, kernel=2, stride=2)
(224, 112)

Two 3x3 convolutions see as much as one 5x5:

>>> receptive_field([(3, 1), (3, 1)]).size
5
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

Padding = int | str


def conv_output(
    size: int,
    kernel: int,
    stride: int = 1,
    padding: Padding = 0,
    dilation: int = 1,
    *,
    ceil: bool = False,
) -> int:
    r"""Count the positions of a convolution's or a pooling's window along one axis.

    Parameters
    ----------
    size : int
        Pixels of the input along the axis, :math:`i`.
    kernel : int
        Side of the window, :math:`k`.
    stride : int, default 1
        Steps between two windows, :math:`s`.
    padding : int or "same" or "valid", default 0
        Zeros added at *each* end, :math:`p`; or Keras's words: "valid" is 0, "same"
        adds what `same_padding` says.
    dilation : int, default 1
        Distance between the kernel's taps, :math:`d`: the window then spans
        :math:`(k - 1)d + 1` pixels.
    ceil : bool, default False
        Round up instead of down: a last window may then stick out at the far end,
        if it starts on the input or the padding before it. Caffe's poolings do, and
        PyTorch's with ``ceil_mode=True``. "same" always rounds up.

    Returns
    -------
    int
        :math:`\lfloor (i + 2p - (k - 1)d - 1) / s \rfloor + 1`; for "same",
        :math:`\lceil i / s \rceil`.

    Raises
    ------
    ValueError
        When an argument is out of range, or the window is larger than the padded
        input.

    Source
    ------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016),
    relationships 6 and 15.

    Examples
    --------
    >>> conv_output(227, kernel=11, stride=4)  # AlexNet's first layer
    55
    >>> conv_output(5, kernel=3, stride=2, padding="same")
    3
    >>> conv_output(5, kernel=2, stride=2), conv_output(5, 2, 2, ceil=True)
    (2, 3)
    """
    size = _integer("size", size, 1)
    _check_window(kernel, stride, dilation)
    _check_padding(padding)
    if padding == "same":
        return -(-size // stride)  # rounded up
    p = 0 if isinstance(padding, str) else padding
    span = _span(kernel, dilation)
    room = size + 2 * p - span  # how far the window can move
    if room < 0:
        raise ValueError(
            f"the window spans {span} pixels (kernel {kernel}, dilation {dilation}) "
            f"and the input has {size}, {size + 2 * p} with padding {padding}: it does "
            'not fit once. Use a larger input, more padding or padding="same".'
        )
    count = room // stride + 1
    # A window that started behind the input would see padding alone.
    one_more = ceil and room % stride > 0 and count * stride < size + p
    return count + one_more


def transposed_conv_output(
    size: int,
    kernel: int,
    stride: int = 1,
    padding: Padding = 0,
    dilation: int = 1,
    output_padding: int | None = None,
) -> int:
    r"""Count the outputs of a transposed convolution along one axis.

    It undoes what a convolution of the same numbers does to the *size* (not to the
    values). A stride above 1 makes a convolution forget up to ``stride - 1`` pixels,
    so several sizes lead to the same output: `output_padding` chooses among them.

    Parameters
    ----------
    size : int
        Pixels of the input along the axis, :math:`i'`.
    kernel, stride, dilation : int
        As in `conv_output`.
    padding : int or "same" or "valid", default 0
        Pixels *taken off* at each end: the padding of the convolution that it is the
        transpose of, :math:`p`. Or Keras's words.
    output_padding : int, optional
        Pixels added at the far end, :math:`a`. By default 0 if `padding` is a number;
        with "same" and "valid" the default makes the sizes below.

    Returns
    -------
    int
        :math:`s(i' - 1) + (k - 1)d + 1 - 2p + a` if `padding` is a number. As in
        Keras, "same" gives :math:`i's`, and "valid"
        :math:`s(i' - 1) + \max((k - 1)d + 1, s)`.

    Raises
    ------
    ValueError
        When an argument is out of range, or nothing is left of the output.

    Source
    ------
    Dumoulin and Visin (2016), relationship 14 (which has no dilation).

    Examples
    --------
    >>> transposed_conv_output(112, kernel=2, stride=2)
    224
    >>> transposed_conv_output(8, kernel=64, stride=32)  # FCN-32s
    288
    >>> transposed_conv_output(4, kernel=3, stride=2, padding="same")
    8
    """
    size = _integer("size", size, 1)
    _check_window(kernel, stride, dilation)
    _check_padding(padding)
    if output_padding is not None:
        _integer("output_padding", output_padding, 0)
    start, extra = _transposed_ends(kernel, stride, padding, dilation, output_padding)
    span = _span(kernel, dilation)
    output = (size - 1) * stride + span - start + extra
    if output < 1:
        raise ValueError(
            f"a transposed convolution of {size} pixels with kernel {kernel}, stride "
            f"{stride}, dilation {dilation} makes {(size - 1) * stride + span} pixels, "
            f"and padding={padding!r} takes them all off. Use less padding."
        )
    return output


def same_padding(
    size: int, kernel: int, stride: int = 1, dilation: int = 1
) -> tuple[int, int]:
    r"""Zeros that padding "same" adds before and after one axis, as Keras does.

    So many that :math:`\lceil i / s \rceil` windows fit. An odd number of zeros cannot
    be halved: the end gets one more than the beginning, which moves the output by
    half a pixel against frameworks that pad evenly.

    Parameters
    ----------
    size, kernel, stride, dilation : int
        As in `conv_output`.

    Returns
    -------
    (int, int)
        Before, after.

    Raises
    ------
    ValueError
        When an argument is out of range.

    Examples
    --------
    >>> same_padding(8, kernel=3)
    (1, 1)
    >>> same_padding(8, kernel=3, stride=2)
    (0, 1)
    """
    size = _integer("size", size, 1)
    _check_window(kernel, stride, dilation)
    windows = -(-size // stride)
    total = max((windows - 1) * stride + _span(kernel, dilation) - size, 0)
    return total // 2, total - total // 2


@dataclass(frozen=True)
class ReceptiveField:
    """Which input pixels each unit of a layer sees, along one axis.

    A unit sees a pixel if changing that pixel can change the unit. The fields of
    neighboring units are equal up to a shift, except behind upsampling: there they
    repeat every few units, the *phases*. The image is taken as endless: fields reach
    over its border, where padding stands in for pixels.

    Parameters
    ----------
    phases : tuple of range
        Pixels from the first to the last that the units 0, 1, ... see, until the
        pattern repeats. Empty for a unit that sees nothing.
    advance : int
        By how many pixels the pattern has moved when it repeats.

    Examples
    --------
    >>> field = receptive_field([(3, 1), (2, 2)])  # a convolution, then a pooling
    >>> field
    ReceptiveField(size=4, jump=2, start=1.5)
    >>> field.pixels(5)
    range(10, 14)
    """

    phases: tuple[range, ...]
    advance: int

    @property
    def size(self) -> int:
        """Pixels from the first to the last that a unit sees; the largest phase's."""
        return max(len(phase) for phase in self.phases)

    @property
    def jump(self) -> float:
        """Distance of the fields of neighboring units, in pixels: the total stride."""
        return _plain(Fraction(self.advance, len(self.phases)))

    @property
    def start(self) -> float:
        """Center of the first unit's field; pixel centers are whole numbers."""
        first = self.phases[0]
        return _plain(Fraction(first.start + first.stop - 1, 2))

    def pixels(self, unit: int) -> range:
        """Pixels that a unit sees, from first to last.

        Parameters
        ----------
        unit : int
            Number of the unit along the axis, from 0; any integer.

        Returns
        -------
        range
            May reach over the image's border. Empty if the unit sees nothing, as
            some behind a transposed convolution whose stride exceeds its kernel.
        """
        turn, phase = divmod(unit, len(self.phases))
        seen, shift = self.phases[phase], turn * self.advance
        return range(seen.start + shift, seen.stop + shift)

    def __repr__(self) -> str:
        return f"ReceptiveField(size={self.size}, jump={self.jump}, start={self.start})"


def receptive_field(
    layers: Sequence[Sequence[Any]] | Any, *, axis: str | None = None
) -> ReceptiveField:
    r"""Find which input pixels one unit of the last layer sees.

    A network cannot use what its units do not see. This is the upper limit; what a
    trained unit really uses is concentrated near the center.

    Parameters
    ----------
    layers : list of tuples, or keras.Model
        Either windows from first to last, each (kernel, stride), (kernel, stride,
        dilation) or (kernel, stride, dilation, padding), with padding 0 unless given.
        Or a Keras model with one input and one output, functional or a built
        Sequential, whose branches may split and join; for a layer inside, pass
        ``keras.Model(model.input, model.get_layer("name").output)``.
    axis : {"height", "width"}, optional
        Of a model. Needed only where the two differ.

    Returns
    -------
    ReceptiveField
        With `size`, `jump`, `start` and `pixels(unit)`. Where branches join, a unit
        sees from the first to the last pixel that any branch sees. Kernels are taken
        to have no zeros.

    Raises
    ------
    ValueError
        When a window is not as above, a model has a layer whose field is not known,
        or one that sees the whole image (Flatten, global pooling).

    Notes
    -----
    In a chain of windows, layer l sees :math:`r_l = r_{l-1} + (k_l - 1) d_l j_{l-1}`
    pixels and jumps by :math:`j_l = j_{l-1} s_l`, from :math:`r_0 = j_0 = 1`. That
    fails behind upsampling, where neighboring units differ; so the pixels are followed
    from unit to unit here, which gives the same numbers and holds everywhere.

    Padding "same" with a stride above 1 depends on the size of the input. A list does
    not know it: it is taken as a multiple of the stride.

    Source
    ------
    Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural
    Networks", Distill (2019).

    Examples
    --------
    FCN-AlexNet up to its layer fc6 sees 355 pixels (Long et al., 2015, Table 1):

    >>> pool = (3, 2)
    >>> alexnet = [(11, 4), pool, (5, 1), pool, (3, 1), (3, 1), (3, 1), pool, (6, 1)]
    >>> receptive_field(alexnet)
    ReceptiveField(size=355, jump=32, start=177)
    """
    if axis not in (None, "height", "width"):
        raise ValueError(f'axis is {axis!r}; it must be "height" or "width".')
    if hasattr(layers, "layers"):
        if axis is not None:
            return _model_field(layers, ("height", "width").index(axis))
        height, width = (_model_field(layers, a) for a in (0, 1))
        if height != width:
            raise ValueError(
                f"along the height the model has {height}, along the width {width}: "
                'choose one by axis="height" or axis="width".'
            )
        return height
    field = _PIXELS
    if not isinstance(layers, (list, tuple)):
        raise ValueError(
            f"layers is a {type(layers).__name__}; it must be a list of (kernel, "
            "stride) tuples, or a Keras model that is functional or Sequential."
        )
    for i, layer in enumerate(layers):
        if not isinstance(layer, (list, tuple)) or not 2 <= len(layer) <= 4:
            raise ValueError(
                f"layers[{i}] is {layer!r}; it must be (kernel, stride), (kernel, "
                "stride, dilation) or (kernel, stride, dilation, padding)."
            )
        kernel, stride = layer[:2]
        dilation = layer[2] if len(layer) > 2 else 1
        padding = layer[3] if len(layer) > 3 else 0
        _check_window(kernel, stride, dilation)
        _check_padding(padding)
        field = _through_window(field, None, kernel, stride, dilation, padding)
    return field


_PIXELS = ReceptiveField((range(1),), 1)
"""The image itself: each pixel sees itself."""


def _through(
    field: ReceptiveField,
    sees: Callable[[int], Iterable[int]],
    inputs: int,
    outputs: int,
) -> ReceptiveField:
    """Put a layer behind a field.

    Its unit ``o`` sees the units ``sees(o)`` before it, and when `outputs` units are
    passed, what is seen moves on by `inputs`.
    """
    # The pattern repeats when the layer's own and that before it do.
    old = len(field.phases)
    turns = old // math.gcd(old, inputs)
    phases = tuple(
        _hull(field.pixels(i) for i in sees(o)) for o in range(turns * outputs)
    )
    return ReceptiveField(phases, field.advance * turns * inputs // old)


def _through_window(
    field: ReceptiveField,
    size: int | None,
    kernel: int,
    stride: int,
    dilation: int,
    padding: Padding,
) -> ReceptiveField:
    """Put a convolution or a pooling behind a field; `size` None: a multiple."""
    if padding == "same":
        p = same_padding(size or stride * kernel * dilation, kernel, stride, dilation)[
            0
        ]
    else:
        p = 0 if isinstance(padding, str) else padding
    return _through(
        field,
        lambda o: (o * stride - p + tap * dilation for tap in range(kernel)),
        inputs=stride,
        outputs=1,
    )


def _through_transposed(
    field: ReceptiveField,
    kernel: int,
    stride: int,
    dilation: int,
    padding: Padding,
    output_padding: int | None,
) -> ReceptiveField:
    """Put a transposed convolution behind a field."""
    taken, extra = _transposed_ends(kernel, stride, padding, dilation, output_padding)
    # What "same" takes off in all is split as same_padding splits it.
    before = max(taken - extra, 0) // 2 if isinstance(padding, str) else padding

    def sees(o: int) -> Iterable[int]:
        # Input i is spread over the outputs i * stride - before + tap * dilation.
        for tap in range(kernel):
            i, rest = divmod(o + before - tap * dilation, stride)
            if rest == 0:
                yield i

    return _through(field, sees, inputs=1, outputs=stride)


def _through_upsampling(
    field: ReceptiveField, factor: int, interpolation: str
) -> ReceptiveField:
    """Put nearest or bilinear upsampling behind a field."""

    def sees(o: int) -> Iterable[int]:
        if interpolation == "nearest":
            return (o // factor,)
        # Output o lies at (o + 1/2) / factor - 1/2, between two inputs or on one.
        position = Fraction(2 * o + 1, 2 * factor) - Fraction(1, 2)
        return (math.floor(position), math.ceil(position))

    return _through(field, sees, inputs=1, outputs=factor)


def _join(fields: Sequence[ReceptiveField], name: str) -> ReceptiveField:
    """Join branches unit by unit, as a concatenation or a sum does."""
    if len({field.jump for field in fields}) > 1:
        jumps = " and ".join(str(field.jump) for field in fields)
        raise ValueError(
            f"layer {name!r} joins branches of total strides {jumps}: their units do "
            "not lie on the same grid, so the joined units have no common field."
        )
    period = math.lcm(*(len(field.phases) for field in fields))
    phases = tuple(_hull(f.pixels(unit) for f in fields) for unit in range(period))
    return ReceptiveField(phases, fields[0].advance * (period // len(fields[0].phases)))


def _hull(ranges: Iterable[range]) -> range:
    """From the first to the last of what some ranges hold."""
    filled = [r for r in ranges if r]
    if not filled:
        return range(0)
    return range(min(r.start for r in filled), max(r.stop for r in filled))


_WINDOWS = {
    "Conv2D": "kernel_size",
    "BaseDepthwiseConv": "kernel_size",
    "BaseSeparableConv": "kernel_size",
    "MaxPooling2D": "pool_size",
    "AveragePooling2D": "pool_size",
}
"""Keras's classes of windows, and the attribute that holds the window's side."""

_JOINS = {
    *("Concatenate", "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"),
    "Divide",
}
"""Layers, and operations such as that of ``x + y``, that join branches by unit."""

_POINTWISE = {
    *("InputLayer", "Identity", "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU"),
    *("BatchNormalization", "Dense", "Rescaling", "ActivityRegularization"),
    *("Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout"),
    *("Relu", "Relu6", "Sigmoid", "Tanh", "Silu", "Gelu", "HardSigmoid", "Negative"),
    "CheckSize",
}
"""Layers and operations in which a unit sees the unit at its own place alone."""

_POINTWISE_ON_CHANNELS = {"Softmax", "LayerNormalization", "Normalization"}
"""The same, as long as their axis is that of the channels."""


def _model_field(model: Any, axis: int) -> ReceptiveField:
    """Follow the field through a Keras model; `axis` 0 is the height."""
    if not getattr(model, "outputs", None):
        raise ValueError(
            f"the layers of model {model.name!r} are not connected: it is subclassed, "
            "or a Sequential whose first entry is not keras.Input((H, W, C)). Build it "
            "as a functional model, or give the Sequential its input."
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"the model has {len(model.inputs)} inputs and {len(model.outputs)} "
            "outputs; a receptive field is of one output in one input. Choose one: "
            'keras.Model(model.input, model.get_layer("name").output).'
        )
    if len(model.inputs[0].shape) != 4:
        raise ValueError(
            f"the model's input has shape {tuple(model.inputs[0].shape)}; it must take "
            "images, (N, H, W, C)."
        )
    return _graph_field(model, _PIXELS, axis)


def _graph_field(model: Any, field: ReceptiveField, axis: int) -> ReceptiveField:
    """Follow a field through a model that may be part of another."""
    fields = {id(model.inputs[0]): field}
    waiting = [model.outputs[0]]
    while waiting:  # depth first; not recursive, since networks may be deep
        tensor = waiting[-1]
        if id(tensor) in fields:
            waiting.pop()
            continue
        layer, node_index, _ = tensor._keras_history
        inputs = layer._inbound_nodes[node_index].input_tensors
        missing = [t for t in inputs if id(t) not in fields]
        if missing:
            waiting.extend(missing)
            continue
        before = [fields[id(t)] for t in inputs]
        fields[id(tensor)] = _layer_field(layer, before, inputs[0].shape, axis)
    return fields[id(model.outputs[0])]


def _layer_field(
    layer: Any, fields: list[ReceptiveField], shape: Sequence[Any], axis: int
) -> ReceptiveField:
    """Put one layer of a Keras model behind the fields of its inputs."""
    # Classes are known by their names, so that Keras need not be imported.
    names = {base.__name__ for base in type(layer).__mro__}
    if getattr(layer, "data_format", "channels_last") not in ("channels_last", None):
        raise ValueError(
            f"layer {layer.name!r} has data_format={layer.data_format!r}; only "
            '"channels_last", (N, H, W, C), is known here.'
        )
    channels = len(shape) - 1
    if names & _JOINS:
        if getattr(layer, "axis", -1) not in (-1, channels):
            raise ValueError(
                f"layer {layer.name!r} concatenates along axis {layer.axis}; a "
                "receptive field is known for the channels, axis -1."
            )
        return _join(fields, layer.name)
    field = fields[0]
    if len(fields) > 1:
        raise _unknown(layer)
    if names & _POINTWISE:
        return field
    if names & _POINTWISE_ON_CHANNELS:
        axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
        if set(axes) <= {-1, channels}:
            return field
    if window := names & set(_WINDOWS):
        kernel = getattr(layer, _WINDOWS[window.pop()])[axis]
        return _through_window(
            field,
            shape[1 + axis],
            kernel,
            layer.strides[axis],
            getattr(layer, "dilation_rate", (1, 1))[axis],
            layer.padding,
        )
    if "Conv2DTranspose" in names:
        extra = layer.output_padding
        return _through_transposed(
            field,
            layer.kernel_size[axis],
            layer.strides[axis],
            layer.dilation_rate[axis],
            layer.padding,
            extra[axis] if isinstance(extra, (list, tuple)) else extra,
        )
    if "UpSampling2D" in names and layer.interpolation in ("nearest", "bilinear"):
        return _through_upsampling(field, layer.size[axis], layer.interpolation)
    if "ZeroPadding2D" in names:
        before = layer.padding[axis][0]
        return _through(field, lambda o: (o - before,), inputs=1, outputs=1)
    if "Cropping2D" in names:
        before = layer.cropping[axis][0]
        return _through(field, lambda o: (o + before,), inputs=1, outputs=1)
    if names & {"Functional", "Sequential"}:
        return _graph_field(layer, field, axis)
    raise _unknown(layer)


def _unknown(layer: Any) -> ValueError:
    kind = type(layer).__name__
    if kind == "Flatten" or kind.startswith("Global"):
        return ValueError(
            f"layer {layer.name!r} ({kind}) sees the whole image: behind it there is "
            "no receptive field. Measure the model up to the layer before it: "
            'keras.Model(model.input, model.get_layer("name").output).'
        )
    return ValueError(
        f"what a unit of layer {layer.name!r} ({kind}) sees is not known here. Known "
        "are convolutions, transposed convolutions, max and average pooling, nearest "
        "and bilinear UpSampling2D, padding, cropping, layers that join branches, and "
        "activations, normalizations and dropout that act on each pixel."
    )


def _transposed_ends(
    kernel: int,
    stride: int,
    padding: Padding,
    dilation: int,
    output_padding: int | None,
) -> tuple[int, int]:
    """Pixels that a transposed convolution loses at both ends together, and gains."""
    span = _span(kernel, dilation)
    if not isinstance(padding, str):
        return 2 * padding, output_padding or 0
    if padding == "valid":
        return 0, max(stride - span, 0) if output_padding is None else output_padding
    if output_padding is None:  # "same": as many as size * stride needs
        return span, stride
    return 2 * (span // 2), output_padding


def _span(kernel: int, dilation: int) -> int:
    """Pixels from a kernel's first tap to its last."""
    return (kernel - 1) * dilation + 1


def _plain(value: Fraction) -> float:
    """Give whole numbers as int: 16 reads better than 16.0."""
    return int(value) if value.denominator == 1 else float(value)


def _integer(name: str, value: Any, smallest: int) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, np.integer))
        or value < smallest
    ):
        raise ValueError(
            f"{name} is {value!r}; it must be an integer, {smallest} or more."
        )
    return int(value)


def _check_window(kernel: int, stride: int, dilation: int) -> None:
    for name, value in {
        "kernel": kernel,
        "stride": stride,
        "dilation": dilation,
    }.items():
        _integer(name, value, 1)


def _check_padding(padding: Padding) -> None:
    if padding not in ("same", "valid"):
        if isinstance(padding, str):
            raise ValueError(
                f'padding is {padding!r}; it must be "same", "valid" or a number.'
            )
        _integer("padding", padding, 0)
