"""The probability of each class at each pixel of an image of any size: `predict`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from seglab.inference.network import Network, Predictor, Sizes
from seglab.inference.symmetry import VIEWS, View, average_views
from seglab.inference.tiling import mirror, tile_shares, tile_starts
from seglab.progress import Display, Mode, show


def predict(
    model: Predictor,
    image: NDArray[Any],
    *,
    tile: int | tuple[int, int] | None = None,
    overlap: float = 0.5,
    blend: str = "gaussian",
    tta: str | None = None,
    batch_size: int = 4,
    from_logits: bool = True,
    out: str | Path | None = None,
    progress: Mode = True,
) -> NDArray[np.float32]:
    """Give the probability of each class at each pixel of one image of any size.

    Without `tile` the image goes through the network in one piece: the result to
    prefer as long as memory allows, since the network sees each pixel's surroundings
    whole. With `tile` it is cut into tiles that overlap, and memory no longer grows
    with what the network needs for the image, but for a batch of tiles.

    Parameters
    ----------
    model : keras.Model or callable
        From images, float32 (N, H, W, C), to logits, (N, H', W', classes), smaller
        than the image by the same border on all sides, if at all. What sizes it takes
        is found out, and the image extended by its reflection to the next that fits.
        A callable, or a Keras model that is subclassed, is given the image or tile as
        it is, and must keep its height and width.
    image : ndarray, shape (H, W, C)
        Floats as in training, or uint8, which is divided by 255. May be a
        memory-mapped file: tiles are read as they are needed.
    tile : int or (int, int), optional
        Height and width of what the network is given at a time: a size that it takes.
        Default: the whole image, or what the network was built for.
    overlap : float, default 0.5
        Share of a tile that the next one covers too, at least; from 0 to below 1.
        Not used for a network whose maps lack a border: its tiles overlap by just
        that border, and each of its labels has all of its surroundings.
    blend : {"gaussian", "constant"}
        How probabilities are averaged where tiles overlap. "gaussian": those in the
        middle of a tile count more, since near its border a network has seen less.
    tta : {"horizontal", "flips", "dihedral"}, optional
        Test-time augmentation: average over views of each tile, which takes 2, 4 or 8
        times as long. "horizontal": as it is and mirrored left and right. "flips":
        along both axes. "dihedral": also turned by 90, 180 and 270 degrees. Choose
        what training was augmented with, and what is true of the data.
    batch_size : int, default 4
        Tiles that go through the network at a time.
    from_logits : bool, default True
        Take the softmax of what the model gives. False: average it as it is, be it
        probabilities or another map.
    out : path, optional
        File for the result, in NumPy's format (.npy). It is written from top to
        bottom, so that the result never is in memory, and appears when it is
        complete. With `tile`, for images of any size.
    progress : bool or "lines", default True
        See `seglab.progress.show`; nothing is shown of a single tile.

    Returns
    -------
    ndarray of float32, shape (H, W, classes)
        With `out`, the file, opened as a memory map for reading.

    Raises
    ------
    ValueError
        When the image is none that the model takes, or an argument is out of range.

    Notes
    -----
    Tiles are spaced evenly, on the grid of the network's total stride
    (`seglab.inference.tiling.tile_starts`). Probabilities are averaged, not logits,
    of which one confident tile could outvote the others without bound, nor labels.

    Source
    ------
    Ronneberger, Fischer and Brox (2015), Figure 2: the overlap-tile strategy, for
    networks without padding. Isensee et al., "nnU-Net: a self-configuring method for
    deep learning-based biomedical image segmentation", Nature Methods 18 (2021):
    half-overlapping tiles with Gaussian weights, and mirroring at test time.

    Examples
    --------
    >>> from seglab import device, models
    >>> device.set_seed(0)
    >>> model = models.unet((None, None, 1), num_classes=2, width=2, depth=2)
    >>> image = np.random.default_rng(0).random((70, 101, 1), np.float32)
    >>> whole = predict(model, image)
    >>> tiled = predict(model, image, tile=64, tta="flips", progress=False)
    >>> whole.shape == tiled.shape == (70, 101, 2)
    True
    """
    _check(image, overlap, blend, tta, batch_size)
    batch_size = int(batch_size)
    network = Network(model, image.shape[-1], from_logits)
    sizes = (network.rows, network.columns)
    tiles = _tile_sizes(tile, image.shape[:2], sizes)
    is_fixed = any(axis.only is not None for axis in sizes)
    if tta == "dihedral" and tiles[0] != tiles[1] and is_fixed:
        raise ValueError(
            f"the model takes {tiles[0]} x {tiles[1]} pixels alone, so they cannot be "
            'turned by 90 degrees. Use tta="flips".'
        )
    rows, columns = (
        _Axis(*arguments, overlap, blend)
        for arguments in zip(image.shape[:2], tiles, sizes, strict=True)
    )
    single = len(rows.starts) == len(columns.starts) == 1
    with show(False if single else progress) as display:
        bands = _bands(network, image, rows, columns, VIEWS[tta], batch_size, display)
        if out is not None:
            return _write(Path(out), image.shape[:2], bands)
        return _join(image.shape[:2], bands)


class _Axis:
    """How the tiles lie along one axis.

    Parameters
    ----------
    size, tile : int
        Pixels of the image, and of what the network is given.
    sizes : Sizes
        Of the network.
    overlap, blend : float, str
        See `predict`.
    """

    def __init__(
        self, size: int, tile: int, sizes: Sizes, overlap: float, blend: str
    ) -> None:
        self.size, self.tile, self.border = size, tile, sizes.border
        self.map = tile - 2 * sizes.border  # pixels that a tile labels
        # A map smaller than the stride cannot lie on its grid without a gap.
        stride = sizes.stride if sizes.stride <= self.map else 1
        if sizes.border:
            overlap = 0
        self.starts = tile_starts(size, self.map, overlap, stride)
        self.shares = tile_shares(self.starts, self.map, blend)

    def pixels(self, number: int) -> NDArray[np.intp]:
        """Give the pixels of the image that the network needs for a tile."""
        first = self.starts[number] - self.border
        return mirror(first, first + self.tile, self.size)


def _bands(
    network: Network,
    image: NDArray[Any],
    rows: _Axis,
    columns: _Axis,
    views: tuple[View, ...],
    batch_size: int,
    display: Display,
) -> Iterator[NDArray[np.float32]]:
    """Give the probabilities from top to bottom, as soon as no tile adds to them.

    Yields
    ------
    ndarray of float32, shape (h, W, K)
        The next rows of the image. Together they are H.
    """
    H, W = image.shape[:2]
    band: NDArray[np.float32] | None = None  # (K, rows of a tile, W): sums so far
    top = 0  # the band's first row in the image
    for i, j, maps in _run_tiles(
        network, image, rows, columns, views, batch_size, display
    ):
        if band is None:
            band = np.zeros((len(maps), rows.map, W), np.float32)
        if rows.starts[i] > top:
            done = rows.starts[i] - top
            yield _channels_last(band[:, :done])
            band[:, : rows.map - done] = band[:, done:]
            band[:, rows.map - done :] = 0
            top = rows.starts[i]
        left = columns.starts[j]
        width = min(columns.map, W - left)
        maps *= rows.shares[i][:, None] * columns.shares[j]
        band[:, :, left : left + width] += maps[:, :, :width]
    assert band is not None
    yield _channels_last(band[:, : H - top])


def _run_tiles(
    network: Network,
    image: NDArray[Any],
    rows: _Axis,
    columns: _Axis,
    views: tuple[View, ...],
    batch_size: int,
    display: Display,
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Run the network on all tiles, row by row.

    Yields
    ------
    i, j : int
        Row and column of the tile.
    maps : ndarray of float32, shape (K, rows.map, columns.map)
        Its probabilities.
    """
    places = list(product(range(len(rows.starts)), range(len(columns.starts))))
    batch_size = min(batch_size, len(places))
    batch = np.empty((batch_size, rows.tile, columns.tile, image.shape[2]), np.float32)
    started = time.perf_counter()
    for first in range(0, len(places), batch_size):
        chosen = places[first : first + batch_size]
        # The last batch keeps what is left of the one before: all have one shape.
        for place, (i, j) in enumerate(chosen):
            batch[place] = _cut(image, rows.pixels(i), columns.pixels(j))
            if image.dtype == np.uint8:
                batch[place] /= 255
        maps = average_views(network.run, batch, views)  # (K, N, h, w)
        for place, (i, j) in enumerate(chosen):
            yield i, j, maps[:, place]
        done = first + len(chosen)
        display.update(done / len(places), f"tile {done} of {len(places)}")
    seconds = time.perf_counter() - started
    display.step(1, f"{len(places)} tiles in {seconds:.0f} s")


def _cut(
    image: NDArray[Any], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[Any]:
    """Take some rows and columns of an image."""
    # Their hull first: of a memory-mapped file no more than that is read.
    top, left = rows.min(), columns.min()
    window = image[top : rows.max() + 1, left : columns.max() + 1]
    if (np.diff(rows) != 1).any():  # mirrored: taken twice, or in reverse
        window = np.take(window, rows - top, axis=0)
    if (np.diff(columns) != 1).any():
        window = np.take(window, columns - left, axis=1)
    return window


def _channels_last(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Copy (K, h, w) to (h, w, K)."""
    return np.moveaxis(maps, 0, -1).copy()


def _join(
    size: tuple[int, ...], bands: Iterator[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Put bands below each other; a single one is the result, and is not copied."""
    result = next(bands)
    done = len(result)
    if done < size[0]:
        first, result = result, np.empty((*size, result.shape[-1]), np.float32)
        result[:done] = first
    for band in bands:
        result[done : done + len(band)] = band
        done += len(band)
    return result


def _write(
    path: Path, size: tuple[int, ...], bands: Iterator[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Write bands to a .npy file, and open it as a memory map.

    Written as a file and not through a map, whose pages the system would count as
    this program's memory.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            for number, band in enumerate(bands):
                if number == 0:
                    _write_header(file, (*size, band.shape[-1]))
                file.write(band.data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    result: NDArray[np.float32] = np.load(path, mmap_mode="r")
    return result


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    description = np.lib.format.dtype_to_descr(np.dtype(np.float32))
    np.lib.format.write_array_header_1_0(
        file, {"descr": description, "fortran_order": False, "shape": shape}
    )


def _tile_sizes(
    tile: int | tuple[int, int] | None,
    size: tuple[int, ...],
    sizes: tuple[Sizes, Sizes],
) -> tuple[int, int]:
    """Choose height and width of what the network is given at a time."""
    wanted = tile if isinstance(tile, tuple) else (tile, tile)
    if len(wanted) != 2:
        raise ValueError(f"tile is {tile!r}; it must be one size, or (height, width).")
    chosen = []
    for asked, pixels, axis, name in zip(
        wanted, size, sizes, ("height", "width"), strict=True
    ):
        whole = axis.fit(pixels)
        if asked is None:
            chosen.append(whole)
            continue
        if isinstance(asked, bool) or not hasattr(asked, "__index__") or asked < 1:
            raise ValueError(f"tile is {tile!r}; it must be integers, 1 or more.")
        if not axis.takes(asked):
            raise ValueError(
                f"tile is {tile!r}, and the model takes no {name} of {asked} pixels"
                + (
                    f": it was built for {axis.only}."
                    if axis.only is not None
                    else f". Of those near, it takes {_near(axis, asked)}."
                )
            )
        # A tile that is larger than the image would be mirror images for the most part.
        chosen.append(min(asked, whole))
    return chosen[0], chosen[1]


def _near(axis: Sizes, size: int) -> str:
    """Name the sizes around one that does not fit."""
    above = axis.fit(max(size - 2 * axis.border, 1))
    below = above - axis.multiple
    return f"{below} and {above}" if axis.takes(below) else f"{above}"


def _check(
    image: Any, overlap: float, blend: str, tta: str | None, batch_size: int
) -> None:
    if not isinstance(image, np.ndarray):
        raise ValueError(
            f"image is a {type(image).__name__}; it must be a NumPy array (H, W, C)."
        )
    if image.ndim != 3 or 0 in image.shape:
        hint = " For a gray image, image[..., None]." if image.ndim == 2 else ""
        raise ValueError(
            f"image has shape {image.shape}; it must be one image, (H, W, C), of at "
            f"least one pixel.{hint}"
        )
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(
            f"image is of {image.dtype}; it must be of float, with values as in "
            "training, or uint8 from 0 to 255."
        )
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap is {overlap!r}; it must be at least 0 and below 1.")
    if blend not in ("gaussian", "constant"):
        raise ValueError(f'blend is {blend!r}; it must be "gaussian" or "constant".')
    if tta not in VIEWS:
        known = ", ".join(f'"{name}"' for name in VIEWS if name)
        raise ValueError(f"tta is {tta!r}; it must be None or one of {known}.")
    if batch_size != int(batch_size) or batch_size < 1:
        raise ValueError(
            f"batch_size is {batch_size!r}; it must be an integer, 1 or more."
        )
