"""One color for each class number, the same in every figure of the course.

Class 0, which in most data sets is the background, is a light gray. Classes 1 to 7
are the palette of Okabe and Ito; the colors after it were added one at a time, each
as far as possible from all before it to readers with full color vision, without red
cones, and without green cones (CIEDE2000 after the simulation of Machado et al.).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BACKGROUND_COLOR = "#DDDDDD"
"""Color of class 0."""

IGNORE_COLOR = "#727272"
"""Color of pixels that are not annotated; figures hatch them as well."""

CLASS_COLORS = (
    # Okabe & Ito (2008), without black
    "#E69F00",  # orange
    "#56B4E9",  # sky blue
    "#009E73",  # bluish green
    "#F0E442",  # yellow
    "#0072B2",  # blue
    "#D55E00",  # vermilion
    "#CC79A7",  # reddish purple
    # farthest-point additions, CIE lightness above 32 so that they show on black
    "#961E1E",
    "#783C5A",
    "#A5D296",
    "#3C87FF",
    "#A5E1FF",
    "#3C694B",
    "#4B0FE1",
    "#B40087",
    "#E196A5",
    "#D2004B",
    "#4BB469",
    "#A54B00",
    "#D2B4D2",
)
"""Colors of classes 1, 2, ...; after the last one they start again."""


def class_colors(num_classes: int) -> NDArray[np.float64]:
    """Give the color of each class, fixed by its number.

    Class 3 has the same color in a set of 4 classes and in one of 11. Use it when
    you draw something about classes yourself: bars, lines, arrows.

    Parameters
    ----------
    num_classes : int
        How many classes, at least 1. Up to 21 all differ; beyond that the colors
        of classes 1 to 20 repeat.

    Returns
    -------
    ndarray of float64, shape (num_classes, 3)
        sRGB in [0, 1]; row k is the color of class k.

    Raises
    ------
    ValueError
        When `num_classes` is not a positive integer.

    Source
    ------
    M. Okabe and K. Ito, "Color Universal Design" (2008), for classes 1 to 7.
    G. M. Machado, M. M. Oliveira and L. A. F. Fernandes, "A Physiologically-based
    Model for Simulation of Color Vision Deficiency", IEEE TVCG 15(6), 2009, for the
    simulation by which the others were chosen and all are tested.

    Examples
    --------
    >>> class_colors(3).round(2).tolist()
    [[0.87, 0.87, 0.87], [0.9, 0.62, 0.0], [0.34, 0.71, 0.91]]
    """
    if isinstance(num_classes, bool) or not isinstance(num_classes, (int, np.integer)):
        raise ValueError(f"num_classes is {num_classes!r}; give a positive integer.")
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; there is at least one class.")
    repeats = -(-(int(num_classes) - 1) // len(CLASS_COLORS))
    names = (BACKGROUND_COLOR, *(CLASS_COLORS * repeats))[:num_classes]
    return np.array([hex_to_rgb(name) for name in names])  # (num_classes, 3)


def hex_to_rgb(color: str) -> tuple[float, float, float]:
    """Convert ``"#RRGGBB"`` to three floats in [0, 1]."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red / 255, green / 255, blue / 255


def relative_luminance(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Relative luminance of sRGB colors, (..., 3) to (...), as WCAG 2.2 defines it."""
    rgb = np.asarray(rgb, np.float64)[..., :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance: NDArray[np.float64] = linear @ np.array([0.2126, 0.7152, 0.0722])
    return luminance


def readable_on(rgb: NDArray[np.float64]) -> str:
    """Choose black or white text for a background, whichever has more contrast.

    The contrast ratio of WCAG is (L1 + 0.05) / (L2 + 0.05). The better of black and
    white is never below √21 ≈ 4.58, so small text (4.5) is always legible.
    """
    luminance = float(relative_luminance(rgb))
    white, black = 1.05 / (luminance + 0.05), (luminance + 0.05) / 0.05
    return "white" if white > black else "black"
