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


def learning_curves(history: TrainingHistory, *, loss_label: str = "loss") -> Figure:
    """Draw the losses and the validation IoU of every class over the epochs.

    Left: is it still learning, and do the two losses part (overfitting)? Right:
    which class is it bad at? The mean would hide that. Each line is named at its
    end, and lines differ in dashes as well as in color.

    Parameters
    ----------
    history : seglab.training.History
        Or anything with `loss` and `val_loss` (one number per epoch), `val_iou`
        (array of shape (epochs, classes); NaN where a class was absent) and
        `classes`. With a `best_epoch`, counted from 0, it is marked.
    loss_label : str
        Label of the loss axis, such as "cross-entropy (nats per pixel)".

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When there is no epoch, or the lengths differ.

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
    loss, val_loss = np.array(history.loss, float), np.array(history.val_loss, float)
    iou = np.array(history.val_iou, float)  # (epochs, classes)
    classes = list(history.classes)
    if len(loss) == 0:
        raise ValueError("history has no epoch; train for at least one.")
    if val_loss.shape != loss.shape or iou.shape != (len(loss), len(classes)):
        raise ValueError(
            f"history has loss of shape {loss.shape}, val_loss {val_loss.shape} and "
            f"val_iou {iou.shape} with {len(classes)} classes; expected ({len(loss)},),"
            f" ({len(loss)},) and ({len(loss)}, {len(classes)})."
        )
    epochs = np.arange(1, len(loss) + 1)
    # Each label takes a line of its own, so many classes need a taller figure.
    height = max(2.9, _LINE * len(classes) + 1.0)
    gap = _LINE / (height - 0.7)  # as a share of the axes, which leave 0.7 inch
    figure, axes = subplots(1, 2, width=MAX_WIDTH, height=height)
    left, right = axes[0]
    with style():
        colors = ["#0072B2", "#D55E00"]
        _lines(left, epochs, np.stack([loss, val_loss], axis=1), colors)
        left.set_ylim(bottom=0)
        left.set_ylabel(loss_label)
        _lines(right, epochs, iou, class_colors(len(classes)))
        right.set_ylim(0, 1.02)
        right.set_ylabel("validation IoU")
        best = getattr(history, "best_epoch", None)
        if best is not None and len(loss) > 1:
            right.axvline(best + 1, color="#595959", linewidth=1, linestyle=":")
            late = best + 1 > epochs.mean()
            right.annotate(
                "weights kept",
                xy=(best + 1, 0.03),
                xytext=(-4 if late else 4, 0),  # points
                textcoords="offset points",
                ha="right" if late else "left",
            )
        _name_ends(left, [loss[-1], val_loss[-1]], ["training", "validation"], gap)
        _name_ends(right, iou[-1], classes, gap)
        for ax in (left, right):
            ax.set_xlabel("epoch")
            ax.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    last = ", ".join(
        f"{name} {'absent' if np.isnan(value) else f'{value:.2f}'}"
        for name, value in zip(classes, iou[-1], strict=True)
    )
    figure.alt = (
        f"Two line plots over {len(loss)} epoch{'s' * (len(loss) > 1)}. Left: the "
        f"training loss goes from {loss[0]:.2f} to {loss[-1]:.2f} and the validation "
        f"loss from {val_loss[0]:.2f} to {val_loss[-1]:.2f}. Right: validation IoU of "
        f"each class at the last epoch: {last}."
    )
    if best is not None:
        figure.alt += f" The weights of epoch {best + 1} were kept."
    return figure


def _lines(
    ax: Any, epochs: NDArray[Any], values: NDArray[np.float64], colors: Any
) -> None:
    # A dark edge makes pale lines (yellow, the background's gray) visible on white.
    edge = [Stroke(linewidth=3.4, foreground="#4D4D4D"), withStroke(linewidth=0)]
    for number, (column, color) in enumerate(zip(values.T, colors, strict=True)):
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
