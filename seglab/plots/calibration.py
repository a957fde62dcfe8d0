"""The reliability diagram: how often predictions of each confidence are right."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike, NDArray

from seglab.plots.figure import Figure, style, subplots

_BAR, _GAP = "#56B4E9", "#D55E00"


def reliability_diagram(
    confidence: ArrayLike, accuracy: ArrayLike, counts: ArrayLike
) -> Figure:
    """Draw how often predictions of each confidence were right.

    Above, the bars are the accuracy of the pixels in a bin of confidence. On the
    diagonal it would equal their confidence; the hatched gap to it is the error. A gap
    above a bar says that the network is too sure. Below is how many pixels the bin
    has: a large gap with few pixels matters little.

    Parameters
    ----------
    confidence, accuracy : array of float, shape (bins,)
        Mean confidence and share of right pixels in each bin, from 0 to 1; NaN where a
        bin is empty. Bins have equal widths, from 0 to 1. As in the ``confidence``,
        ``accuracy`` and ``counts`` of what `seglab.metrics.reliability` returns.
    counts : array of int, shape (bins,)
        Pixels in each bin.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When lengths differ, a value is out of range, or there is no pixel.

    Source
    ------
    Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML
    2017, figure 1.

    Examples
    --------
    >>> import numpy as np
    >>> from seglab.plots import alt_text
    >>> fig = reliability_diagram([np.nan, 0.7, 0.9], [np.nan, 0.6, 0.9], [0, 50, 150])
    >>> print(alt_text(fig))
    Reliability diagram with 3 bins of confidence. Expected calibration error: 0.025.
    The largest gap with at least 5 % of the pixels: of those with confidence 0.70,
    60 % are right.
    """
    conf, acc, n = _check(confidence, accuracy, counts)
    bins = len(n)
    share = n / n.sum()
    gap = np.where(n > 0, np.nan_to_num(acc) - np.nan_to_num(conf), 0.0)
    error = float(share @ np.abs(gap))
    middles = (np.arange(bins) + 0.5) / bins
    figure, axes = subplots(
        2, 1, width=4.2, height=4.8, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
    )
    above, below = axes[:, 0]
    bar = {"width": 1 / bins, "edgecolor": "black", "linewidth": 0.8}
    with style():
        seen = n > 0
        above.bar(middles[seen], acc[seen], color=_BAR, label="accuracy", **bar)
        above.bar(
            middles[seen],
            -gap[seen],
            bottom=acc[seen],
            width=1 / bins,
            facecolor="none",
            edgecolor=_GAP,
            linewidth=0.8,
            hatch="////",
            label="gap",
        )
        above.plot(
            [0, 1],
            [0, 1],
            color="#404040",
            linestyle="--",
            linewidth=1.2,
            label="perfect",
        )
        above.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.9}
        above.text(0.03, 0.93, f"ECE {error:.3f}", va="top", bbox=box)
        figure.legend(loc="outside upper center", ncols=3, columnspacing=1.2)
        below.bar(middles, share, color="#808080", **bar)
        below.set(xlabel="confidence", ylabel="pixels", ylim=(0, None))
        below.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        below.locator_params(axis="y", nbins=3)
    weighty = share >= min(0.05, share.max())
    worst = int(np.argmax(np.where(weighty, np.abs(gap), -1)))
    figure.alt = (
        f"Reliability diagram with {bins} bins of confidence. Expected calibration "
        f"error: {error:.3f}. The largest gap with at least 5 % of the pixels: of those"
        f" with confidence {conf[worst]:.2f}, {100 * acc[worst]:.0f} % are right."
    )
    return figure


def _check(
    confidence: ArrayLike, accuracy: ArrayLike, counts: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    conf, acc, n = (np.asarray(a, np.float64) for a in (confidence, accuracy, counts))
    if n.ndim != 1 or not conf.shape == acc.shape == n.shape:
        raise ValueError(
            f"confidence has shape {conf.shape}, accuracy {acc.shape} and counts "
            f"{n.shape}; each must have one number for each bin."
        )
    if not (np.isfinite(n).all() and (n >= 0).all() and n.sum() > 0):
        raise ValueError("counts must be numbers of pixels, 0 or more, not all 0.")
    for name, values in (("confidence", conf), ("accuracy", acc)):
        known = values[n > 0]
        # A comparison with NaN is false, so this refuses NaN too.
        if not ((known >= 0) & (known <= 1)).all():
            raise ValueError(
                f"{name} is {known.round(3).tolist()} in the bins that have pixels; "
                "each must lie between 0 and 1."
            )
    return conf, acc, n
