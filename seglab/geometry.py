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

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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
        Pixels of the input along the axis, :math:`H` or :math:`W`.
    kernel : int
        Side of the window, :math:`k`.
    stride : int, default 1
        Steps between two windows, :math:`s`.
    padding : int or "same" or "valid", default 0
        Zeros added at *each* end, :math:`p`; or Keras's words: "valid" is 0, "same"
        adds what `same_padding` says.
    dilation : int, default 1
        Distance between the kernel's taps, :math:`r`: the window then spans
        :math:`(k - 1)r + 1` pixels.
    ceil : bool, default False
        Round up instead of down: a last window may then stick out at the far end,
        if it starts on the input or the padding before it. Caffe's poolings do, and
        PyTorch's with ``ceil_mode=True``. "same" always rounds up.

    Returns
    -------
    int
        :math:`\lfloor (H + 2p - (k - 1)r - 1) / s \rfloor + 1`; for "same",
        :math:`\lceil H / s \rceil`.

    Raises
    ------
    ValueError
        When an argument is out of range, or the window is larger than the padded
        input.

    Source
    ------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016),
    relationships 6 and 15, where the input has :math:`i` pixels and the dilation is
    :math:`d`.

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
        Pixels of the input along the axis, :math:`H`.
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
        :math:`s(H - 1) + (k - 1)r + 1 - 2p + a` if `padding` is a number. As in
        Keras, "same" gives :math:`sH`, and "valid"
        :math:`s(H - 1) + \max((k - 1)r + 1, s)`.

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

    So many that :math:`\lceil H / s \rceil` windows fit. An odd number of zeros cannot
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
        return self.center(0)

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

    def center(self, unit: int) -> float:
        """Center of what a unit sees; that of pixel i is at i.

        Parameters
        ----------
        unit : int
            Number of the unit along the axis, from 0; any integer.

        Returns
        -------
        float
            Halfway between the first and the last pixel; NaN if the unit sees nothing.

        Examples
        --------
        >>> field = receptive_field([(3, 1), (2, 2)])
        >>> [field.center(unit) for unit in range(3)]
        [1.5, 3.5, 5.5]
        """
        seen = self.pixels(unit)
        if not seen:
            return math.nan
        return _plain(Fraction(seen.start + seen.stop - 1, 2))

    def __repr__(self) -> str:
        return f"ReceptiveField(size={self.size}, jump={self.jump}, start={self.start})"


def receptive_field(
    layers: Mapping[str, Sequence[Any]] | Sequence[Sequence[Any]] | Any,
    *,
    axis: str | None = None,
) -> ReceptiveField:
    r"""Find which input pixels one unit of the last layer sees.

    A network cannot use what its units do not see. This is the upper limit; what a
    trained unit really uses is concentrated near the center.

    Parameters
    ----------
    layers : list of tuples, or keras.Model
        Either windows from first to last, each (kernel, stride), (kernel, stride,
        dilation) or (kernel, stride, dilation, padding), with padding 0 unless given;
        a dict names them.
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
    A layer of your own declares its window by a method ``receptive_window(axis)`` that
    returns such a tuple for the axis 0 (height) or 1 (width). Several inputs are joined
    first; a layer that moves nothing returns ``(1, 1)``.

    In a chain of windows, layer l sees :math:`R_l = R_{l-1} + (k_l - 1) r_l J_{l-1}`
    pixels and jumps by :math:`J_l = J_{l-1} s_l`, from :math:`R_0 = J_0 = 1`. Its first
    unit's field has its center at
    :math:`q_l = q_{l-1} + ((k_l - 1) r_l / 2 - p_l) J_{l-1}`, from :math:`q_0 = 0`.
    That fails behind upsampling, where neighboring units differ; so the pixels are
    followed from unit to unit here, which gives the same numbers and holds everywhere.

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
    for window in _windows(layers).values():
        field = _through_window(field, None, *window)
    return field


@dataclass(frozen=True)
class LayerGeometry:
    """One row of a `LayerTable`.

    Parameters
    ----------
    layer : str
        Its name.
    size : int or None
        Units along the axis; None if that depends on an input of unknown size, or if
        the layer has no such axis (Flatten).
    field : ReceptiveField or None
        What the units see; None if they see the whole image.

    Examples
    --------
    >>> LayerGeometry("pool1", 112, receptive_field([(3, 1), (2, 2)])).field.size
    4
    """

    layer: str
    size: int | None
    field: ReceptiveField | None


class LayerTable(tuple[LayerGeometry, ...]):
    """The layers of a network, with the size and the receptive field of each.

    A tuple of `LayerGeometry` that prints as a table, also in a notebook. Its columns
    are the layer, its units along the axis, and the size, jump and start of their
    `ReceptiveField`, or "all" where units see the whole image.

    Examples
    --------
    >>> LayerTable([LayerGeometry("image", 9, receptive_field([]))])
    layer  size  field  jump  start
    image     9      1     1      0
    """

    __slots__ = ()

    def rows(self) -> list[list[str]]:
        """Give the table as text, the head first."""
        rows = [["layer", "size", "field", "jump", "start"]]
        for row in self:
            size = "any" if row.size is None else str(row.size)
            if row.field is None:
                rows.append([row.layer, "", "all", "", ""])
                continue
            field = row.field.size, row.field.jump, row.field.start
            rows.append([row.layer, size, *(f"{number:g}" for number in field)])
        return rows

    def __repr__(self) -> str:
        rows = self.rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0])]
                + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
            ).rstrip()
            for row in rows
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head, *body = self.rows()
        cells = "".join(f'<th scope="col">{name}</th>' for name in head)
        lines = "".join(
            f'<tr><th scope="row">{html.escape(row[0])}</th>'
            + "".join(f"<td>{cell}</td>" for cell in row[1:])
            + "</tr>"
            for row in body
        )
        return f"<table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>"


def layer_table(
    layers: Mapping[str, Sequence[Any]] | Sequence[Sequence[Any]] | Any,
    size: int | None = None,
    *,
    axis: str = "height",
) -> LayerTable:
    """Follow sizes and receptive fields through a network, layer by layer.

    Parameters
    ----------
    layers : dict or list of tuples, or keras.Model
        As for `receptive_field`; a dict names the windows.
    size : int, optional
        Pixels of the image along the axis. Of a model whose input has a fixed size,
        that is taken.
    axis : {"height", "width"}, default "height"
        Of a model.

    Returns
    -------
    LayerTable
        A row for the image and one for each layer, in order. Behind a layer that sees
        the whole image (Flatten, global pooling) all do.

    Raises
    ------
    ValueError
        As `conv_output` and `receptive_field` do.

    Examples
    --------
    LeNet-5 up to its layer S4 (LeCun et al., 1998, Figure 2, has the same sizes):

    >>> layer_table({"C1": (5, 1), "S2": (2, 2), "C3": (5, 1), "S4": (2, 2)}, size=32)
    layer  size  field  jump  start
    image    32      1     1      0
    C1       28      5     1      2
    S2       14      6     2    2.5
    C3       10     14     2    6.5
    S4        5     16     4    7.5
    """
    if axis not in ("height", "width"):
        raise ValueError(f'axis is {axis!r}; it must be "height" or "width".')
    if size is not None:
        size = _integer("size", size, 1)
    if hasattr(layers, "layers"):
        return _model_table(layers, size, ("height", "width").index(axis))
    field = _PIXELS
    rows = [LayerGeometry("image", size, field)]
    for name, (kernel, stride, dilation, padding) in _windows(layers).items():
        field = _through_window(field, size, kernel, stride, dilation, padding)
        if size is not None:
            size = conv_output(size, kernel, stride, padding, dilation)
        rows.append(LayerGeometry(name, size, field))
    return LayerTable(rows)


_PIXELS = ReceptiveField((range(1),), 1)
"""The image itself: each pixel sees itself."""

Window = tuple[int, int, int, Padding]
"""Kernel, stride, dilation and padding."""


def _windows(layers: Any) -> dict[str, Window]:
    """Check and complete the windows of a dict, or of a list, whose names count."""
    if isinstance(layers, Mapping):
        return {
            str(name): _window(layer, f"layers[{name!r}]")
            for name, layer in layers.items()
        }
    if not isinstance(layers, (list, tuple)):
        raise ValueError(
            f"layers is a {type(layers).__name__}; it must be a list of (kernel, "
            "stride) tuples, or a Keras model that is functional or Sequential."
        )
    return {
        f"layer {i + 1}": _window(layer, f"layers[{i}]")
        for i, layer in enumerate(layers)
    }


def _window(layer: Any, name: str) -> Window:
    if not isinstance(layer, (list, tuple)) or not 2 <= len(layer) <= 4:
        raise ValueError(
            f"{name} is {layer!r}; it must be (kernel, stride), (kernel, stride, "
            "dilation) or (kernel, stride, dilation, padding)."
        )
    kernel, stride = layer[:2]
    dilation = layer[2] if len(layer) > 2 else 1
    padding = layer[3] if len(layer) > 3 else 0
    _check_window(kernel, stride, dilation)
    _check_padding(padding)
    return kernel, stride, dilation, padding


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
    _check_model(model)
    return _graph_field(model, _PIXELS, axis)


def _check_model(model: Any) -> None:
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


def _model_table(model: Any, size: int | None, axis: int) -> LayerTable:
    """Follow sizes and fields through a Keras model; `axis` 0 is the height."""
    _check_model(model)
    (image,) = model.inputs
    fixed = image.shape[1 + axis]
    if size is not None and fixed not in (None, size):
        raise ValueError(
            f"size is {size}, and the model takes {fixed} pixels along this axis; "
            "leave size out."
        )
    fields = _graph_fields(model, _PIXELS, axis, stop=False)  # at a fitting size
    # In the order of Keras's summary, not in that of the search.
    operations = getattr(model, "operations", model.layers)
    order = {id(operation): i for i, operation in enumerate(operations)}
    places = {
        # A layer has one row for each time it is called, not for each output. That of
        # the image comes first; a Sequential does not list it.
        (order.get(id(operation), -1), node): tensor
        for tensor, _ in fields.values()
        for operation, node, _ in [tensor._keras_history]
    }
    tensors = [places[place] for place in sorted(places)]
    shapes = [tensor.shape for tensor in tensors]
    if size is not None and fixed is None:
        import keras  # loaded already: the model is Keras's

        N, *sides, C = image.shape
        sides = [size if side is None else side for side in sides]
        outputs = keras.Function(image, tensors).compute_output_spec(
            keras.KerasTensor((N, *sides, C), image.dtype)
        )
        shapes = [output.shape for output in outputs]
        # Where a "same" window begins depends on the size, now that it is known.
        known = {id(t): shape for t, shape in zip(tensors, shapes, strict=True)}
        fields = _graph_fields(model, _PIXELS, axis, stop=False, shapes=known)
    return LayerTable(
        LayerGeometry(
            "image" if tensor is image else tensor._keras_history.operation.name,
            shape[1 + axis] if len(shape) == 4 else None,
            fields[id(tensor)][1],
        )
        for tensor, shape in zip(tensors, shapes, strict=True)
    )


def _graph_field(model: Any, field: ReceptiveField, axis: int) -> ReceptiveField:
    """Follow a field through a model that may be part of another."""
    _, field_or_none = _graph_fields(model, field, axis)[id(model.outputs[0])]
    assert field_or_none is not None  # a layer that sees all has raised
    return field_or_none


def _graph_fields(
    model: Any,
    field: ReceptiveField,
    axis: int,
    stop: bool = True,
    shapes: Mapping[int, Sequence[Any]] | None = None,
) -> dict[int, tuple[Any, ReceptiveField | None]]:
    """Give each tensor of a model, by its id, with its field.

    At a layer that sees the whole image, `stop` with an error, or give None. Of tensors
    by their ids, `shapes` says more than they do themselves.
    """
    fields: dict[int, tuple[Any, ReceptiveField | None]] = {
        id(model.inputs[0]): (model.inputs[0], field)
    }
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
        before = [fields[id(t)][1] for t in inputs]
        known = [field for field in before if field is not None]
        if not stop and (len(known) < len(before) or _sees_all(layer)):
            fields[id(tensor)] = tensor, None
        else:
            shape = (shapes or {}).get(id(inputs[0]), inputs[0].shape)
            after = _layer_field(layer, known, shape, axis)
            fields[id(tensor)] = tensor, after
    return fields


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
    if hasattr(layer, "receptive_window"):
        declared = layer.receptive_window(axis)
        own = _window(declared, f"receptive_window of layer {layer.name!r}")
        return _through_window(_join(fields, layer.name), shape[1 + axis], *own)
    if "MaxUnpooling2D" in names:  # of SegNet: of values, indices, and a size
        values, indices, _ = fields
        return _through_upsampling(_join([values, indices], layer.name), 2, "nearest")
    if "CropLike" in names:  # of FCN: of a map, and a size
        return _through(fields[0], lambda o: (o + layer.offset,), inputs=1, outputs=1)
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
    if _sees_all(layer):
        return ValueError(
            f"layer {layer.name!r} ({kind}) sees the whole image: behind it there is "
            "no receptive field. Measure the model up to the layer before it: "
            'keras.Model(model.input, model.get_layer("name").output).'
        )
    return ValueError(
        f"what a unit of layer {layer.name!r} ({kind}) sees is not known here. Known "
        "are convolutions, transposed convolutions, max and average pooling, nearest "
        "and bilinear UpSampling2D, padding, cropping, layers that join branches, and "
        "activations, normalizations and dropout that act on each pixel. A layer of "
        "your own declares its window by a method receptive_window(axis)."
    )


def _sees_all(layer: Any) -> bool:
    kind = type(layer).__name__
    return kind == "Flatten" or kind.startswith("Global")


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
