"""Change images and their masks together: augmentation, resizing, contrast.

A mask is not a picture: its numbers are names. Whatever moves pixels therefore
moves an image by interpolating and its mask by picking the nearest label, with
the same geometry, and whatever changes brightness leaves the mask alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seglab.data._simulation import check_size

Flip = bool | Literal["horizontal", "vertical"]


@dataclass(frozen=True)
class Augment:
    """Random variations of a batch, drawn anew for each image.

    Augmentation tells a network which changes do not matter. Choose those that
    are true of the data: a micrograph has no top, so it may be flipped and
    turned; a road does, so ``flip="horizontal"``; a mirrored digit is another
    digit or none, so ``flip=False``.

    Each image gets one affine map, and its mask the same one: the image is
    interpolated linearly, the mask takes the nearest label, so that no label is
    invented. Pixels that come from outside the image are its reflection (the
    edge is not repeated), in image and mask alike, so that no border label is
    needed. Amounts are limits of a range; 0 turns a change off.

    Parameters
    ----------
    flip : bool or "horizontal" or "vertical"
        Mirror along an axis, with probability one half. True stands for both
        axes, each on its own.
    quarter_turns : bool
        Turn by 0, 90, 180 or 270 degrees, each equally often. Images that are
        not square are not turned.
    rotate : float
        Largest angle, in degrees, to either side.
    scale : float
        Largest zoom: the factor lies between ``1 / (1 + scale)`` and
        ``1 + scale``, and small is as likely as large.
    shift : float
        Largest shift along each axis, as a fraction of that side.
    elastic : float
        Standard deviation of a smooth displacement, as a fraction of the shorter
        side. It is drawn on a grid of 3 x 3 and interpolated bicubically, as for
        the U-Net, whose 10 pixels on 512 are about 0.02.
    brightness : float
        Largest value that is added to or taken from all pixels.
    contrast : float
        Largest stretch about the image's mean, ``1 / (1 + contrast)`` to
        ``1 + contrast``.
    noise : float
        Largest standard deviation of Gaussian noise, independent in each pixel
        and channel.

    Raises
    ------
    ValueError
        When an amount is negative or not finite, or `flip` is not known.

    Notes
    -----
    With `rotate`, `scale`, `shift` and `elastic` at 0 nothing is interpolated:
    pixels move and keep their values exactly. `Augment.dihedral` is that case.

    Source
    ------
    O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional networks for
    biomedical image segmentation", MICCAI 2015, section 3.1 (elastic
    deformation). P. Y. Simard, D. Steinkraus, J. C. Platt, "Best practices for
    convolutional neural networks applied to visual document analysis", ICDAR
    2003 (affine and elastic distortions).

    Examples
    --------
    >>> import numpy as np
    >>> images = np.zeros((2, 8, 8, 1), np.float32)
    >>> masks = np.eye(8, dtype=np.int32)[None].repeat(2, axis=0)
    >>> augment = Augment(rotate=20, noise=0.05)
    >>> new_images, new_masks = augment(images, masks, np.random.default_rng(0))
    >>> new_images.shape, new_masks.shape, sorted(set(new_masks.flat))
    ((2, 8, 8, 1), (2, 8, 8), [np.int32(0), np.int32(1)])
    """

    flip: Flip = True
    quarter_turns: bool = False
    rotate: float = 15.0
    scale: float = 0.1
    shift: float = 0.05
    elastic: float = 0.0
    brightness: float = 0.1
    contrast: float = 0.1
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.flip not in (True, False, "horizontal", "vertical"):
            raise ValueError(
                f"flip is {self.flip!r}; it must be True (both axes), False, "
                "'horizontal' or 'vertical'."
            )
        for field in fields(self):
            if field.name in ("flip", "quarter_turns"):
                continue
            value = getattr(self, field.name)
            if isinstance(value, bool) or not (np.isfinite(value) and value >= 0):
                raise ValueError(
                    f"{field.name} is {value!r}; it must be a finite number, at "
                    "least 0 (0 turns it off)."
                )

    @classmethod
    def dihedral(cls) -> Augment:
        """Flips and quarter turns alone: eight views of a square, all exact.

        Nothing is interpolated, so image values and the areas of objects stay
        as they are. Of an image that is not square the four flips remain.

        Examples
        --------
        >>> import numpy as np
        >>> images = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1) / 3
        >>> masks = np.arange(4).reshape(1, 2, 2)
        >>> augment = Augment.dihedral()
        >>> x, y = augment(images, masks, np.random.default_rng(0))
        >>> bool((x[..., 0] * 3 == y).all())
        True
        """
        return cls(
            flip=True,
            quarter_turns=True,
            rotate=0,
            scale=0,
            shift=0,
            brightness=0,
            contrast=0,
        )

    def __call__(
        self,
        images: NDArray[np.floating[Any]],
        masks: NDArray[np.integer[Any]],
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.floating[Any]], NDArray[np.integer[Any]]]:
        """Vary a batch.

        Parameters
        ----------
        images : ndarray of float, shape (N, H, W, C)
            Values in [0, 1]; the result is clipped to that range.
        masks : ndarray of int, shape (N, H, W)
            Labels, with or without an ignore label.
        rng : numpy.random.Generator
            Source of chance: the same state gives the same result.

        Returns
        -------
        images, masks : ndarray
            New arrays of the same shapes and dtypes.

        Raises
        ------
        TypeError
            When `rng` is not a Generator or a dtype is not as above.
        ValueError
            When the shapes do not belong together.
        """
        _check_batch(images, masks, rng)
        # Every setting draws the same numbers in the same order, so that two
        # settings with one seed differ only in what the settings change.
        chance = rng.uniform(-1, 1, (len(images), 9)).astype(np.float32)
        grid = rng.standard_normal((len(images), 2, 3, 3), dtype=np.float32)
        if self.rotate or self.scale or self.shift or self.elastic:
            images, masks = self._warp(images, masks, chance, grid)
        else:
            images, masks = self._move(images, masks, chance)
        return self._shade(images, chance, rng), masks

    def _symmetry(
        self, chance: NDArray[np.float32], square: bool
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Decide for each image: flip rows, flip columns, swap rows and columns.

        The swap comes first. The eight triples are the eight symmetries of a
        square; a turn by 90 degrees is a swap and one flip.
        """
        both = self.flip is True
        rows = (chance[:, 0] > 0) & (both or self.flip == "vertical")  # (N,)
        columns = (chance[:, 1] > 0) & (both or self.flip == "horizontal")
        swap = np.zeros(len(chance), np.bool_)
        if self.quarter_turns and square:
            turns = np.floor((chance[:, 2] + 1) * 2).astype(np.int64) % 4  # (N,)
            swap = turns % 2 == 1
            # np.rot90(a, 1) is a.T[::-1]; rot90(a, 2) flips both; rot90(a, 3)
            # is a.T[:, ::-1].
            rows ^= (turns == 1) | (turns == 2)
            columns ^= (turns == 2) | (turns == 3)
        return rows, columns, swap

    def _move(
        self,
        images: NDArray[np.floating[Any]],
        masks: NDArray[np.integer[Any]],
        chance: NDArray[np.float32],
    ) -> tuple[NDArray[np.floating[Any]], NDArray[np.integer[Any]]]:
        """Flip and turn by moving pixels, without interpolation."""
        square = masks.shape[1] == masks.shape[2]
        images, masks = images.copy(), masks.copy()
        for i, triple in enumerate(zip(*self._symmetry(chance, square), strict=True)):
            rows, columns, swap = triple
            for array in (images, masks):
                view = array[i].copy()  # (H, W, C) or (H, W)
                view = view.swapaxes(0, 1) if swap else view
                view = view[::-1] if rows else view
                array[i] = view[:, ::-1] if columns else view
        return images, masks

    def _warp(
        self,
        images: NDArray[np.floating[Any]],
        masks: NDArray[np.integer[Any]],
        chance: NDArray[np.float32],
        grid: NDArray[np.float32],
    ) -> tuple[NDArray[np.floating[Any]], NDArray[np.integer[Any]]]:
        """Look up, for each pixel of the result, where it comes from."""
        height, width = masks.shape[1:]
        rows, columns, swap = self._symmetry(chance, height == width)

        # One matrix per image, from an offset (dy, dx) from the center of the
        # result to one in the source: first the symmetry, then turn and zoom.
        symmetry = np.zeros((len(masks), 2, 2), np.float32)  # (N, 2, 2)
        flip_y, flip_x = np.where(rows, -1, 1), np.where(columns, -1, 1)  # (N,)
        one = np.arange(len(masks))
        symmetry[one, swap.astype(int), 0] = flip_y
        symmetry[one, 1 - swap.astype(int), 1] = flip_x
        angle = np.deg2rad(self.rotate) * chance[:, 3]
        zoom = (1 + self.scale) ** -chance[:, 4]
        cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
        turn = np.stack([cosine, -sine, sine, cosine], axis=-1).reshape(-1, 2, 2)
        matrix = (turn @ symmetry).astype(np.float32)  # (N, 2, 2)

        dy = np.arange(height, dtype=np.float32) - np.float32((height - 1) / 2)
        dx = np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2)
        sides = np.array([height, width], np.float32)
        start = (sides - 1) / 2 + np.float32(self.shift) * sides * chance[:, 5:7]
        # Source coordinate = row part + column part: two small outer sums in
        # place of a full matrix product. Start is (N, 2), y and x are (N, H, W).
        y, x = (
            (matrix[:, axis, 0, None] * dy + start[:, axis, None])[:, :, None]
            + (matrix[:, axis, 1, None] * dx)[:, None, :]
            for axis in (0, 1)
        )
        if self.elastic:
            pixels = np.float32(self.elastic * min(height, width))
            # (H, 3) @ (N, 2, 3, 3) @ (3, W) -> (N, 2, H, W)
            bend = _bicubic(height) @ (pixels * grid) @ _bicubic(width).T
            y, x = y + bend[:, 0], x + bend[:, 1]
        return _sample(images, masks, _reflect(y, height), _reflect(x, width))

    def _shade(
        self,
        images: NDArray[np.floating[Any]],
        chance: NDArray[np.float32],
        rng: np.random.Generator,
    ) -> NDArray[np.floating[Any]]:
        """Change contrast and brightness, add noise, and clip to [0, 1]."""
        if not (self.brightness or self.contrast or self.noise) or not images.size:
            return images
        dtype = images.dtype
        each = (len(images), 1, 1, 1)
        if self.contrast or self.brightness:
            factor = ((1 + self.contrast) ** chance[:, 7]).reshape(each)
            offset = (self.brightness * chance[:, 8]).reshape(each)
            mean = images.mean(axis=(1, 2, 3), keepdims=True)
            # (x - mean) * factor + mean + offset, with one pass over the pixels
            images = images * factor.astype(dtype) + (
                mean * (1 - factor) + offset
            ).astype(dtype)
        if self.noise:
            sigma = (self.noise * rng.random(each, dtype=np.float32)).astype(dtype)
            images = images + sigma * rng.standard_normal(
                images.shape, dtype=np.float32
            ).astype(dtype, copy=False)
        clipped: NDArray[np.floating[Any]] = np.clip(images, 0, 1)
        return clipped


def stretch_contrast(
    images: NDArray[np.floating[Any]], low: float = 1.0, high: float = 99.8
) -> NDArray[np.floating[Any]]:
    """Stretch each image so that its dark and bright ends become 0 and 1.

    Micrographs differ in exposure far more than in content: a network that has
    seen bright ones fails on dim ones. Each image is scaled by percentiles of
    its own pixels (all channels together, so that hues stay), which a few hot
    pixels do not move, and clipped. It needs no statistics of the training set,
    so it leaks nothing from the test set.

    Parameters
    ----------
    images : ndarray of float, shape (N, H, W, C)
        Any range; finite.
    low, high : float
        Percentiles that become 0 and 1, in percent.

    Returns
    -------
    ndarray of the same shape and dtype
        In [0, 1]. An image of one value becomes 0 everywhere.

    Raises
    ------
    ValueError
        When the shape, the values or the percentiles are not as above.
    TypeError
        When `images` is not float.

    Source
    ------
    The percentiles are the ones that StarDist's examples use: U. Schmidt et al.,
    "Cell detection with star-convex polygons", MICCAI 2018.

    Examples
    --------
    >>> import numpy as np
    >>> dim = np.linspace(0.1, 0.2, 100, dtype=np.float32).reshape(1, 10, 10, 1)
    >>> bright = stretch_contrast(dim)
    >>> float(bright.min()), float(bright.max())
    (0.0, 1.0)
    """
    _check_images(images)
    if not 0 <= low < high <= 100:
        raise ValueError(
            f"low is {low!r} and high is {high!r}; they must be percentiles with "
            "0 <= low < high <= 100."
        )
    if not np.isfinite(images).all():
        raise ValueError("images has NaN or infinite values; replace them first.")
    if not images.size:
        return images.copy()
    # Each (N, 1, 1, 1)
    dark, bright = np.percentile(images, [low, high], axis=(1, 2, 3), keepdims=True)
    flat = bright <= dark
    stretched = (images - dark) / np.where(flat, 1, bright - dark)
    # The limit of an ever steeper stretch: what exceeds the only value is 1.
    stretched = np.where(flat, images > bright, stretched)
    clipped: NDArray[np.floating[Any]] = np.clip(stretched, 0, 1)
    return clipped.astype(images.dtype)


def resize_images(
    images: NDArray[np.floating[Any]], size: int | tuple[int, int]
) -> NDArray[np.floating[Any]]:
    """Resize images by interpolating, without aliasing.

    When an image shrinks, each new pixel is a weighted mean over all the old
    ones that it covers (a triangle of twice its width); when it grows, it is
    bilinear. The aspect ratio is not kept: the image fills the new size.

    Parameters
    ----------
    images : ndarray of float, shape (N, H, W, C)
        Finite values.
    size : int or (int, int)
        New side, or new (height, width), in pixels.

    Returns
    -------
    ndarray of the same dtype, shape (N, height, width, C)
        Within the range of the old values.

    Raises
    ------
    ValueError, TypeError
        When the shape, dtype or size is not as above.

    See Also
    --------
    resize_masks : for labels, which must not be interpolated.

    Examples
    --------
    >>> import numpy as np
    >>> stripes = np.tile(np.float32([0, 1]), (1, 4, 2))[..., None]
    >>> resize_images(stripes, 2)[0, 0, :, 0].round(2)
    array([0.43, 0.57], dtype=float32)
    """
    _check_images(images)
    height, width = check_size(size, smallest=1)
    resized = np.empty((len(images), height, width, images.shape[-1]), images.dtype)
    for old, new in zip(images, resized, strict=True):
        for channel in range(images.shape[-1]):
            # Pillow's float mode is float32, of one channel.
            plane = Image.fromarray(
                np.ascontiguousarray(old[..., channel], dtype=np.float32)
            )
            new[..., channel] = plane.resize((width, height), Image.Resampling.BILINEAR)
    # The weights of a mean sum to 1 up to rounding: stay within the old range.
    if images.size:
        np.clip(resized, images.min(), images.max(), out=resized)
    return resized


def resize_masks(
    masks: NDArray[np.integer[Any]], size: int | tuple[int, int]
) -> NDArray[np.integer[Any]]:
    """Resize label masks by taking the nearest label.

    Interpolation would invent labels: halfway between class 0 and class 4 lies
    class 2, which is not there. Each new pixel takes the label under its center,
    so masks and images that are resized together stay aligned.

    Parameters
    ----------
    masks : ndarray of int, shape (N, H, W)
        Labels of classes or of instances.
    size : int or (int, int)
        New side, or new (height, width), in pixels.

    Returns
    -------
    ndarray of the same dtype, shape (N, height, width)
        Holds no label that `masks` does not hold. Thin objects may vanish when
        a mask shrinks.

    Raises
    ------
    ValueError, TypeError
        When the shape, dtype or size is not as above.

    Examples
    --------
    >>> import numpy as np
    >>> resize_masks(np.array([[[0, 4], [9, 0]]]), (2, 6))[0].tolist()
    [[0, 0, 0, 4, 4, 4], [9, 9, 9, 0, 0, 0]]
    """
    masks = np.asarray(masks)
    if masks.ndim != 3 or 0 in masks.shape[1:]:
        raise ValueError(
            f"masks has shape {masks.shape}; it must be (N, H, W). For one mask: "
            "masks[None]."
        )
    if not np.issubdtype(masks.dtype, np.integer):
        raise TypeError(f"masks has dtype {masks.dtype}; labels are integers.")
    height, width = check_size(size, smallest=1)
    old_height, old_width = masks.shape[1:]
    # The center of new pixel i is (i + 1/2) * old / new in old pixels; rounded
    # down, in integers, where no rounding error can move it.
    rows = (2 * np.arange(height) + 1) * old_height // (2 * height)  # (height,)
    columns = (2 * np.arange(width) + 1) * old_width // (2 * width)  # (width,)
    return masks[:, rows[:, None], columns]


def _reflect(position: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Fold positions into [0, length - 1] by mirrors at its two ends."""
    if length == 1:
        return np.zeros_like(position)
    period = np.float32(2 * (length - 1))
    position = np.fmod(np.abs(position), period)
    folded: NDArray[np.float32] = np.minimum(position, period - position)
    return folded


def _sample(
    images: NDArray[np.floating[Any]],
    masks: NDArray[np.integer[Any]],
    y: NDArray[np.float32],
    x: NDArray[np.float32],
) -> tuple[NDArray[np.floating[Any]], NDArray[np.integer[Any]]]:
    """Read images bilinearly and masks at the nearest pixel, at y, x (N, H, W).

    Positions must lie inside. One image at a time, so that the work stays in the
    processor's cache: three times as fast as the whole batch at once, and five
    times as fast as a call of scipy.ndimage for each image.
    """
    _, height, width, channels = images.shape
    half = np.float32(0.5)
    # A side of 1 has no neighbor, and no way to it.
    below, beside = width * (height > 1), int(width > 1)
    new_images, new_masks = np.empty_like(images), np.empty_like(masks)
    for i, (v, u) in enumerate(zip(y, x, strict=True)):  # each (H, W)
        nearest = (v + half).astype(np.intp) * width + (u + half).astype(np.intp)
        new_masks[i] = masks[i].ravel().take(nearest)

        # The upper left of the four pixels around; never in the last row or
        # column, so that its neighbors exist.
        top = np.minimum(v.astype(np.intp), max(height - 2, 0))
        left = np.minimum(u.astype(np.intp), max(width - 2, 0))
        down = v - top.astype(np.float32)  # (H, W), weights in [0, 1]
        right = u - left.astype(np.float32)
        corner = top * width + left
        for channel in range(channels):
            plane = images[i, ..., channel].ravel()  # (H * W,)
            upper = plane.take(corner)
            upper += right * (plane.take(corner + beside) - upper)
            lower = plane.take(corner + below)
            lower += right * (plane.take(corner + (below + beside)) - lower)
            new_images[i, ..., channel] = upper + down * (lower - upper)
    return new_images, new_masks


@cache
def _bicubic(length: int) -> NDArray[np.float32]:
    """Weights (length, 3) that interpolate three values to `length` of them.

    Resizing is linear, so resizing the identity gives its matrix.
    """
    identity = Image.fromarray(np.eye(3, dtype=np.float32))
    weights = np.array(identity.resize((3, length), Image.Resampling.BICUBIC))
    weights.flags.writeable = False  # shared by all callers
    return weights


def _check_images(images: NDArray[np.floating[Any]]) -> None:
    if not isinstance(images, np.ndarray) or not np.issubdtype(
        images.dtype, np.floating
    ):
        kind = getattr(images, "dtype", type(images).__name__)
        raise TypeError(
            f"images is {kind}; it must be a float array. For bytes: "
            "images.astype('float32') / 255."
        )
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise ValueError(
            f"images has shape {images.shape}; it must be (N, H, W, C). For one "
            "image: images[None]."
        )


def _check_batch(
    images: NDArray[np.floating[Any]],
    masks: NDArray[np.integer[Any]],
    rng: np.random.Generator,
) -> None:
    _check_images(images)
    if not isinstance(masks, np.ndarray) or not np.issubdtype(masks.dtype, np.integer):
        kind = getattr(masks, "dtype", type(masks).__name__)
        raise TypeError(f"masks is {kind}; it must be an array of integer labels.")
    if masks.shape != images.shape[:3]:
        raise ValueError(
            f"masks has shape {masks.shape}; with images of shape {images.shape} it "
            f"must be {images.shape[:3]}."
        )
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"rng is {type(rng).__name__}; it must be a numpy Generator: "
            "np.random.default_rng(seed)."
        )
