"""A photograph of 24 Greek coins, and the labels we drew on it.

A real picture that needs no file: scikit-image carries it. Its labels are ours,
an ellipse for each coin, kept here as numbers; that makes it the example of how
labels are made, and of how far two ways of making them agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import skimage.data
from numpy.typing import NDArray

from seglab.data._simulation import (
    SPLIT_NAMES,
    check_seed,
    check_size,
    split_sizes,
    stream,
)
from seglab.data.dataset import Dataset, Split

CLASSES = ("background", "coin")

ELLIPSES: tuple[tuple[float, float, float, float, float], ...] = (
    (55.0, 44.7, 22.4, 19.3, -15),
    (56.8, 100.8, 19.7, 18.0, 3),
    (51.2, 155.8, 23.6, 22.5, 15),
    (51.7, 215.7, 23.6, 22.1, 3),
    (52.9, 276.5, 20.7, 19.0, 11),
    (44.0, 335.2, 29.7, 27.9, -1),
    (124.9, 45.2, 20.9, 19.8, -49),  # a corner sticks out at each side of its foot
    (126.2, 102.8, 19.4, 18.3, -38),
    (127.9, 154.2, 19.7, 17.6, -6),
    (124.3, 205.8, 20.4, 18.9, -29),
    (119.2, 271.2, 25.6, 24.2, 0),
    (124.9, 336.7, 19.6, 19.1, -46),
    (197.8, 44.2, 19.9, 18.5, 67),
    (196.1, 102.2, 22.0, 21.3, 1),
    (198.3, 154.6, 19.4, 18.9, 0),
    (193.6, 213.0, 24.1, 23.1, 2),
    (194.6, 274.4, 23.4, 20.9, 43),  # the least elliptical: up to 2 pixels off
    (187.2, 347.6, 32.3, 31.1, -1),
    (260.2, 46.4, 28.4, 27.6, -27),
    (266.1, 114.3, 21.4, 21.1, 20),
    (261.7, 172.9, 29.2, 25.7, 3),
    (263.7, 244.5, 24.2, 23.2, -25),
    (263.8, 301.1, 26.6, 24.1, -33),
    (268.4, 358.8, 23.0, 20.6, -2),
)
"""The coins, row by row from the left: row and column of the center and the two
semi-axes, in pixels, and the angle of the first semi-axis in degrees, from the
column axis toward larger rows. The pixel in row i and column j covers
[i, i + 1) x [j, j + 1), so that its center is (i + 0.5, j + 0.5)."""

STRIPS = ((0, 184), (184, 248), (248, 384))
"""Columns of the photograph that train, val and test crops come from. The edges
cut only three coins (numbers 11, 21, 22); no pixel is in two splits."""


def coins_photograph() -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Give the whole photograph, and the number of the coin at each pixel.

    Returns
    -------
    image : ndarray of float32, shape (303, 384)
        Gray values in [0, 1].
    instances : ndarray of int32, shape (303, 384)
        1 to 24 on the coins, row by row from the left; 0 on the cloth. A pixel
        belongs to a coin where its center lies in the coin's ellipse.

    Notes
    -----
    The labels were made in three steps: a watershed found each coin; rays from
    its center found the outermost steep edge; an ellipse was fitted to these
    edge points with a loss that forgives outliers. Each of the 24 was then
    checked by eye on an enlarged overlay. Coins are not ellipses: of the
    edge points of each coin half lie within half a pixel of its line, and 95 %
    within 2 pixels.

    Source: ``skimage.data.coins``: Greek coins from Pompeii, Brooklyn Museum; no
    known copyright restrictions. The labels are ours.

    Examples
    --------
    >>> image, instances = coins_photograph()
    >>> image.shape, int(instances.max())
    ((303, 384), 24)
    """
    image = skimage.data.coins().astype(np.float32) / 255  # (303, 384)
    y = np.arange(image.shape[0])[:, None] + 0.5
    x = np.arange(image.shape[1])[None, :] + 0.5
    instances = np.zeros(image.shape, np.int32)
    for number, (row, column, first, second, degrees) in enumerate(ELLIPSES, start=1):
        cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        along = cosine * (x - column) + sine * (y - row)  # (303, 384)
        across = cosine * (y - row) - sine * (x - column)
        instances[(along / first) ** 2 + (across / second) ** 2 <= 1] = number
    return image, instances


def coins(
    count: int = 200, *, size: int | Sequence[int] = 64, seed: int = 0
) -> Dataset:
    """Cut crops from a photograph of coins: the left to train, the right to test.

    Use it to try a model on a real image without fetching one. The crops of a
    split overlap, so their number says little: there is one photograph.

    Parameters
    ----------
    count : int, optional
        Crops over all splits: 70 % train, 15 % val, 15 % test, at least one each.
    size : int or (int, int), optional
        Side of the square crops in pixels, or (height, width): from 16 up to
        303 rows and 64 columns, which is the width of the strip for val.
    seed : int, optional
        Same seed, same crops. Crop number i of a split does not depend on `count`.

    Returns
    -------
    Dataset
        Gray images, classes background and coin. `instances` holds the number of
        the coin in the photograph, 1 to 24. The columns ``top`` and ``left`` say
        where in the photograph a crop begins, in pixels.

    Raises
    ------
    ValueError
        When an argument is out of range.

    Examples
    --------
    >>> data = coins(20, size=48)
    >>> data.train
    Split(14 images of 48 × 48 × 1, 2 classes)
    >>> bool((data.train.columns["left"] + 48 <= 184).all())
    True
    """
    counts = split_sizes(count)
    height, width = check_size(size, 16)
    seed = check_seed(seed)
    image, numbers = coins_photograph()  # (303, 384) each
    narrowest = min(stop - start for start, stop in STRIPS)
    if height > image.shape[0] or width > narrowest:
        raise ValueError(
            f"size is {size!r}; a crop may have at most {image.shape[0]} rows and "
            f"{narrowest} columns, the width of the photograph's strip for val."
        )
    splits = []
    for split, (crops, (start, stop)) in enumerate(zip(counts, STRIPS, strict=True)):
        corners = np.array(
            [
                stream(seed, split, i).integers(
                    (0, start),
                    (image.shape[0] - height, stop - width),
                    endpoint=True,
                )
                for i in range(crops)
            ]
        )  # (crops, 2): top, left
        rows = corners[:, 0, None, None] + np.arange(height)[:, None]  # (crops, h, 1)
        columns = corners[:, 1, None, None] + np.arange(width)  # (crops, 1, w)
        instances = numbers[rows, columns]  # (crops, h, w)
        splits.append(
            Split(
                image[rows, columns][..., None],
                (instances > 0).astype(np.int32),
                CLASSES,
                instances=instances,
                columns={"top": corners[:, 0], "left": corners[:, 1]},
            )
        )
    train, val, test = splits
    strips = ", ".join(
        f"{name} from columns {start} to {stop - 1}"
        for name, (start, stop) in zip(SPLIT_NAMES, STRIPS, strict=True)
    )
    return Dataset(
        "coins",
        train,
        val,
        test,
        title="Crops of a photograph of 24 Greek coins from Pompeii",
        licence="No known copyright restrictions (photograph); MIT (labels)",
        source="skimage.data.coins, from the Brooklyn Museum; labels by seglab",
        attribution="Brooklyn Museum",
        notes=(
            f"One photograph: {strips}. Crops within a split overlap; no pixel is in "
            "two splits. Labels are ellipses, drawn by us."
        ),
    )
