"""Receptive fields: on an image, and layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import ArrayLike, NDArray

from seglab import geometry
from seglab.geometry import ReceptiveField
from seglab.plots.arrays import check_image
from seglab.plots.colors import hex_to_rgb
from seglab.plots.figure import MAX_WIDTH, Figure, style, subplots

_FIELD = "#E69F00"
_HEAT = "#D55E00"
_PADDING: dict[str, Any] = {
    "facecolor": "#DDDDDD",
    "edgecolor": "#808080",
    "hatch": "////",
}


def receptive_field(
    field: Any,
    image: ArrayLike,
    *,
    unit: tuple[int, int] | None = None,
    effective: ArrayLike | None = None,
) -> Figure:
    """Draw on an image which pixels one unit of a layer sees.

    Beside the numbers of `seglab.geometry.receptive_field`: is the field larger than
    the objects? What a unit does not see it cannot use.

    Parameters
    ----------
    field : ReceptiveField, pair of them, list of layers, or keras.Model
        What `seglab.geometry.receptive_field` returns, or takes; a pair is (along the
        height, along the width).
    image : array, shape (H, W), (H, W, 1) or (H, W, 3)
        Floats in [0, 1], or bytes: the network's input.
    unit : (int, int), optional
        Row and column of the unit in its layer. By default the one whose field is in
        the middle of the image.
    effective : array of float, shape (H, W), optional
        How much each pixel really moves that unit, 0 or more, such as the absolute
        gradient; it is painted over the image. Few pixels near the center often do
        most of it.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When shapes do not fit, or the unit sees nothing of the image.

    Source
    ------
    Luo, Li, Urtasun and Zemel, "Understanding the Effective Receptive Field in Deep
    Convolutional Neural Networks", NeurIPS 2016, for `effective`.

    Examples
    --------
    >>> import numpy as np
    >>> from seglab.plots import alt_text
    >>> fig = receptive_field([(3, 1), (2, 2), (3, 1)], np.zeros((16, 24)))
    >>> print(alt_text(fig))
    An image of 16 × 24 pixels. Unit (2, 4) of the layer sees 8 × 8 of them: rows 4 to
    11, columns 8 to 15.
    """
    rgb = check_image(image)
    H, W = rgb.shape[:2]
    fields = _pair(field)
    if unit is None:
        # Which unit's field is in the middle: start + unit * jump = (size - 1) / 2.
        middle = [
            max(round(((n - 1) / 2 - f.start) / f.jump), 0)
            for f, n in zip(fields, (H, W), strict=True)
        ]
        unit = middle[0], middle[1]
    rows, columns = fields[0].pixels(unit[0]), fields[1].pixels(unit[1])
    if not (range(max(rows.start, 0), min(rows.stop, H))) or not (
        range(max(columns.start, 0), min(columns.stop, W))
    ):
        raise ValueError(
            f"unit {tuple(unit)} sees rows {rows.start} to {rows.stop - 1} and columns "
            f"{columns.start} to {columns.stop - 1}: nothing of the image, which is "
            f"{H} × {W}."
        )
    outside = rows.start < 0 or columns.start < 0 or rows.stop > H or columns.stop > W
    top, bottom = min(rows.start, 0), max(rows.stop, H)
    left, right = min(columns.start, 0), max(columns.stop, W)

    handles: list[Any] = [
        Line2D([], [], color=_FIELD, label=f"field: {len(rows)} × {len(columns)}")
    ]
    if effective is not None:
        heat = _check_heat(effective, (H, W))
        weight = (heat / heat.max())[..., None]
        gray = np.repeat(rgb.mean(axis=-1, keepdims=True), 3, axis=-1)
        rgb = (1 - weight) * gray + weight * np.array(hex_to_rgb(_HEAT))
        handles.append(Patch(facecolor=_HEAT, label="effect"))
    if outside:
        handles.append(Patch(**_PADDING, label="padding"))
    width = 4.2
    ratio = min((bottom - top) / (right - left), 1.6)
    figure, axes = subplots(width=width, height=(width - 0.3) * ratio + 0.6)
    ax = axes[0, 0]
    with style():
        if outside:
            ax.add_patch(
                Rectangle(
                    (left - 0.5, top - 0.5),
                    right - left,
                    bottom - top,
                    zorder=-1,  # behind the image
                    **_PADDING,
                )
            )
        ax.imshow(rgb, interpolation="nearest")
        corner = (columns.start - 0.5, rows.start - 0.5)
        # A dark line under the bright one: one of the two shows on any image.
        for color, line in (("black", 4.5), (_FIELD, 2)):
            ax.add_patch(
                Rectangle(
                    corner,
                    len(columns),
                    len(rows),
                    fill=False,
                    edgecolor=color,
                    linewidth=line,
                    zorder=3,
                )
            )
        for color, size, line in (("black", 12, 4.5), (_FIELD, 10, 2)):
            ax.plot(
                corner[0] + len(columns) / 2,
                corner[1] + len(rows) / 2,
                "+",
                color=color,
                markersize=size,
                markeredgewidth=line,
            )
        room = 0.02 * max(bottom - top, right - left)
        ax.set(
            xlim=(left - 0.5 - room, right - 0.5 + room),
            ylim=(bottom - 0.5 + room, top - 0.5 - room),
            xticks=[],
            yticks=[],
        )
        ax.spines[:].set_visible(False)
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    figure.alt = (
        f"An image of {H} × {W} pixels. Unit {tuple(unit)} of the layer sees "
        f"{len(rows)} × {len(columns)} of them: rows {rows.start} to {rows.stop - 1}, "
        f"columns {columns.start} to {columns.stop - 1}."
    )
    if outside:
        figure.alt = figure.alt.replace(" of them:", ":")
        figure.alt += " What lies outside the image is padding."
    if effective is not None:
        few = _share_of_pixels(heat, rows, columns)
        figure.alt += f" Half of the effect comes from {100 * few:.0f} % of the field."
    return figure


def pyramid(layers: Sequence[Sequence[Any]]) -> Figure:
    """Draw, along one axis, which units of each layer one unit of the last depends on.

    From the top down: the unit, the window of units that it is computed from, the
    windows of those, to the pixels: the receptive field. Strides spread the units of a
    layer, dilation leaves gaps in a window.

    Parameters
    ----------
    layers : list of tuples
        Windows from first to last, as `seglab.geometry.receptive_field` takes them:
        (kernel, stride), (kernel, stride, dilation) or (kernel, stride, dilation,
        padding). At most 8, with a field of at most 64 pixels.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When a window is not as above, or it is too much to be seen.

    Examples
    --------
    >>> from seglab.plots import alt_text
    >>> print(alt_text(pyramid([(3, 1), (2, 2), (3, 1)])))
    A unit of layer 3 (kernel 3) depends on 3 units of layer 2 (kernel 2, stride 2), on
    6 units of layer 1 (kernel 3), on 8 of 8 pixels in its receptive field.
    """
    field = geometry.receptive_field(layers)
    if not 1 <= len(layers) <= 8 or field.size > 64:
        raise ValueError(
            f"there are {len(layers)} layers that see {field.size} pixels; a picture "
            "shows 1 to 8 layers, and 64 pixels."
        )
    seen, edges = _trace(layers)
    L, pixels = len(layers), field.pixels(0)
    # The center of each unit, in pixels; level 0 is the pixels themselves.
    centers = []
    for level in range(L + 1):
        below = geometry.receptive_field(layers[:level])
        first = int(np.ceil((pixels.start - below.start) / below.jump))
        last = int(np.floor((pixels.stop - 1 - below.start) / below.jump))
        units = {*range(first, last + 1), *seen[level]}
        centers.append({u: below.start + u * below.jump for u in sorted(units)})

    figure, axes = subplots(width=MAX_WIDTH, height=0.75 * L + 0.9)
    ax = axes[0, 0]
    # Dots are at most as wide as pixels are apart, in points.
    dot = min(12.0, 0.75 * 72 * (MAX_WIDTH - 1.9) / (len(pixels) + 2))
    with style():
        for level, pairs in enumerate(edges, start=1):
            lines = [
                [(centers[level][o], level), (centers[level - 1][i], level - 1)]
                for o, i in pairs
            ]
            ax.add_collection(LineCollection(lines, colors="#A0A0A0", linewidths=0.8))
        for level, (places, units) in enumerate(zip(centers, seen, strict=True)):
            for part, color in ((False, "white"), (True, _FIELD)):
                x = [place for u, place in places.items() if (u in units) == part]
                ax.plot(
                    x,
                    [level] * len(x),
                    "s" if level == 0 else "o",
                    color=color,
                    markersize=dot,
                    markeredgecolor="#404040",
                    markeredgewidth=0.8,
                )
        ax.set(
            xlim=(pixels.start - 1, pixels.stop),
            ylim=(-0.45, L + 0.35),
            xticks=[],
            xlabel=f"receptive field: {field.size} pixels, jump {field.jump}",
        )
        names = ["pixels", *(_spell_layer(layer) for layer in layers)]
        ax.set_yticks(range(L + 1), names)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    chain = [
        f"{len(seen[level])} unit{'s' * (len(seen[level]) > 1)} of layer {level} "
        f"({names[level]})"
        for level in range(L - 1, 0, -1)
    ]
    chain.append(f"{len(seen[0])} of {field.size} pixels in its receptive field.")
    figure.alt = f"A unit of layer {L} ({names[L]}) depends on {', on '.join(chain)}"
    figure.alt = figure.alt.replace("\n", ", ")
    return figure


def _trace(
    layers: Sequence[Sequence[Any]],
) -> tuple[list[set[int]], list[list[tuple[int, int]]]]:
    """Follow unit 0 of the last layer down to the pixels.

    Returns the units of each level that it depends on, from the pixels up, and for
    each layer the pairs (unit, unit or pixel below) that are joined.
    """
    seen: list[set[int]] = [{0}]
    edges: list[list[tuple[int, int]]] = []
    for layer in reversed(layers):
        window = geometry.receptive_field([layer])
        dilation = layer[2] if len(layer) > 2 else 1
        pairs = [
            (o, i)
            for o in sorted(seen[0])
            for i in range(window.pixels(o).start, window.pixels(o).stop, dilation)
        ]
        edges.insert(0, pairs)
        seen.insert(0, {i for _, i in pairs})
    return seen, edges


def _pair(field: Any) -> tuple[ReceptiveField, ReceptiveField]:
    """Turn what describes a field into that along the height and along the width."""
    if isinstance(field, ReceptiveField):
        return field, field
    if isinstance(field, tuple) and all(isinstance(f, ReceptiveField) for f in field):
        if len(field) != 2:
            raise ValueError(
                f"field holds {len(field)} receptive fields; give one, or one along "
                "the height and one along the width."
            )
        return field
    if hasattr(field, "layers"):  # a Keras model, whose axes may differ
        return (
            geometry.receptive_field(field, axis="height"),
            geometry.receptive_field(field, axis="width"),
        )
    both = geometry.receptive_field(field)
    return both, both


def _check_heat(effective: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float64]:
    heat = np.asarray(effective, np.float64)
    if heat.shape != shape:
        raise ValueError(
            f"effective has shape {heat.shape}; it must be that of the image, {shape}."
        )
    # A comparison with NaN is false, so this refuses NaN too.
    if not (heat >= 0).all() or not 0 < heat.max() < np.inf:
        raise ValueError(
            "effective must hold numbers of 0 or more, not all 0: for gradients, their "
            "absolute values."
        )
    return heat


def _share_of_pixels(heat: NDArray[np.float64], rows: range, columns: range) -> float:
    """Find how much of the field the strongest pixels are that make half the heat."""
    strongest = np.sort(heat, axis=None)[::-1]
    count = int(np.searchsorted(np.cumsum(strongest), heat.sum() / 2)) + 1
    return count / (len(rows) * len(columns))


def _spell_layer(layer: Sequence[Any]) -> str:
    kernel, stride, dilation = (*layer, 1)[:3] if len(layer) < 3 else layer[:3]
    text = f"kernel {kernel}"
    text += f"\nstride {stride}" if stride > 1 else ""
    return text + (f"\ndilation {dilation}" if dilation > 1 else "")
