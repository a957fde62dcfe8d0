"""The confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib import colormaps
from numpy.typing import ArrayLike, NDArray

from seglab.plots.colors import readable_on
from seglab.plots.figure import MAX_WIDTH, Figure, style, subplots


def confusion_matrix(
    matrix: ArrayLike,
    classes: Sequence[str],
    *,
    normalize: Literal["truth", "prediction"] | None = "truth",
) -> Figure:
    """Draw a confusion matrix: what each class is taken for.

    Normalized by truth, each row says where the pixels of one class went, and the
    diagonal is the recall; rare classes count as much as common ones. Normalized by
    prediction, each column says what a predicted class really was, and the diagonal
    is the precision.

    Parameters
    ----------
    matrix : array of int, shape (C, C)
        Pixel counts; row = true class, column = predicted class, as
        `seglab.metrics.confusion_matrix` returns them.
    classes : sequence of str
        The C class names. At most 16; more cannot be read.
    normalize : {"truth", "prediction"} or None
        What adds up to 100 %: each row, each column, or nothing (plain counts).

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When the matrix is not square, not of counts, or does not fit the names.

    Examples
    --------
    >>> from seglab.plots import alt_text
    >>> fig = confusion_matrix([[90, 10], [5, 15]], ("background", "cell"))
    >>> print(alt_text(fig))
    Confusion matrix of 2 classes. Of the pixels that are background, 90 % are
    predicted as background and 10 % as cell. Of the pixels that are cell, 75 % are
    predicted as cell and 25 % as background.
    """
    counts = _check_matrix(matrix, classes)
    if normalize not in ("truth", "prediction", None):
        raise ValueError(
            f"normalize is {normalize!r}; use 'truth', 'prediction' or None."
        )
    values, share = _normalize(counts, normalize)  # (C, C), shading in [0, 1]
    size = min(MAX_WIDTH, 2.4 + 0.55 * len(classes))
    figure, axes = subplots(width=size, height=0.9 * size)
    ax = axes[0, 0]
    # Up to 0.9 of the map: its last tenth is nearly black and hides differences.
    shades = colormaps["Blues"](0.9 * np.nan_to_num(share))[..., :3]  # (C, C, 3)
    with style():
        ax.imshow(shades)
        for (row, column), value in np.ndenumerate(values):
            ax.text(
                column,
                row,
                _spell(value, normalize, sign=len(classes) <= 6),
                ha="center",
                va="center",
                color=readable_on(shades[row, column]),
            )
        places = range(len(classes))
        # Level names where they fit: 11-point letters are 0.09 inch wide.
        cell = 0.7 * size / len(classes)
        if 0.09 * max(map(len, classes)) < cell:
            ax.set_xticks(places, classes)
        else:
            ax.set_xticks(
                places, classes, rotation=45, ha="right", rotation_mode="anchor"
            )
        ax.set_yticks(places, classes)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        row = "\n(each row: 100 %)" if normalize == "truth" else ""
        column = {"prediction": "\n(each column: 100 %)", None: "\n(cells: pixels)"}
        ax.set_ylabel(f"true class{row}")
        ax.set_xlabel(f"predicted class{column.get(normalize, '')}")
    figure.alt = _describe(counts, values, classes, normalize)
    return figure


def _check_matrix(matrix: ArrayLike, classes: Sequence[str]) -> NDArray[np.float64]:
    counts = np.asarray(matrix, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.size == 0:
        raise ValueError(
            f"matrix has shape {counts.shape}; it must be (C, C). For one of each "
            "image, add them up first: matrices.sum(axis=0)."
        )
    if isinstance(classes, str) or len(classes) != len(counts):
        raise ValueError(
            f"classes is {classes!r} for a matrix of {len(counts)} classes; give one "
            "name for each."
        )
    if len(classes) > 16:
        raise ValueError(f"{len(classes)} classes cannot be read in one picture.")
    if not np.isfinite(counts).all() or counts.min() < 0:
        raise ValueError("matrix has negative or missing entries; give pixel counts.")
    return counts


def _normalize(
    counts: NDArray[np.float64], normalize: str | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the values to print and their shading; NaN where a class is absent."""
    if normalize is None:
        return counts, counts / max(counts.max(), 1)
    total = counts.sum(axis=1 if normalize == "truth" else 0, keepdims=True)
    share = np.full_like(counts, np.nan)
    np.divide(counts, total, out=share, where=total > 0)
    return 100 * share, share


def _spell(value: float, normalize: str | None, sign: bool) -> str:
    if np.isnan(value):
        return "–"
    if normalize is not None:
        return f"{value:.0f} %" if sign else f"{value:.0f}"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            scaled = value / (1e3 if unit == "k" else limit)
            return f"{scaled:.0f}{unit}" if scaled >= 10 else f"{scaled:.1f}{unit}"
    return f"{value:.0f}"


def _describe(
    counts: NDArray[np.float64],
    values: NDArray[np.float64],
    classes: Sequence[str],
    normalize: str | None,
) -> str:
    alt = f"Confusion matrix of {len(classes)} class{'es' * (len(classes) > 1)}."
    if normalize is None:
        right = 100 * np.trace(counts) / max(counts.sum(), 1)
        return f"{alt} {counts.sum():.0f} pixels, {right:.0f} % on the diagonal."
    for k, name in enumerate(classes):
        line = values[k] if normalize == "truth" else values[:, k]  # (C,)
        if np.isnan(line).all():
            verb = "truly" if normalize == "truth" else "predicted as"
            alt += f" No pixel is {verb} {name}."
            continue
        others = np.where(np.arange(len(line)) == k, -1, line)
        worst = int(others.argmax())
        also = f" and {line[worst]:.0f} % as {classes[worst]}"
        also = also if others[worst] > 0 else ""
        if normalize == "truth":
            alt += f" Of the pixels that are {name}, {line[k]:.0f} % are predicted as"
            alt += f" {name}{also}."
        else:
            alt += f" Of the pixels predicted as {name}, {line[k]:.0f} % are {name}"
            alt += f"{also.replace(' as ', ' are ')}."
    return alt
