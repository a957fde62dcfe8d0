"""How a training went: loss and per-class IoU, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.patheffects import Stroke, withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from seglab.plots.colors import class_colors
from seglab.plots.figure import MAX_WIDTH, Figure, style, subplots

_LINE = 0.2  # inches from one line of 11-point text to the next
_DASHES = ("-", "--", "-.", ":")


class TrainingHistory(Protocol):
    """What `learning_curves` reads of a `seglab.training.History`."""

    @property
    def loss(self) -> Sequence[float]:
        """Training loss of each epoch."""

    @property
    def val_loss(self) -> Sequence[float]:
        """Validation loss of each epoch."""

    @property
    def val_iou(self) -> ArrayLike:
        """Validation IoU, shape (epochs, classes)."""

    @property
    def classes(self) -> Sequence[str]:
        """Class names."""


def learning_curves(
    history: TrainingHistory | Sequence[TrainingHistory], *, loss_label: str = "loss"
) -> Figure:
    """Draw the losses and the validation IoU of every class over the epochs.

    Left: is it still learning, and do the two losses part (overfitting)? Right:
    which class is it bad at? The mean would hide that. Each line is named at its
    end, and lines differ in dashes as well as in color.

    Parameters
    ----------
    history : seglab.training.History, or list of them
        Or anything with `loss` and `val_loss` (one number per epoch), `val_iou`
        (array of shape (epochs, classes); NaN where a class was absent) and
        `classes`. With a `best_epoch`, counted from 0, it is marked. Of several,
        such as the same training with several seeds, the lines are medians, and bands
        reach from the lowest to the highest (of up to 4 classes; the bands of more
        would hide each other). Where some ended early, the others go on.
    loss_label : str
        Label of the loss axis, such as "cross-entropy (nats per pixel)".

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When there is no epoch, the lengths differ, or histories are of other classes.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from seglab.plots import alt_text
    >>> history = SimpleNamespace(
    ...     loss=[0.9, 0.4],
    ...     val_loss=[0.8, 0.5],
    ...     val_iou=[[0.9, 0.2], [0.95, 0.6]],
    ...     classes=("background", "cell"),
    ... )
    >>> print(alt_text(learning_curves(history)))
    Two line plots over 2 epochs. Left: the training loss goes from 0.90 to 0.40 and
    the validation loss from 0.80 to 0.50. Right: validation IoU of each class at the
    last epoch: background 0.95, cell 0.60.
    """
    histories = list(history) if isinstance(history, Sequence) else [history]
    losses, iou, classes = _stack(histories)  # (R, epochs, 2), (R, epochs, classes)
    count, length = losses.shape[:2]
    epochs = np.arange(1, length + 1)
    # Each label takes a line of its own, so many classes need a taller figure.
    height = max(2.9, _LINE * len(classes) + 1.0) + 0.25 * (count > 1)
    gap = _LINE / (height - 0.7)  # as a share of the axes, which leave 0.7 inch
    figure, axes = subplots(1, 2, width=MAX_WIDTH, height=height)
    left, right = axes[0]
    with style():
        _lines(left, epochs, losses, ["#0072B2", "#D55E00"], bands=count > 1)
        left.set_ylim(bottom=0)
        left.set_ylabel(loss_label)
        # More bands than that hide each other.
        bands = count > 1 and len(classes) <= 4
        _lines(right, epochs, iou, class_colors(len(classes)), bands=bands)
        right.set_ylim(0, 1.02)
        right.set_ylabel("validation IoU")
        best = getattr(histories[0], "best_epoch", None) if count == 1 else None
        if best is not None and length > 1:
            right.axvline(best + 1, color="#595959", linewidth=1, linestyle=":")
            late = best + 1 > epochs.mean()
            right.annotate(
                "weights kept",
                xy=(best + 1, 0.03),
                xytext=(-4 if late else 4, 0),  # points
                textcoords="offset points",
                ha="right" if late else "left",
            )
        _name_ends(left, _middle(losses)[-1], ["training", "validation"], gap)
        _name_ends(right, _middle(iou)[-1], classes, gap)
        for ax in (left, right):
            ax.set_xlabel("epoch")
            ax.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        if count > 1:
            note = f"lines: median of {count} trainings; bands: lowest to highest"
            figure.supxlabel(note, fontsize=11)
    figure.alt = _describe(losses, iou, classes)
    if best is not None:
        figure.alt += f" The weights of epoch {best + 1} were kept."
    return figure


def _stack(
    histories: Sequence[TrainingHistory],
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Stack losses (R, epochs, 2) and IoU (R, epochs, classes), NaN after the end."""
    if not histories:
        raise ValueError("history is an empty list; give at least one.")
    classes = list(histories[0].classes)
    losses, ious = [], []
    for one in histories:
        loss, val_loss = np.array(one.loss, float), np.array(one.val_loss, float)
        iou = np.array(one.val_iou, float)  # (epochs, classes)
        if len(loss) == 0:
            raise ValueError("history has no epoch; train for at least one.")
        if val_loss.shape != loss.shape or iou.shape != (len(loss), len(classes)):
            raise ValueError(
                f"history has loss of shape {loss.shape}, val_loss {val_loss.shape} "
                f"and val_iou {iou.shape} with {len(classes)} classes; expected "
                f"({len(loss)},), ({len(loss)},) and ({len(loss)}, {len(classes)})."
            )
        if list(one.classes) != classes:
            raise ValueError(
                f"the histories are of different classes, {classes} and "
                f"{list(one.classes)}; draw them apart."
            )
        losses.append(np.stack([loss, val_loss], axis=1))
        ious.append(iou)
    length = max(map(len, losses))

    def pad(tables: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.stack(
            [
                np.pad(t, ((0, length - len(t)), (0, 0)), constant_values=np.nan)
                for t in tables
            ]
        )

    return pad(losses), pad(ious), classes


def _middle(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the median over trainings, (R, epochs, lines) to (epochs, lines)."""
    return _over_trainings(np.nanmedian, values)


def _over_trainings(statistic: Any, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply a function that leaves NaN out, without its warning where all is NaN."""
    result = np.full(values.shape[1:], np.nan)
    known = ~np.isnan(values).all(axis=0)  # (epochs, lines)
    result[known] = statistic(values[:, known], axis=0)
    return result


def _describe(
    losses: NDArray[np.float64], iou: NDArray[np.float64], classes: Sequence[str]
) -> str:
    """Say in words what the curves show."""
    count, length = losses.shape[:2]
    alt = f"Two line plots over {length} epoch{'s' * (length > 1)}."
    if count > 1:
        alt += f" Lines are medians of {count} trainings, bands from lowest to highest."
    middle, final = _middle(losses), _middle(iou)[-1]
    (loss, val_loss), (last, val_last) = middle[0], middle[-1]
    low, high = (_over_trainings(f, iou)[-1] for f in (np.nanmin, np.nanmax))
    ends = []
    for k, name in enumerate(classes):
        text = "absent" if np.isnan(final[k]) else f"{final[k]:.2f}"
        if count > 1 and not np.isnan(final[k]):
            text += f" ({low[k]:.2f} to {high[k]:.2f})"
        ends.append(f"{name} {text}")
    return (
        f"{alt} Left: the training loss goes from {loss:.2f} to {last:.2f} and the "
        f"validation loss from {val_loss:.2f} to {val_last:.2f}. Right: validation IoU "
        f"of each class at the last epoch: {', '.join(ends)}."
    )


def _lines(
    ax: Any,
    epochs: NDArray[Any],
    values: NDArray[np.float64],
    colors: Any,
    *,
    bands: bool,
) -> None:
    """Draw each of (R, epochs, lines) as its median, with a band if wanted."""
    # A dark edge makes pale lines (yellow, the background's gray) visible on white.
    edge = [Stroke(linewidth=3.4, foreground="#4D4D4D"), withStroke(linewidth=0)]
    if bands:
        low, high = (_over_trainings(f, values) for f in (np.nanmin, np.nanmax))
        for bottom, top, color in zip(low.T, high.T, colors, strict=True):
            look = {"facecolor": (color, 0.35), "edgecolor": "#808080"}
            ax.fill_between(epochs, bottom, top, linewidth=0.5, **look)
    middle = _middle(values)
    for number, (column, color) in enumerate(zip(middle.T, colors, strict=True)):
        ax.plot(
            epochs,
            column,
            color=color,
            linestyle=_DASHES[number % len(_DASHES)],
            marker="o" if len(epochs) == 1 else None,
            path_effects=edge,
        )


def _name_ends(ax: Any, ends: ArrayLike, names: Sequence[str], gap: float) -> None:
    """Write each line's name beside its end, pushed apart where they would meet."""
    low, high = ax.get_ylim()
    heights = (np.nan_to_num(np.asarray(ends, float)) - low) / (high - low)
    for index, y in enumerate(spread(heights, gap)):
        ax.annotate(
            names[index],
            xy=(1.0, heights[index]),
            xytext=(1.07, y),
            xycoords="axes fraction",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": "#808080",
                "linewidth": 0.8,
                "relpos": (0, 0.5),  # from the middle of the text's left edge
            },
        )


def spread(heights: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Move labels apart to at least `gap`, staying in order and between 0 and 1."""
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    # Neighbors are `gap` apart where height minus step does not fall: the nearest
    # such heights, in the least-squares sense, are an isotonic regression.
    level = isotonic_regression(heights[order] - steps).x
    result = np.empty_like(heights)
    result[order] = np.clip(level, 0, 1 - steps[-1]) + steps
    return result
