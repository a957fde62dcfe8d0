"""Simulated fluorescence micrographs of cells, with exact masks.

A microscope is simulated from the specimen to the camera, after SIMCEP
(Lehmussola et al. 2007). Truth is known because we drew it, and every nuisance
has a name and a number, so that an experiment can change one and keep the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

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

CLASSES = ("background", "cell")

FULL_SCALE = 2.0
"""Camera saturation, in units of a nominal cell's light: 1 in the image."""

READ_NOISE = 1.5
"""Standard deviation of the camera's read noise, in photoelectrons."""

HARMONICS = np.arange(2, 7)
"""Waves around a cell's outline; 0 is its size and 1 would only shift it."""

WAVE_AMPLITUDES = np.array([0.13, 0.05, 0.035, 0.025, 0.018])
"""Typical height of each wave, as a share of the radius: 2 makes an ellipse."""

RADIUS = 6.5
"""Mean radius of a cell, in pixels, unless another is asked for."""

SMALLEST = 16
"""Smallest side of an image, in pixels: below it a cell does not fit."""

CHUNK = 2**18
"""Pixels rendered at a time: bounds the memory, leaves the result the same."""


@dataclass(frozen=True)
class Conditions:
    """How a specimen is prepared and imaged: what makes its cells hard to segment.

    Parameters
    ----------
    photons : float
        Photons that the camera collects in a pixel of a cell of nominal
        brightness. Photon (shot) noise is Poisson, so its relative size is
        ``photons ** -0.5``. Few photons mean a short exposure or a faint stain.
    background : float
        Light of the background (autofluorescence, stray light) as a share of a
        nominal cell's.
    variation : float
        Spread of brightness from cell to cell: standard deviation of its
        logarithm. Cells take up stain, and hold DNA, in different amounts.
    texture : float
        Spread of brightness inside a cell, relative.
    blur : float
        Width of the point spread function, in pixels: the standard deviation of
        the Gaussian that approximates it (Zhang, Zerubia, Olivo-Marin 2007).
    clustering : float
        Probability that a cell grows against another instead of on its own.
    overlap : float
        How deep clustered cells reach into each other, as a share of the sum of
        their radii.
    haze : float
        Light of cells above and below the focal plane, relative to a nominal
        cell. It comes as wide smooth blobs that are not labeled.
    gradient : float
        Share of the light that the illumination loses from one corner of the image
        to the opposite one, at most.

    Examples
    --------
    >>> round(Conditions.at(0.5).photons)
    69
    """

    photons: float
    background: float
    variation: float
    texture: float
    blur: float
    clustering: float
    overlap: float
    haze: float
    gradient: float

    @classmethod
    def at(cls, difficulty: float) -> Conditions:
        """Give the conditions of a difficulty from 0 to 1; see `cells` for a table.

        Examples
        --------
        >>> Conditions.at(0).blur, Conditions.at(1).blur
        (0.7, 1.7)
        """
        share = check_unit(difficulty, "difficulty")

        def between(easy: float, hard: float) -> float:
            return round(easy + share * (hard - easy), 6)

        return cls(
            # Noise goes with the logarithm: each step costs the same factor.
            photons=round(EASY.photons * (HARD.photons / EASY.photons) ** share, 6),
            background=between(EASY.background, HARD.background),
            variation=between(EASY.variation, HARD.variation),
            texture=between(EASY.texture, HARD.texture),
            blur=between(EASY.blur, HARD.blur),
            clustering=between(EASY.clustering, HARD.clustering),
            overlap=between(EASY.overlap, HARD.overlap),
            haze=between(EASY.haze, HARD.haze),
            gradient=between(EASY.gradient, HARD.gradient),
        )


EASY = Conditions(
    photons=400,
    background=0.06,
    variation=0.10,
    texture=0.15,
    blur=0.7,
    clustering=0.0,
    overlap=0.0,
    haze=0.0,
    gradient=0.1,
)
HARD = Conditions(
    photons=12,
    background=0.40,
    variation=0.50,
    texture=0.35,
    blur=1.7,
    clustering=0.8,
    overlap=0.2,
    haze=0.7,
    gradient=0.9,
)


def cells(
    count: int = 500,
    *,
    size: int | Sequence[int] = 64,
    seed: int = 0,
    difficulty: float = 0.5,
    cells_per_image: int | Sequence[int] | None = None,
    radius: float | None = None,
    conditions: Conditions | None = None,
) -> Dataset:
    """Simulate fluorescence micrographs of cells, with exact masks and instances.

    Use it where an experiment needs more images than anyone would label, or one
    nuisance changed and the rest kept.

    Parameters
    ----------
    count : int, optional
        Images over all splits: 70 % train, 15 % val, 15 % test, at least one each.
    size : int or (int, int), optional
        Side of the square images in pixels, or (height, width); at least 16. A
        larger image shows a wider field with more cells, not larger cells.
    seed : int, optional
        Same seed, same images. Image number i of a split does not depend on
        `count`.
    difficulty : float, optional
        From 0 to 1; moves the `Conditions` as the table shows.
    cells_per_image : int or (int, int), optional
        Number of cells, or (fewest, most). By default what covers 12 to 40 % of
        the image. Cells that find no free place are left out.
    radius : float, optional
        Mean radius of a cell in pixels: the resolution of the microscope. By
        default 6.5, or a quarter of the shorter side where that is less.
    conditions : Conditions, optional
        Takes the place of `difficulty`.

    Returns
    -------
    Dataset
        Gray images, classes background and cell, with instances.

    Raises
    ------
    ValueError
        When an argument is out of range.

    Notes
    -----
    Each step and its physics:

    1. *Shape.* The radius of a cell at angle t is a random Fourier series,
       ``r (1 + sum_k a_k cos(k t + p_k))``, k from 2 to 6. (SIMCEP, eq. 1, moves
       the corners of a polygon at random and draws a spline through them; the
       series gives as smooth an outline in closed form.)
    2. *Population.* A cell grows against an earlier one with probability
       `clustering`, reaching into it by `overlap`; otherwise it takes a free place
       (SIMCEP, section on clustering). Where two overlap, the light of both adds
       up, and the labels show the later one.
    3. *Texture.* A cell is thicker in its middle, so brighter; on top of that come
       two octaves of smooth noise (SIMCEP uses Perlin noise).
    4. *Haze.* Light of cells out of focus adds wide Gaussian blobs; the
       background adds a constant.
    5. *Illumination* falls off quadratically from a random center (SIMCEP,
       "uneven illumination").
    6. *Optics.* The point spread function is a Gaussian of width `blur`.
    7. *Camera.* Photons arrive at random: Poisson noise. Read-out adds Gaussian
       noise of 1.5 photoelectrons. Counts are divided by the camera's full scale
       and clipped to [0, 1].

    ============  ======  ======  ======
    difficulty    0       0.5     1
    ============  ======  ======  ======
    photons       400     69      12
    background    0.06    0.23    0.40
    variation     0.10    0.30    0.50
    texture       0.15    0.25    0.35
    blur          0.7     1.2     1.7
    clustering    0.0     0.4     0.8
    overlap       0.0     0.1     0.2
    haze          0.0     0.35    0.7
    gradient      0.1     0.5     0.9
    ============  ======  ======  ======

    Source: A. Lehmussola, P. Ruusuvuori, J. Selinummi, H. Huttunen, O. Yli-Harja,
    "Computational framework for simulating fluorescence microscope images with
    cell populations", IEEE Transactions on Medical Imaging 26(7):1010-1016, 2007.
    The Gaussian for the point spread function: B. Zhang, J. Zerubia,
    J.-C. Olivo-Marin, Applied Optics 46(10):1819-1829, 2007.

    Examples
    --------
    >>> data = cells(20, size=32)
    >>> data.train
    Split(14 images of 32 × 32 × 1, 2 classes)
    >>> same = (data.train.masks == 1) == (data.train.instances > 0)
    >>> bool(same.all())
    True
    """
    counts = split_sizes(count)
    height, width = check_size(size, SMALLEST)
    seed = check_seed(seed)
    largest = min(height, width) / 4
    radius = min(RADIUS, largest) if radius is None else radius
    radius = check_positive(radius, "radius")
    if not 2 <= radius <= largest:
        raise ValueError(
            f"radius is {radius}; for images of {height} × {width} pixels it must lie "
            f"between 2 and {largest:g}, a quarter of the shorter side."
        )
    difficulty = check_unit(difficulty, "difficulty")
    if conditions is None:
        conditions = Conditions.at(difficulty)
    if cells_per_image is None:
        room = height * width / (np.pi * radius**2)  # cells that would cover it all
        number = max(1, round(0.12 * room)), max(2, round(0.40 * room))
    else:
        number = check_range(cells_per_image, "cells_per_image")

    batch = max(1, CHUNK // (height * width))
    splits = []
    for split, images_in_split in enumerate(counts):
        images = np.empty((images_in_split, height, width, 1), np.float32)
        instances = np.empty((images_in_split, height, width), np.int32)
        for start in range(0, images_in_split, batch):
            part = slice(start, min(start + batch, images_in_split))
            rngs = [stream(seed, split, i) for i in range(part.start, part.stop)]
            images[part, ..., 0], instances[part] = _render(
                rngs, height, width, number, radius, conditions
            )
        masks = (instances > 0).astype(np.int32)
        splits.append(Split(images, masks, CLASSES, instances=instances))
    train, val, test = splits
    return Dataset(
        "cells",
        train,
        val,
        test,
        title="Simulated fluorescence micrographs of cells",
        licence="CC0 1.0 (generated)",
        source="seglab.data.cells, after Lehmussola et al. 2007",
        attribution="none required",
        notes="Masks are the shapes as drawn, before blur and noise: exact.",
    )


@dataclass
class _Population:
    """The cells of one image, as arrays with one entry per cell (n,)."""

    row: NDArray[np.float64]
    column: NDArray[np.float64]
    radius: NDArray[np.float64]
    waves: NDArray[np.complex128]  # (n, harmonics): amplitude and phase
    light: NDArray[np.float64]


def _render(
    rngs: list[np.random.Generator],
    height: int,
    width: int,
    number: tuple[int, int],
    radius: float,
    conditions: Conditions,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Take one micrograph with each random stream: images, instances (B, H, W)."""
    # The field is drawn with a margin, so that light from just outside comes in.
    margin = int(np.ceil(4 * conditions.blur)) + 1
    frame = height + 2 * margin, width + 2 * margin
    populations = [
        _populate(rng, height, width, number, radius, conditions) for rng in rngs
    ]
    thickness, instances = _draw(populations, frame, margin)  # (B, *frame) each
    shape = thickness.shape
    texture = np.zeros(shape, np.float32)
    for octave, weight in ((radius / 3, 0.8), (radius / 8, 0.6)):
        noise = np.stack([rng.standard_normal(frame, np.float32) for rng in rngs])
        # Smoothing white noise divides its deviation by 2 sqrt(pi) sigma.
        scale = weight * 2 * np.sqrt(np.pi) * octave
        texture += scale * gaussian_filter(noise, (0, octave, octave), truncate=3)
    light = thickness * np.clip(1 + conditions.texture * texture, 0, None)
    light += conditions.background
    light += conditions.haze * _haze(rngs, height, width, margin, radius)
    light *= _illumination(rngs, height, width, margin, conditions.gradient)
    light = gaussian_filter(light, (0, conditions.blur, conditions.blur))

    inside = slice(margin, margin + height), slice(margin, margin + width)
    light, instances = light[:, *inside], instances[:, *inside]  # (B, H, W)
    electrons = np.stack(
        [
            rng.poisson(conditions.photons * scene)
            + READ_NOISE * rng.standard_normal(scene.shape, np.float32)
            for rng, scene in zip(rngs, light, strict=True)
        ]
    )
    images = np.clip(electrons / (FULL_SCALE * conditions.photons), 0, 1)
    return images.astype(np.float32), _renumber(instances)


def _populate(
    rng: np.random.Generator,
    height: int,
    width: int,
    number: tuple[int, int],
    radius: float,
    conditions: Conditions,
) -> _Population:
    """Choose how many cells there are, what they look like and where they lie."""
    n = int(rng.integers(number[0], number[1], endpoint=True))
    # A spread of 18 % in radius; the extremes are cut, so that none is a speck.
    radii = radius * np.exp(0.18 * rng.standard_normal(n).clip(-2, 2))  # (n,)
    waves = rng.standard_normal((n, len(HARMONICS))).clip(-1.5, 1.5) * WAVE_AMPLITUDES
    phases = np.exp(2j * np.pi * rng.random((n, len(HARMONICS))))
    light = np.exp(conditions.variation * rng.standard_normal(n).clip(-2, 2))
    clustered = rng.random(n) < conditions.clustering

    tries = 24
    extent = np.array([height, width])
    places = np.full((n, 2), np.nan)
    gap = 1.0 - conditions.overlap
    for i in range(n):
        # Candidate centers, (tries, 2): anywhere, or on a ring around a neighbor.
        candidates = rng.random((tries, 2)) * extent
        placed = np.flatnonzero(~np.isnan(places[:i, 0]))
        if clustered[i] and len(placed):
            neighbor = rng.choice(placed, tries)
            angle = 2 * np.pi * rng.random(tries)
            distance = gap * (radii[neighbor] + radii[i])
            candidates = places[neighbor] + distance[:, None] * np.stack(
                [np.sin(angle), np.cos(angle)], axis=1
            )
            apart = gap - 1e-9
        else:
            apart = 1.25  # room for the waves of both outlines
        free = ((candidates >= 0) & (candidates < extent)).all(axis=1)  # (tries,)
        offsets = candidates[:, None] - places[None, placed]  # (tries, placed, 2)
        near = np.square(offsets).sum(axis=2) < np.square(
            apart * (radii[placed] + radii[i])
        )
        free &= ~near.any(axis=1)
        if free.any():
            places[i] = candidates[free.argmax()]
    kept = ~np.isnan(places[:, 0])
    return _Population(
        row=places[kept, 0],
        column=places[kept, 1],
        radius=radii[kept],
        waves=(waves * phases)[kept],
        light=light[kept],
    )


def _draw(
    populations: list[_Population], frame: tuple[int, int], margin: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Draw all cells of all images at once: light and instances (B, *frame)."""
    batch = len(populations)
    rows, columns, radii, light = (
        np.concatenate([getattr(p, name) for p in populations])
        for name in ("row", "column", "radius", "light")
    )  # (n,) each, n cells in all the images
    waves = np.concatenate([p.waves for p in populations])  # (n, harmonics)
    sizes = [len(p.row) for p in populations]
    image = np.repeat(np.arange(batch), sizes)  # (n,) which image a cell is in
    numbers = np.concatenate([np.arange(1, size + 1) for size in sizes])  # (n,)

    reach = 1 + np.abs(waves).sum(axis=1).max(initial=0)  # of the largest radius
    half = int(np.ceil(reach * radii.max(initial=1))) + 1
    window = np.arange(-half, half + 1)  # (P,), P = 2 half + 1 pixels
    # Windows may reach over the frame; a wider canvas spares the case analysis.
    canvas_shape = (batch, frame[0] + 2 * half, frame[1] + 2 * half)
    top = np.floor(rows).astype(int)
    left = np.floor(columns).astype(int)
    # Pixel centers lie at half-integers: offset from each cell's center, (n, P, P).
    dy = (window[None] + 0.5 - (rows - top)[:, None]).astype(np.float32)[:, :, None]
    dx = (window[None] + 0.5 - (columns - left)[:, None]).astype(np.float32)[:, None, :]
    z = dx + 1j * dy
    distance = np.abs(z)
    direction = z / np.maximum(distance, 1e-6)
    edge = np.ones_like(distance)
    power = direction
    for k in range(len(HARMONICS)):
        power = power * direction  # direction ** HARMONICS[k]
        edge += (waves[:, k, None, None].astype(np.complex64) * power).real
    height2 = 1 - np.square(distance / (edge * radii[:, None, None]))  # (n, P, P)
    covered = height2 >= 0
    # A flat cell: half its light from a slab, half from the dome above it.
    lit = light[:, None, None] * (0.5 + 0.5 * np.sqrt(np.maximum(height2, 0)))

    cell, y, x = np.nonzero(covered)
    where = np.ravel_multi_index(
        (
            image[cell],
            y + (top + margin)[cell],  # y - half in the frame, + half in the canvas
            x + (left + margin)[cell],
        ),
        canvas_shape,
    )
    size = int(np.prod(canvas_shape))
    canvas = np.bincount(where, weights=lit[covered], minlength=size)
    instances = np.zeros(size, np.int32)
    instances[where] = numbers[cell]  # the later of two overlapping cells wins
    inner = slice(half, half + frame[0]), slice(half, half + frame[1])
    return (
        canvas.reshape(canvas_shape)[:, *inner].astype(np.float32),
        instances.reshape(canvas_shape)[:, *inner],
    )


def _haze(
    rngs: list[np.random.Generator], height: int, width: int, margin: int, radius: float
) -> NDArray[np.float32]:
    """Light of cells out of focus: wide Gaussian blobs, (B, *frame)."""
    blobs = max(2, round(0.1 * height * width / (np.pi * radius**2)))
    rows, columns, widths, heights = np.stack(
        [rng.random((4, blobs), np.float32) for rng in rngs], axis=1
    )  # (B, blobs) each, in [0, 1)
    sigma = (radius * (1.0 + 1.5 * widths))[..., None]  # (B, blobs, 1)

    def profile(centers: NDArray[np.float32], extent: int) -> NDArray[np.float32]:
        position = np.arange(-margin, extent + margin, dtype=np.float32) + 0.5
        offset = position - extent * centers[..., None]  # (B, blobs, extent)
        shape: NDArray[np.float32] = np.exp(-0.5 * np.square(offset / sigma))
        return shape

    # A Gaussian is a product of its profiles along both axes.
    light: NDArray[np.float32] = np.einsum(
        "bk,bky,bkx->byx", heights, profile(rows, height), profile(columns, width)
    )
    return light


def _illumination(
    rngs: list[np.random.Generator],
    height: int,
    width: int,
    margin: int,
    gradient: float,
) -> NDArray[np.float32]:
    """Light that falls off quadratically from a random center, (B, *frame)."""
    centers = np.stack([rng.random(2, np.float32) for rng in rngs])  # (B, 2)
    y = (np.arange(-margin, height + margin, dtype=np.float32) + 0.5) / height
    x = (np.arange(-margin, width + margin, dtype=np.float32) + 0.5) / width
    away = 0.5 * (
        np.square(y[None, :, None] - centers[:, 0, None, None])
        + np.square(x[None, None, :] - centers[:, 1, None, None])
    )  # (B, *frame), 1 at the farthest possible corner of the image
    return np.clip(1 - gradient * away, 0, None)


def _renumber(instances: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give the cells seen in each image the numbers 1, 2, ... without gaps."""
    most = int(instances.max(initial=0)) + 1
    batch = len(instances)
    keys = instances + most * np.arange(batch)[:, None, None]  # (B, H, W)
    seen = np.bincount(keys.ravel(), minlength=batch * most).reshape(batch, most) > 0
    seen[:, 0] = False
    table = np.cumsum(seen, axis=1).astype(np.int32)  # (B, most)
    renumbered: NDArray[np.int32] = table.ravel()[keys]
    return renumbered
