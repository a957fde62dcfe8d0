"""Scenes of real handwritten digits on real textures, with exact masks.

Eleven classes that must be told apart by their shape: brightness alone, which
finds a cell, does not tell a 3 from an 8. The digits were written by people, and
the splits share no writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, zoom

from seglab.data._simulation import (
    check_positive,
    check_range,
    check_seed,
    check_size,
    check_unit,
    split_sizes,
    stream,
)
from seglab.data.dataset import Dataset, Split

CLASSES = ("background", *"0123456789")

WRITERS = (
    *(0, 130, 256, 386, 516, 646, 776, 915, 1029, 1157),
    *(1287, 1415, 1545, 1667, 1797),
)
"""Where in scikit-learn's digits a writer begins: the samples come writer by
writer. The bounds are those that the scikit-learn MOOC uses (notebook
"Non i.i.d. data"); the data themselves do not name their writers."""

WRITER_SPLITS = ((0, 10), (10, 12), (12, 14))
"""First writer and the one after the last, for train, val and test."""

TEXTURES = ("brick", "grass", "gravel")
"""Photographs in scikit-image, 512 x 512 pixels, CC0."""

TEXTURE_COLUMNS = ((0, 256), (256, 384), (384, 512))
"""Columns of the textures behind train, val and test scenes: no pixel in two."""

INK_LEVEL = 0.4
"""Share of the darkest ink from which a pixel counts as written."""

DIGIT_SIZE = 24.0
"""Mean side of a digit, in pixels, unless another is asked for."""

SMALLEST = 16
"""Smallest side of an image, in pixels: below it digits are not legible."""

ZOOM = 4
"""Digits are kept at this many times the resolution of their 8 x 8 scans."""

PAD = 2
"""Empty pixels around an 8 x 8 scan, so that strokes at its edge are not cut."""

CHUNK = 2**18
"""Pixels rendered at a time: bounds the memory, leaves the result the same."""


@dataclass(frozen=True)
class Page:
    """How digits are written: what makes them hard to read.

    Parameters
    ----------
    contrast : float
        Mean difference in brightness between ink and background, out of 1.
    dark_ink : float
        Probability that a digit is darker than its background, not brighter.
    texture : float
        Standard deviation of the background's brightness.
    tilt : float
        Largest rotation of a digit, in degrees, either way.
    spread : float
        Largest deviation of a digit's size from the mean, as a share of it.
    spacing : float
        Smallest distance between the centers of two digits, in units of their
        mean side. Much below 1, digits overlap; the later one is on top.
    noise : float
        Standard deviation of the camera's Gaussian noise.

    Examples
    --------
    >>> Page.at(0.5).contrast
    0.4
    """

    contrast: float
    dark_ink: float
    texture: float
    tilt: float
    spread: float
    spacing: float
    noise: float

    @classmethod
    def at(cls, difficulty: float) -> Page:
        """Give the page of a difficulty from 0 to 1; see `digits` for a table.

        Examples
        --------
        >>> Page.at(0).tilt, Page.at(1).tilt
        (5.0, 25.0)
        """
        share = check_unit(difficulty, "difficulty")

        def between(easy: float, hard: float) -> float:
            return round(easy + share * (hard - easy), 6)

        return cls(
            contrast=between(0.55, 0.25),
            dark_ink=between(0.0, 0.5),
            texture=between(0.04, 0.14),
            tilt=between(5, 25),
            spread=between(0.1, 0.3),
            spacing=between(1.1, 0.7),
            noise=between(0.01, 0.05),
        )


def digits(
    count: int = 500,
    *,
    size: int | Sequence[int] = 64,
    seed: int = 0,
    difficulty: float = 0.5,
    digits_per_image: int | Sequence[int] | None = None,
    digit_size: float | None = None,
    page: Page | None = None,
) -> Dataset:
    """Compose scenes of handwritten digits on photographed textures.

    Use it for a task with many classes, where each pixel's class depends on the
    shape around it.

    Parameters
    ----------
    count : int, optional
        Images over all splits: 70 % train, 15 % val, 15 % test, at least one each.
    size : int or (int, int), optional
        Side of the square images in pixels, or (height, width); at least 16. A
        larger image shows more digits, not larger ones.
    seed : int, optional
        Same seed, same images. Image number i of a split does not depend on
        `count`.
    difficulty : float, optional
        From 0 to 1; moves the `Page` as the table shows.
    digits_per_image : int or (int, int), optional
        Number of digits, or (fewest, most). By default 3 to 6 in 64 x 64 pixels,
        and as many per area in other sizes. Digits that find no free place are
        left out.
    digit_size : float, optional
        Mean side of a digit in pixels. By default 24, or half of the image's
        shorter side where that is less.
    page : Page, optional
        Takes the place of `difficulty`.

    Returns
    -------
    Dataset
        Gray images; classes background and "0" to "9". Class k + 1 is digit k.

    Raises
    ------
    ValueError
        When an argument is out of range.

    Notes
    -----
    A scan of 8 x 8 pixels is enlarged by cubic interpolation, turned, scaled and
    laid over the background as ink of a random brightness. The mask is where the
    ink covers more than 40 % of the full stroke, before noise.

    Train, val and test use different writers (10, 2 and 2 of them) and different
    columns of the textures.

    ============  ======  ======  ======
    difficulty    0       0.5     1
    ============  ======  ======  ======
    contrast      0.55    0.4     0.25
    dark_ink      0.0     0.25    0.5
    texture       0.04    0.09    0.14
    tilt          5       15      25
    spread        0.1     0.2     0.3
    spacing       1.1     0.9     0.7
    noise         0.01    0.03    0.05
    ============  ======  ======  ======

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits",
    UCI Machine Learning Repository, 1998 (CC BY 4.0), as in
    ``sklearn.datasets.load_digits``; textures from ``skimage.data`` (CC0).

    Examples
    --------
    >>> data = digits(20, size=48)
    >>> data.train
    Split(14 images of 48 × 48 × 1, 11 classes)
    >>> data.classes[4]
    '3'
    """
    counts = split_sizes(count)
    height, width = check_size(size, SMALLEST)
    seed = check_seed(seed)
    shorter = min(height, width)
    digit_size = min(DIGIT_SIZE, shorter / 2) if digit_size is None else digit_size
    digit_size = check_positive(digit_size, "digit_size")
    if not 8 <= digit_size <= shorter / 1.5:
        raise ValueError(
            f"digit_size is {digit_size}; for images of {height} × {width} pixels it "
            f"must lie between 8 and {shorter / 1.5:.4g}, two thirds of the shorter "
            "side."
        )
    difficulty = check_unit(difficulty, "difficulty")
    if page is None:
        page = Page.at(difficulty)
    if digits_per_image is None:
        room = height * width / digit_size**2  # digits that would cover it all
        number = max(1, round(0.42 * room)), max(2, round(0.84 * room))
    else:
        number = check_range(digits_per_image, "digits_per_image")

    batch = max(1, CHUNK // (height * width))
    splits = []
    for split, images_in_split in enumerate(counts):
        images = np.empty((images_in_split, height, width, 1), np.float32)
        masks = np.empty((images_in_split, height, width), np.int32)
        for start in range(0, images_in_split, batch):
            part = slice(start, min(start + batch, images_in_split))
            rngs = [stream(seed, split, i) for i in range(part.start, part.stop)]
            images[part, ..., 0], masks[part] = _compose(
                rngs, split, (height, width), number, digit_size, page
            )
        splits.append(Split(images, masks, CLASSES))
    train, val, test = splits
    return Dataset(
        "digits",
        train,
        val,
        test,
        title="Scenes of handwritten digits on photographed textures",
        licence="CC BY 4.0 (digits), CC0 1.0 (textures)",
        source="seglab.data.digits, from sklearn.datasets.load_digits and skimage.data",
        attribution="E. Alpaydin, C. Kaynak, UCI Machine Learning Repository, 1998",
        notes="Splits by writer and by region of the textures. Masks are exact.",
    )


@dataclass
class _Writing:
    """The digits of one scene, as arrays with one entry per digit (n,)."""

    scan: NDArray[np.intp]
    place: NDArray[np.float64]  # (n, 2): row and column of the center
    side: NDArray[np.float64]
    angle: NDArray[np.float64]
    ink: NDArray[np.float64]  # brightness relative to the background's mean


def _compose(
    rngs: list[np.random.Generator],
    split: int,
    extent: tuple[int, int],
    number: tuple[int, int],
    digit_size: float,
    page: Page,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Make one scene with each random stream: images and masks (B, H, W)."""
    scans, labels = _scans()
    first, last = (WRITERS[writer] for writer in WRITER_SPLITS[split])
    writings = [
        _write(rng, (first, last), extent, number, digit_size, page) for rng in rngs
    ]
    level = np.array([rng.uniform(0.35, 0.6) for rng in rngs])  # (B,)
    images = level[:, None, None] + page.texture * np.stack(
        [_background(rng, split, extent) for rng in rngs]
    )  # (B, H, W)
    masks = np.zeros(images.shape, np.int32)

    # Half a window: the whole padded scan of the largest digit, in any rotation.
    largest = max((w.side.max(initial=0) for w in writings), default=0.0)
    half = int(np.ceil(np.sqrt(0.5) * largest * (8 + 2 * PAD) / 8)) + 1
    margin = ((0, 0), (half, half), (half, half))  # windows may reach outside
    images, masks = np.pad(images, margin), np.pad(masks, margin)
    window = np.arange(-half, half + 1)  # (P,)
    # The k-th digits of all scenes at once; later ones lie on top.
    for k in range(max(len(w.scan) for w in writings)):
        scene = np.array([i for i, w in enumerate(writings) if len(w.scan) > k])  # (n,)
        scan, place, side, angle, ink = (
            np.array([getattr(writings[i], name)[k] for i in scene])
            for name in ("scan", "place", "side", "angle", "ink")
        )
        corner = np.floor(place).astype(int)  # (n, 2)
        stroke = _sample(scans, scan, window, place - corner, side, angle)  # (n, P, P)
        rows = corner[:, 0, None, None] + half + window[:, None]  # (n, P, 1)
        columns = corner[:, 1, None, None] + half + window  # (n, 1, P)
        where = scene[:, None, None], rows, columns
        # A stroke's edge is one or two pixels wide, and half ink at INK_LEVEL.
        opacity = np.clip(0.5 + 1.5 * (stroke - INK_LEVEL), 0, 1)
        opacity[stroke < 0.1] = 0
        color = (level[scene] + ink)[:, None, None]
        images[where] += opacity * (color - images[where])
        masks[where] = np.where(
            stroke > INK_LEVEL, labels[scan][:, None, None] + 1, masks[where]
        )
    inside = slice(half, half + extent[0]), slice(half, half + extent[1])
    images = images[:, *inside]
    noise = np.stack([rng.standard_normal(extent, np.float32) for rng in rngs])
    images = np.clip(images + page.noise * noise, 0, 1).astype(np.float32)
    return images, masks[:, *inside]


def _write(
    rng: np.random.Generator,
    writers: tuple[int, int],
    extent: tuple[int, int],
    number: tuple[int, int],
    digit_size: float,
    page: Page,
) -> _Writing:
    """Choose the digits of one scene, and where and how each is written."""
    n = int(rng.integers(number[0], number[1], endpoint=True))
    scan = rng.integers(*writers, size=n)
    side = digit_size * (1 + page.spread * rng.uniform(-1, 1, n))
    angle = np.deg2rad(page.tilt) * rng.uniform(-1, 1, n)
    ink = page.contrast * rng.uniform(0.75, 1.25, n)
    ink[rng.random(n) < page.dark_ink] *= -1
    place = np.full((n, 2), np.nan)
    tries = 40
    for i in range(n):
        # Candidate centers, (tries, 2), that keep the digit inside the image.
        candidates = side[i] / 2 + rng.random((tries, 2)) * (np.array(extent) - side[i])
        placed = np.flatnonzero(~np.isnan(place[:i, 0]))
        offsets = candidates[:, None] - place[None, placed]  # (tries, placed, 2)
        apart = page.spacing * (side[placed] + side[i]) / 2
        free = (np.square(offsets).sum(axis=2) >= apart**2).all(axis=1)
        if free.any():
            place[i] = candidates[free.argmax()]
    kept = ~np.isnan(place[:, 0])
    return _Writing(scan[kept], place[kept], side[kept], angle[kept], ink[kept])


def _sample(
    scans: NDArray[np.float32],
    scan: NDArray[np.intp],
    window: NDArray[np.intp],
    fraction: NDArray[np.float64],
    side: NDArray[np.float64],
    angle: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Turn and scale scans into windows of pixels around their centers, (n, P, P)."""
    # Offsets of the pixel centers from the digit's center, in image pixels.
    dy = (window + 0.5 - fraction[:, :1])[:, :, None]  # (n, P, 1)
    dx = (window + 0.5 - fraction[:, 1:])[:, None, :]  # (n, 1, P)
    cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    step = (8 * ZOOM / side)[:, None, None]  # pixels of the scan per image pixel
    center = (scans.shape[1] - 1) / 2
    y = center + step * (cosine * dy - sine * dx)  # (n, P, P)
    x = center + step * (sine * dy + cosine * dx)
    which = np.broadcast_to(scan[:, None, None], y.shape)
    stroke: NDArray[np.float32] = map_coordinates(scans, (which, y, x), order=1)
    return stroke


def _background(
    rng: np.random.Generator, split: int, extent: tuple[int, int]
) -> NDArray[np.float32]:
    """Cut a piece of a texture, of mean about 0 and deviation about 1, (H, W)."""
    texture = _textures()[rng.integers(len(TEXTURES))]
    start, stop = TEXTURE_COLUMNS[split]
    region = texture[:, start:stop]
    # A piece larger than the region goes on in its mirror image.
    rows, columns = (
        _mirrored(rng.integers(max(1, have - want + 1)) + np.arange(want), have)
        for want, have in zip(extent, region.shape, strict=True)
    )
    piece: NDArray[np.float32] = region[np.ix_(rows, columns)]
    return piece[:, ::-1] if rng.random() < 0.5 else piece


def _mirrored(index: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Fold indices beyond the end back: 0 1 2 | 2 1 0 | 0 1 2 for length 3."""
    folded = index % (2 * length)
    return np.where(folded < length, folded, 2 * length - 1 - folded)


@lru_cache(maxsize=1)
def _scans() -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Read the digits, enlarged: strokes (1797, S, S) in [0, 1], labels (1797,)."""
    from sklearn.datasets import load_digits  # slow to import, so only when used

    bunch = load_digits()
    scans = np.pad(bunch.images / 16, ((0, 0), (PAD, PAD), (PAD, PAD)))
    # Cubic interpolation is linear in the pixels and acts on rows and columns
    # alike, so that one matrix, the enlarged identity, enlarges all scans.
    # grid_mode: a pixel is an area, so that 12 of them become 12 * ZOOM.
    enlarge = zoom(np.eye(scans.shape[1]), (ZOOM, 1), mode="nearest", grid_mode=True)
    large = enlarge @ scans @ enlarge.T  # (S, 12) (1797, 12, 12) (12, S)
    return np.clip(large, 0, 1).astype(np.float32), bunch.target.astype(np.int32)


@lru_cache(maxsize=1)
def _textures() -> NDArray[np.float32]:
    """Read the textures, each with mean 0 and deviation 1: (3, 512, 512)."""
    import skimage.data

    stack = np.stack([getattr(skimage.data, name)() for name in TEXTURES])
    pixels = stack.astype(np.float32)
    mean = pixels.mean(axis=(1, 2), keepdims=True)
    scaled: NDArray[np.float32] = (pixels - mean) / pixels.std(
        axis=(1, 2), keepdims=True
    )
    return scaled
