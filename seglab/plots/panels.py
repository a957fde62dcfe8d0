"""Images, masks and mistakes in a grid of at most three panels across."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from numpy.typing import ArrayLike, NDArray

from seglab.plots.arrays import (
    check_image,
    check_mask,
    check_same_size,
    colorize,
    overlay,
)
from seglab.plots.colors import IGNORE_COLOR, class_colors
from seglab.plots.figure import MAX_WIDTH, Figure, style, subplots

MISSED, INVENTED, CONFUSED = "missed", "invented", "wrong class"

# Black and white clash with no class color and differ to every reader; the hatch
# tells them apart in print, and the outline keeps white visible on light gray.
ERROR_STYLES: dict[str, dict[str, Any]] = {
    MISSED: {"facecolor": "black", "edgecolor": "white", "hatch": "////"},
    INVENTED: {"facecolor": "white", "edgecolor": "black", "hatch": "...."},
    CONFUSED: {"facecolor": "none", "edgecolor": "black", "hatch": "xxxx"},
}
IGNORE_STYLE: dict[str, Any] = {
    "facecolor": IGNORE_COLOR,
    "edgecolor": "#404040",
    "hatch": "\\\\\\\\",
}

_WIDTHS = {1: 3.2, 2: 4.8, 3: MAX_WIDTH}  # inches, by the number of columns
_MAX_ROWS = 8


def show(
    images: ArrayLike | Sequence[ArrayLike],
    masks: ArrayLike | Sequence[ArrayLike] | None = None,
    *,
    titles: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    ignore_index: int | None = None,
    columns: int = 3,
) -> Figure:
    """Show images in a grid, with their masks laid over them if given.

    The first thing to do with any data set. To see masks by themselves, pass what
    `colorize` returns as images.

    Parameters
    ----------
    images : sequence of arrays, or array of shape (N, H, W, C)
        Each (H, W), (H, W, 1) or (H, W, 3): floats in [0, 1], or bytes. Sizes may
        differ. At most 24.
    masks : sequence of int arrays (H, W), or array of shape (N, H, W), optional
        Class numbers, one mask per image.
    titles : sequence of str, optional
        One per image, about 20 characters each.
    classes : sequence of str, optional
        Names for a legend; needs `masks`.
    ignore_index : int, optional
        The label of pixels that are not annotated.
    columns : int
        Panels across, 1 to 3.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When numbers, sizes or values do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from seglab.plots import alt_text
    >>> fig = show(np.zeros((4, 8, 8, 1)), titles=["a", "b", "c", "d"])
    >>> len(fig.axes), alt_text(fig)
    (4, '4 images: a; b; c; d.')
    """
    stack = as_list(images, "images")
    layers = None if masks is None else as_list(masks, "masks")
    for name, given in (("masks", layers), ("titles", titles)):
        if given is not None and len(given) != len(stack):
            raise ValueError(
                f"{name} has {len(given)} entries for {len(stack)} images; give one "
                "for each."
            )
    if classes is not None and layers is None:
        raise ValueError("classes names what masks hold; give masks as well.")
    columns = min(columns, len(stack))
    num_classes = None if classes is None else len(classes)
    if layers is None:
        pictures = [check_image(image, f"images[{i}]") for i, image in enumerate(stack)]
    else:
        pictures = [
            overlay(image, mask, num_classes=num_classes, ignore_index=ignore_index)
            for image, mask in zip(stack, layers, strict=True)
        ]

    rows = -(-len(pictures) // max(columns, 1))
    handles: list[Patch] = []
    alt = _describe_list(titles, len(pictures))
    if layers is not None:
        found = _labels_in(layers, ignore_index)
        alt += f" Over them lie their masks: {_shares(layers, classes, ignore_index)}."
        if classes is not None:
            # Class 0 is left clear in an overlay, so it has no color to explain.
            handles = _legend_handles([k for k in found if k > 0], classes)
            handles += ignore_handle(layers, ignore_index)
    title_rows = 0 if titles is None else rows
    figure, axes = grid(rows, columns, pictures, handles, title_rows)
    figure.alt = alt
    with style():
        for ax, picture in zip(axes.flat, pictures, strict=False):
            ax.imshow(picture)
        for ax, title in zip(axes.flat, titles or (), strict=False):
            ax.set_title(title)
        for ax in axes.flat[len(pictures) :]:
            ax.remove()
    return figure


def side_by_side(
    image: ArrayLike,
    truth: ArrayLike,
    prediction: ArrayLike | None = None,
    *,
    classes: Sequence[str] | None = None,
    ignore_index: int | None = None,
    background: int | None = 0,
    titles: Sequence[str] = ("image", "truth", "prediction"),
) -> Figure:
    """Show image, truth and prediction side by side, with every error marked.

    In the last panel an error is painted over the prediction: *missed* where the
    truth has an object and the prediction background (black, striped), *invented*
    where it is the other way round (white, dotted), *wrong class* where both have
    an object, of different classes (crossed). Pixels that are not annotated are no
    error; they are gray and striped in both masks.

    Parameters
    ----------
    image : array, shape (H, W), (H, W, C), or (N, H, W, C) for N rows of panels
        Floats in [0, 1], or bytes; C is 1 or 3, N at most 8.
    truth : array of int, shape (H, W) or (N, H, W)
        The annotated class numbers.
    prediction : array of int, shape (H, W) or (N, H, W), optional
        The predicted class numbers; without it, two panels.
    classes : sequence of str, optional
        Class names for the legend; by default "class 0", "class 1", ...
    ignore_index : int, optional
        The label, in the truth, of pixels that are not annotated.
    background : int or None
        The class that counts as "no object". None if there is no such class: then
        every error is a wrong class.
    titles : sequence of str
        One for each panel.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When shapes, labels or titles do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from seglab.plots import alt_text
    >>> truth = np.array([[0, 0, 1, 1]] * 4)
    >>> guess = np.array([[0, 1, 1, 1]] * 4)
    >>> fig = side_by_side(truth * 0.5, truth, guess, classes=("background", "cell"))
    >>> print(alt_text(fig))
    Image, truth and prediction side by side. Truth: background (50 %), cell (50 %).
    Prediction: background (25 %), cell (75 %). Errors: 25 % of the annotated pixels:
    0 % missed, 25 % invented.
    """
    if np.ndim(truth) == 2:
        image, truth = np.asarray(image)[None], np.asarray(truth)[None]
        prediction = None if prediction is None else np.asarray(prediction)[None]
    images, truths = as_list(image, "image"), as_list(truth, "truth")
    guesses = None if prediction is None else as_list(prediction, "prediction")
    for name, given in (("truth", truths), ("prediction", guesses)):
        if given is not None and len(given) != len(images):
            raise ValueError(
                f"{name} has {len(given)} masks for {len(images)} images; give one "
                "for each."
            )
    columns = 2 if guesses is None else 3
    if len(titles) < columns:
        raise ValueError(f"titles has {len(titles)} entries for {columns} panels.")
    num_classes = None if classes is None else len(classes)
    pictures = [check_image(picture) for picture in images]
    for picture, mask in zip(pictures, truths, strict=True):
        labels, _ = check_mask(mask, num_classes, ignore_index, name="truth")
        check_same_size(picture, labels, name="truth")
    errors: list[dict[str, NDArray[np.bool_]]] = []
    for mask, guess in zip(truths, guesses or (), strict=False):
        labels, _ = check_mask(guess, num_classes, ignore_index, name="prediction")
        if labels.shape != np.shape(mask):
            raise ValueError(
                f"truth is {np.shape(mask)} and prediction is {labels.shape}; they "
                "must agree."
            )
        errors.append(find_errors(mask, guess, ignore_index, background))

    found = _labels_in([*truths, *(guesses or ())], ignore_index)
    handles = _legend_handles(found, classes)
    handles += ignore_handle(truths, ignore_index)
    kinds = [kind for kind in ERROR_STYLES if any(e[kind].any() for e in errors)]
    handles += [Patch(**ERROR_STYLES[kind], label=kind) for kind in kinds]

    figure, axes = grid(len(images), columns, pictures, handles, title_rows=1)
    with style():
        for row, picture, mask in zip(axes, pictures, truths, strict=True):
            row[0].imshow(picture)
            _draw_mask(row[1], mask, ignore_index)
        for row, guess, mask, wrong in zip(
            axes, guesses or (), truths, errors, strict=False
        ):
            # What the network says of a pixel that is not annotated is not judged.
            hide = find_ignored(mask, ignore_index)
            _draw_mask(row[2], guess, ignore_index, hide=hide)
            for kind in kinds:
                draw_region(row[2], wrong[kind], ERROR_STYLES[kind])
        for ax, title in zip(axes[0], titles, strict=False):
            ax.set_title(title)
    names = "Image and truth" if guesses is None else "Image, truth and prediction"
    figure.alt = f"{names} side by side."
    figure.alt += f" Truth: {_shares(truths, classes, ignore_index)}."
    if guesses is not None:
        figure.alt += f" Prediction: {_shares(guesses, classes, ignore_index)}."
        figure.alt += f" {describe_errors(errors, truths, ignore_index)}"
    return figure


def find_errors(
    truth: ArrayLike,
    prediction: ArrayLike,
    ignore_index: int | None = None,
    background: int | None = 0,
) -> dict[str, NDArray[np.bool_]]:
    """Sort the wrong pixels by kind; each mask has shape (H, W)."""
    y, p = np.asarray(truth), np.asarray(prediction)
    wrong = (y != p) & ~find_ignored(y, ignore_index)
    if background is None:
        nothing = np.zeros_like(wrong)
        return {MISSED: nothing, INVENTED: nothing, CONFUSED: wrong}
    return {
        MISSED: wrong & (p == background),
        INVENTED: wrong & (y == background),
        CONFUSED: wrong & (p != background) & (y != background),
    }


def find_ignored(mask: ArrayLike, ignore_index: int | None) -> NDArray[np.bool_]:
    """Mark the pixels of a mask that are not annotated."""
    if ignore_index is None:
        return np.zeros(np.shape(mask), bool)
    ignored: NDArray[np.bool_] = np.asarray(mask) == ignore_index
    return ignored


def as_list(arrays: Any, name: str) -> list[NDArray[Any]]:
    """Split a batch or a sequence into its arrays, and refuse what is neither."""
    if isinstance(arrays, np.ndarray) and arrays.ndim < 3:
        raise ValueError(
            f"{name} has shape {arrays.shape}; give several: a list of arrays, or one "
            f"array with a first axis N. For a single one: [{name}]."
        )
    listed = [np.asarray(array) for array in arrays]
    limit = 3 * _MAX_ROWS
    if not 1 <= len(listed) <= limit:
        raise ValueError(
            f"{name} has {len(listed)} entries; a figure shows 1 to {limit}. Choose "
            f"some: {name}[:6]."
        )
    return listed


def grid(
    rows: int,
    columns: int,
    pictures: Sequence[NDArray[Any]],
    handles: Sequence[Patch],
    title_rows: int,
) -> tuple[Figure, NDArray[Any]]:
    """Make axes without ticks, sized to the pictures, and the legend below them."""
    if rows > _MAX_ROWS:
        raise ValueError(f"{rows} rows are too many for a page; use at most 8.")
    width = _WIDTHS.get(columns, MAX_WIDTH)
    ratio = max(picture.shape[0] / picture.shape[1] for picture in pictures)
    across = _legend_columns([str(h.get_label()) for h in handles], width)
    lines = -(-len(handles) // across)
    panel = (width - 0.15) / columns - 0.05  # inches, less the space between panels
    height = rows * (panel * min(ratio, 2.5) + 0.07) + 0.3 * title_rows
    height += 0.1 + 0.25 * lines + 0.05 * bool(lines)
    figure, axes = subplots(rows, columns, width=width, height=height)
    with style():
        for ax in axes.flat:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(True)
            ax.spines[:].set_color("#808080")
        if handles:
            figure.legend(
                handles=handles,
                loc="outside lower center",
                ncols=across,
                columnspacing=1.2,
                handletextpad=0.5,
            )
    return figure, axes


def _legend_columns(names: Sequence[str], width: float) -> int:
    """Count the legend's columns that fit into a width in inches."""
    for across in range(len(names), 1, -1):
        lines = -(-len(names) // across)
        # A column holds `lines` names in turn; 11-point letters are 0.09 inch wide,
        # the color patch and the space around it 0.6.
        columns = [names[i : i + lines] for i in range(0, len(names), lines)]
        if sum(0.6 + 0.09 * max(map(len, column)) for column in columns) <= width:
            return len(columns)
    return 1


def _legend_handles(found: Sequence[int], classes: Sequence[str] | None) -> list[Patch]:
    colors = class_colors(max(found, default=0) + 1)
    return [
        Patch(
            facecolor=colors[k],
            edgecolor="#808080",
            linewidth=0.5,
            label=f"class {k}" if classes is None else classes[k],
        )
        for k in found
    ]


def ignore_handle(masks: Sequence[ArrayLike], ignore_index: int | None) -> list[Patch]:
    """Give the legend's entry for pixels that are not annotated, if there are any."""
    if not any(find_ignored(mask, ignore_index).any() for mask in masks):
        return []
    return [Patch(**IGNORE_STYLE, label="not annotated")]


def _draw_mask(
    ax: Any,
    mask: ArrayLike,
    ignore_index: int | None,
    hide: NDArray[np.bool_] | None = None,
) -> None:
    ax.imshow(colorize(mask, ignore_index=ignore_index), interpolation="nearest")
    draw_region(
        ax, find_ignored(mask, ignore_index) if hide is None else hide, IGNORE_STYLE
    )


def draw_region(ax: Any, region: NDArray[np.bool_], look: dict[str, Any]) -> None:
    """Cover the marked pixels, exactly, with a color and a hatch."""
    if not region.any():
        return
    ax.add_patch(PathPatch(pixel_path(region), linewidth=0, **look))


def pixel_path(region: NDArray[np.bool_]) -> Path:
    """Outline marked pixels as one path: a rectangle for each run in a row."""
    padded = np.pad(region, ((0, 0), (1, 1))).astype(np.int8)
    change = np.diff(padded, axis=1)  # (H, W + 1): +1 opens a run, -1 closes it
    rows, left = np.nonzero(change == 1)
    _, right = np.nonzero(change == -1)  # same order, so it closes the same runs
    x0, x1 = left - 0.5, right - 0.5  # a pixel's center has whole coordinates
    y0, y1 = rows - 0.5, rows + 0.5
    corners = np.stack(
        [np.stack(c, axis=-1) for c in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))],
        axis=1,
    )  # (runs, 4, 2)
    vertices = np.concatenate([corners, corners[:, :1]], axis=1)  # (runs, 5, 2)
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    return Path(vertices.reshape(-1, 2), codes * len(rows))


def _labels_in(masks: Sequence[ArrayLike], ignore_index: int | None) -> list[int]:
    labels = {int(value) for mask in masks for value in np.unique(np.asarray(mask))}
    return sorted(label for label in labels if label != ignore_index)


def _percent(share: float) -> str:
    """Spell a share: 0.254 is '25 %'; a small one is not rounded to nothing."""
    if 0 < share < 0.01:
        return f"{100 * share:.1f} %" if share >= 0.0005 else "under 0.1 %"
    return f"{100 * share:.0f} %"


def _shares(
    masks: Sequence[ArrayLike],
    classes: Sequence[str] | None,
    ignore_index: int | None,
) -> str:
    labels = np.concatenate([np.asarray(mask).ravel() for mask in masks])
    parts = [
        f"{f'class {k}' if classes is None else classes[k]} "
        f"({_percent(float(np.mean(labels == k)))})"
        for k in _labels_in(masks, ignore_index)
    ]
    ignored = find_ignored(labels, ignore_index).mean()
    if ignored:
        parts.append(f"not annotated ({_percent(float(ignored))})")
    return ", ".join(parts)


def _describe_list(titles: Sequence[str] | None, count: int) -> str:
    what = "An image" if count == 1 else f"{count} images"
    return f"{what}." if titles is None else f"{what}: {'; '.join(titles)}."


def describe_errors(
    errors: Sequence[dict[str, NDArray[np.bool_]]],
    truths: Sequence[ArrayLike],
    ignore_index: int | None,
) -> str:
    """Say how many pixels are wrong, and of which kinds."""
    judged = sum(int((~find_ignored(mask, ignore_index)).sum()) for mask in truths)
    counts = {kind: sum(int(e[kind].sum()) for e in errors) for kind in ERROR_STYLES}
    total = sum(counts.values())
    if judged == 0:
        return "No pixel is annotated."
    if total == 0:
        return "There are no errors."
    if not counts[CONFUSED]:
        del counts[CONFUSED]
    kinds = ", ".join(f"{_percent(n / judged)} {kind}" for kind, n in counts.items())
    return f"Errors: {_percent(total / judged)} of the annotated pixels: {kinds}."
