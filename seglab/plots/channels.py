"""What is inside a network: the kernels of a layer, and the maps that it gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from seglab.plots.figure import MAX_WIDTH, Figure, style, subplots

_GAP = 0.06
"""Space between two tiles, as a share of a tile's side."""

_SIGNED = LinearSegmentedColormap.from_list(
    "signed", ["#00344F", "#0072B2", "white", "#D55E00", "#5E2A00"]
)
"""Colors of negative and positive values, white at 0. Blue and vermilion of Okabe and
Ito differ to every reader."""

_UNSIGNED = "viridis"
"""Colors of values from 0, in the order of their lightness."""

_MOST = 16
"""Tiles across, and down: more of them cannot be told apart on a phone."""


def kernels(weights: ArrayLike) -> Figure:
    """Draw the kernels of a convolution: what each output channel looks for.

    White is 0; orange adds to the output where the input is bright, blue takes off. All
    kernels have one color scale. Of a first layer they can be read (edges, blobs); of
    a later one hardly, since its inputs are no images: see `feature_maps`.

    Parameters
    ----------
    weights : array of float, shape (kh, kw) or (kh, kw, C_in, C_out)
        As Keras keeps them: ``layer.get_weights()[0]``. From one input channel, at
        most 128 kernels; from several, a row for each input channel, and at most 16
        channels either way: take some, ``weights[..., :4, :8]``.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When the shape is another, a value is not finite, or there are too many.

    Examples
    --------
    >>> from seglab.plots import alt_text
    >>> fig = kernels([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    >>> print(alt_text(fig))
    A kernel of 3 × 3 weights, from -2 to 2. Orange is positive, blue negative.
    """
    values = np.asarray(weights, np.float64)
    if values.ndim == 2:
        values = values[:, :, None, None]
    if values.ndim != 4 or 0 in values.shape:
        raise ValueError(
            f"weights has shape {np.shape(weights)}; it must be (kh, kw, C_in, C_out), "
            "as layer.get_weights()[0] of a Conv2D, or one kernel, (kh, kw)."
        )
    _check_finite(values, "weights")
    kh, kw, C_in, C_out = values.shape
    tiles = values.transpose(2, 3, 0, 1).reshape(-1, kh, kw)  # input by input
    columns = C_out if C_in > 1 else min(C_out, 8)
    if len(tiles) > _MOST * columns or columns > _MOST:
        raise ValueError(
            f"weights has {C_in} input and {C_out} output channels: too many to see. "
            "Draw some: weights[..., :4, :8]."
        )
    labels = [str(k) for k in range(C_in)] if C_in > 1 else _spans(C_out, columns)
    figure = _mosaic(tiles, columns, labels, "weight", signed=True)
    ax = figure.axes[0]
    with style():
        if C_in > 1:
            ax.set_xticks(
                _centers(columns, kw / max(kh, kw)), [str(k) for k in range(C_out)]
            )
            ax.set(xlabel="output channel", ylabel="input channel")
        elif C_out > 1:
            ax.set(ylabel="output channels")
    kind = f"of {kh} × {kw} weights, from {values.min():.3g} to {values.max():.3g}."
    if C_in > 1:
        what = f"Kernels from {C_in} input channels (rows) to {C_out} output channels "
        what += "(columns), each"
    else:
        what = "A kernel" if C_out == 1 else f"{C_out} kernels"
    figure.alt = f"{what} {kind} Orange is positive, blue negative."
    return figure


def feature_maps(
    maps: ArrayLike, *, columns: int = 4, one_scale: bool = True
) -> Figure:
    """Draw what the channels of a layer answer to an image: one map for each.

    Parameters
    ----------
    maps : array of float, shape (H, W, C)
        A layer's output for one image; C is at most 64. For a few channels:
        ``maps[..., :16]``.
    columns : int, default 4
        Maps across, at most 8. On a phone a map is 300 pixels wide, divided by that.
    one_scale : bool, default True
        Color all maps by one scale, so that they can be compared. False: each by its
        own, so that the pattern of faint ones can be seen.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When the shape is another, a value is not finite, or there are too many.

    Examples
    --------
    >>> import numpy as np
    >>> from seglab.plots import alt_text
    >>> fig = feature_maps(np.eye(8)[..., None] * [1.0, 0.0, 2.0], columns=3)
    >>> print(alt_text(fig))
    3 feature maps of 8 × 8, with values from 0 to 2. Zero everywhere: channel 1.
    """
    values = np.asarray(maps, np.float64)
    if values.ndim != 3 or 0 in values.shape:
        hint = " For one image of a batch: maps[0]." if values.ndim == 4 else ""
        raise ValueError(
            f"maps has shape {np.shape(maps)}; it must be (H, W, C), what a layer "
            f"gives for one image.{hint}"
        )
    _check_finite(values, "maps")
    H, W, C = values.shape
    if C > 64:
        raise ValueError(
            f"maps has {C} channels; draw at most 64: maps[..., :16], for example."
        )
    if not 1 <= columns <= 8:
        raise ValueError(f"columns is {columns}; use 1 to 8.")
    columns = min(columns, C)
    tiles = values.transpose(2, 0, 1)  # (C, H, W)
    low, high = values.min(), values.max()
    if not one_scale:
        # Each map to its own largest size; the sign stays where it is.
        sizes = np.abs(tiles).max(axis=(1, 2), keepdims=True)
        tiles = tiles / np.where(sizes > 0, sizes, 1)
    label = "activation" if one_scale else "activation, as a share of the map's largest"
    figure = _mosaic(tiles, columns, _spans(C, columns), label, signed=bool(low < 0))
    if C > 1:
        with style():
            figure.axes[0].set(ylabel="channels")
    figure.alt = f"{C} feature map{'s' * (C > 1)} of {H} × {W}, with values from "
    figure.alt += f"{low:.3g} to {high:.3g}."
    silent = np.flatnonzero(~values.any(axis=(0, 1)))
    if len(silent):
        listed = ", ".join(map(str, silent[:8])) + (", ..." * (len(silent) > 8))
        figure.alt += f" Zero everywhere: channel{'s' * (len(silent) > 1)} {listed}."
    return figure


def _mosaic(
    tiles: NDArray[np.float64],
    columns: int,
    labels: Sequence[str],
    scale: str,
    *,
    signed: bool,
) -> Figure:
    """Draw tiles (n, h, w) row by row in one frame, with a label for each row."""
    n, h, w = tiles.shape
    rows = -(-n // columns)
    height, width = h / max(h, w), w / max(h, w)  # of a tile; its longer side is 1
    across, down = columns * (width + _GAP), rows * (height + _GAP)
    # Small tiles stay small: a kernel of nine weights needs no whole page.
    inches = min((MAX_WIDTH - 0.9) / across, 1.4, 8.0 / down)
    figure, axes = subplots(
        width=min(max(across * inches + 0.9, 3.2), MAX_WIDTH),
        height=down * inches + 1.1,
    )
    high = float(np.abs(tiles).max()) or 1.0
    norm = Normalize(-high if signed else 0.0, high)
    ax = axes[0, 0]
    with style():
        for k, tile in enumerate(tiles):
            x, y = (k % columns) * (width + _GAP), (k // columns) * (height + _GAP)
            drawn = ax.imshow(
                tile,
                extent=(x, x + width, y + height, y),
                cmap=_SIGNED if signed else _UNSIGNED,
                norm=norm,
                interpolation="nearest",
            )
        edge = _GAP / 2
        ax.set(xlim=(-edge, across - edge), ylim=(down - edge, -edge), aspect="equal")
        # Gray between the tiles, since white is a value.
        ax.set_facecolor("#B0B0B0")
        ax.set_xticks([])
        ax.set_yticks(_centers(rows, height), labels)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        bar = figure.colorbar(
            drawn, ax=ax, location="bottom", shrink=0.8, aspect=25, label=scale
        )
        bar.locator = MaxNLocator(4)
        bar.outline.set_visible(False)
    return figure


def _centers(count: int, side: float) -> NDArray[np.float64]:
    return np.arange(count, dtype=np.float64) * (side + _GAP) + side / 2


def _spans(count: int, columns: int) -> list[str]:
    """Name the tiles of each row: '0-7', '8-15'; of a single tile nothing."""
    if count == 1:
        return [""]
    ends = [(k, min(k + columns, count) - 1) for k in range(0, count, columns)]
    return [f"{a}–{b}" if b > a else str(a) for a, b in ends]


def _check_finite(values: NDArray[np.float64], name: str) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinity; nothing can be drawn of it.")
