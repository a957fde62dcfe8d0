"""Where tiles lie, what they weigh, and what stands beyond the image's border.

Everything is along one axis. A grid of tiles is the product of a list of rows and a
list of columns, the weight of a pixel in a tile is the product of two weights, and so
is the sum of its weights over all tiles: two axes need no more than one does twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SIGMA = 1 / 8
"""Standard deviation of the Gaussian weights in tiles (Isensee et al., 2021)."""


def tile_starts(size: int, tile: int, overlap: float, stride: int = 1) -> list[int]:
    """Space tiles evenly, so that they cover an axis and overlap at least as asked.

    Parameters
    ----------
    size : int
        Pixels of the image along the axis.
    tile : int
        Pixels of a tile.
    overlap : float
        Share of a tile that its neighbor covers too, at least; from 0 to below 1.
    stride : int, default 1
        Starts are multiples of it. A network shifts its output with its input only
        for shifts by its total stride: on such a grid each tile is computed as it
        would be within the whole image.

    Returns
    -------
    list of int
        First pixels, from 0. The last tile ends at the image's end, or less than a
        stride behind it.

    Notes
    -----
    The other custom, equal steps and a last tile shifted back to the border, has a
    last overlap that may be nearly a whole tile. For `stride` 1 this is nnU-Net's
    spacing.

    Source
    ------
    Isensee et al., "nnU-Net", Nature Methods 18 (2021).

    Examples
    --------
    >>> tile_starts(110, tile=64, overlap=0.5)
    [0, 23, 46]
    >>> tile_starts(110, tile=64, overlap=0.5, stride=16)
    [0, 32, 48]
    """
    way = max(-(-(size - tile) // stride), 0)  # from first start to last, in strides
    step = max(int(tile * (1 - overlap)) // stride, 1)
    steps = -(-way // step)
    return [round(i * way / steps) * stride for i in range(steps + 1)] if way else [0]


def tile_shares(
    starts: Sequence[int], tile: int, blend: str
) -> list[NDArray[np.float32]]:
    """Weigh the pixels of each tile, so that the weights at each pixel sum to 1.

    Parameters
    ----------
    starts : list of int
        First pixels, rising by at most a tile.
    tile : int
        Pixels of a tile.
    blend : {"gaussian", "constant"}
        "gaussian": the center of a tile counts most, since a network sees most around
        it. The standard deviation is 1/8 of the tile, so that the weight at its end
        is :math:`e^{-8}` of that at its center: little, and never 0. "constant": all
        tiles at a pixel count alike.

    Returns
    -------
    list of ndarray of float32, shape (tile,)
        For each tile the share that it has in each of its pixels.

    Source
    ------
    Isensee et al. (2021), which multiplies by the weights and divides by their sum.
    That sum is a product of one factor for each axis, so it can be divided out here,
    before there is an image.

    Examples
    --------
    >>> for share in tile_shares([0, 2], tile=4, blend="constant"):
    ...     print(share)
    [1.  1.  0.5 0.5]
    [0.5 0.5 1.  1. ]
    """
    distance = np.arange(tile) - (tile - 1) / 2  # from the tile's center
    weights = np.ones(tile)
    if blend == "gaussian":
        weights = np.exp(-0.5 * (distance / (_SIGMA * tile)) ** 2)
    total = np.zeros(starts[-1] + tile)
    for start in starts:
        total[start : start + tile] += weights
    return [
        (weights / total[start : start + tile]).astype(np.float32) for start in starts
    ]


def mirror(start: int, stop: int, size: int) -> NDArray[np.intp]:
    """Give the pixels that stand at positions from `start` to `stop`.

    Beyond its first and last pixel an image goes on as its reflection, without
    repeating the edge, however far.

    Parameters
    ----------
    start, stop : int
        Positions; may lie outside the image.
    size : int
        Pixels of the image.

    Returns
    -------
    ndarray of int, shape (stop - start,)
        From 0 to ``size - 1``.

    Source
    ------
    Ronneberger, Fischer and Brox (2015), Figure 2: "missing input data is
    extrapolated by mirroring".

    Examples
    --------
    >>> mirror(-3, 7, size=4).tolist()
    [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    """
    period = max(2 * (size - 1), 1)  # there and back
    position = np.arange(start, stop) % period
    return np.minimum(position, period - position) if size > 1 else 0 * position
