"""Figures without pyplot: one style, displayed once, with words for what they show."""

from __future__ import annotations

import base64
import io
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
import matplotlib.figure
from cycler import cycler
from numpy.typing import NDArray

MAX_WIDTH = 6.5
"""Widest figure, in inches. At this width 11-point text is 8 pixels high on a phone
whose page is 350 pixels wide; the text of a wider figure could not be read there."""

PIXELS_PER_INCH = 100
"""Size at which a page shows a figure: 6.5 inches are 650 CSS pixels."""

OVERSAMPLING = 1.5
"""Pixels drawn for each CSS pixel, for screens finer than that."""

STYLE: dict[str, Any] = {
    "figure.dpi": PIXELS_PER_INCH,
    # White, never transparent: in a dark theme a figure stands on a white card.
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # matplotlib brings it: the same everywhere
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(
        color=["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
    ),
    "lines.linewidth": 2,
    "image.cmap": "gray",
    "hatch.linewidth": 0.6,
}
"""The course's matplotlib settings: ``plt.style.use(seglab.plots.STYLE)``."""


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that displays itself once and knows what it shows.

    It is a `matplotlib.figure.Figure` in every other way: ``fig.axes`` and
    ``fig.savefig("name.png")`` work as usual. pyplot does not know it, so nothing
    has to be closed.

    Attributes
    ----------
    alt : str
        What the figure shows, in words, for readers who do not see it.
    """

    alt: str = ""

    def draw(self, renderer: Any) -> None:
        """Draw with the course's style: some settings are only read here."""
        with style():
            super().draw(renderer)

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
        """Give Jupyter a PNG, the width to show it at, and the alt text."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=PIXELS_PER_INCH * OVERSAMPLING)
        width = round(self.get_figwidth() * PIXELS_PER_INCH)
        image = base64.b64encode(buffer.getvalue()).decode("ascii")
        return {"image/png": image}, {"image/png": {"width": width, "alt": self.alt}}


def style() -> AbstractContextManager[None]:
    """Draw with the course's style inside a ``with`` block.

    The functions of `seglab.plots` use it by themselves; use it around your own
    matplotlib code, so that fonts and colors agree. To set it for a whole notebook:
    ``plt.style.use(seglab.plots.STYLE)``.

    Returns
    -------
    context manager
        Sets matplotlib's rcParams to `STYLE` and back.

    Examples
    --------
    >>> import matplotlib
    >>> with style():
    ...     matplotlib.rcParams["axes.titlesize"]
    12.0
    """
    context: AbstractContextManager[None] = matplotlib.rc_context(STYLE)
    return context


def subplots(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = MAX_WIDTH,
    height: float = 2.8,
    alt: str = "",
    **options: Any,
) -> tuple[Figure, NDArray[Any]]:
    """Make an empty figure in the course's style, to draw on with matplotlib.

    Like ``plt.subplots``, but outside pyplot: the figure is displayed where a cell
    ends with it, and nowhere else.

    Parameters
    ----------
    rows, columns : int
        Grid of axes; at most three columns, so that they can be read on a phone.
    width, height : float
        Size of the figure in inches; the width is at most 6.5.
    alt : str
        What the figure will show, in words.
    **options
        Passed on to `matplotlib.figure.Figure.subplots`, such as ``sharey=True``.

    Returns
    -------
    figure : Figure
    axes : ndarray of matplotlib Axes, shape (rows, columns)
        Always two-dimensional, unless ``squeeze=True`` is given.

    Raises
    ------
    ValueError
        When there are more than three columns, or the figure is too wide.

    Examples
    --------
    >>> fig, axes = subplots(1, 2, alt="Two empty frames.")
    >>> axes.shape, alt_text(fig)
    ((1, 2), 'Two empty frames.')
    """
    if not 1 <= columns <= 3:
        raise ValueError(
            f"columns is {columns}; use 1 to 3, which can be read on a phone, and "
            "more rows."
        )
    if not 0 < width <= MAX_WIDTH:
        raise ValueError(
            f"width is {width} inches; use at most {MAX_WIDTH}: the text of a wider "
            "figure is too small on a phone."
        )
    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, **{"squeeze": False, **options})
    figure.alt = alt
    return figure, axes


def alt_text(figure: Figure) -> str:
    """Say in words what a figure shows, computed from its data.

    In the course's notebooks it is copied into the cell's metadata; in Jupyter and
    nbconvert it is there without that.

    Parameters
    ----------
    figure : Figure
        A figure made by this package.

    Returns
    -------
    str
        One or more sentences.

    Raises
    ------
    TypeError
        When the figure was made in another way, and so has no description.

    Examples
    --------
    >>> import numpy as np
    >>> from seglab.plots import show
    >>> alt_text(show([np.zeros((8, 8))], titles=["dark"]))
    'An image: dark.'
    """
    if not isinstance(figure, Figure):
        raise TypeError(
            f"a {type(figure).__name__} has no description; give a figure that "
            "seglab.plots has made."
        )
    return figure.alt
