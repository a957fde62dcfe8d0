"""From labels to colors: RGB arrays that can be shown, saved, or drawn on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seglab.plots.colors import CLASS_COLORS, IGNORE_COLOR, class_colors, hex_to_rgb


def colorize(
    mask: ArrayLike,
    *,
    num_classes: int | None = None,
    ignore_index: int | None = None,
) -> NDArray[np.float64]:
    """Paint a mask: every pixel in the color of its class.

    Use it to see a mask by itself. To see whether a mask fits its image, use
    `overlay`.

    Parameters
    ----------
    mask : array of int or bool, shape (H, W)
        Class numbers.
    num_classes : int, optional
        Refuse labels from this number on. By default any label has a color.
    ignore_index : int, optional
        A label that is painted in the gray of pixels that are not annotated.

    Returns
    -------
    ndarray of float64, shape (H, W, 3)
        sRGB in [0, 1].

    Raises
    ------
    ValueError
        When `mask` has another shape, is not of integers, or has unknown labels.

    Examples
    --------
    >>> colorize([[0, 1]]).round(2).tolist()
    [[[0.87, 0.87, 0.87], [0.9, 0.62, 0.0]]]
    """
    labels, ignored = check_mask(mask, num_classes, ignore_index)
    palette = class_colors(int(labels.max(initial=0)) + 1)
    painted = palette[labels]  # (H, W) labels -> (H, W, 3)
    painted[ignored] = hex_to_rgb(IGNORE_COLOR)
    return painted


def overlay(
    image: ArrayLike,
    mask: ArrayLike,
    *,
    num_classes: int | None = None,
    ignore_index: int | None = None,
    alpha: float = 0.4,
    outline: bool = True,
) -> NDArray[np.float64]:
    """Lay a mask over its image, so that you see whether they agree.

    Class 0 is left clear. Other classes are tinted, with the outermost pixels of
    each region in full color; ignored pixels are striped in gray.

    Parameters
    ----------
    image : array, shape (H, W), (H, W, 1) or (H, W, 3)
        Floats in [0, 1], or bytes.
    mask : array of int or bool, shape (H, W)
        Class numbers.
    num_classes : int, optional
        Refuse labels from this number on.
    ignore_index : int, optional
        A label that means "not annotated".
    alpha : float
        Strength of the tint, from 0 (none) to 1 (opaque).
    outline : bool
        Draw the outermost pixels of each region in full color.

    Returns
    -------
    ndarray of float64, shape (H, W, 3)
        sRGB in [0, 1].

    Raises
    ------
    ValueError
        When image and mask differ in size, or hold what they should not.

    Examples
    --------
    >>> import numpy as np
    >>> image, mask = np.zeros((5, 5)), np.zeros((5, 5), int)
    >>> mask[1:4, 1:4] = 1
    >>> rgb = overlay(image, mask, alpha=0.5)
    >>> rgb[2, 1].round(2).tolist()  # on the outline
    [0.9, 0.62, 0.0]
    >>> rgb[2, 2].round(2).tolist()  # inside: half of it
    [0.45, 0.31, 0.0]
    """
    rgb = check_image(image)  # (H, W, 3), a copy
    labels, ignored = check_mask(mask, num_classes, ignore_index)
    check_same_size(rgb, labels)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 1.")
    painted = colorize(labels)
    weight = alpha * (labels > 0).astype(np.float64)  # (H, W)
    if outline:
        # An ignored pixel has label 0 here; beside it a region keeps its outline.
        weight[rim(labels) & (labels > 0)] = 1.0
    rgb = (1 - weight[..., None]) * rgb + weight[..., None] * painted
    stripes = np.add.outer(*(np.arange(n) for n in labels.shape)) // 2 % 2 == 0
    rgb[ignored & stripes] = hex_to_rgb(IGNORE_COLOR)
    return rgb


def instances(
    labels: ArrayLike, image: ArrayLike | None = None, *, alpha: float = 0.5
) -> NDArray[np.float64]:
    """Paint every object in its own color, whatever its class.

    The color follows from the object's number alone, so that an object looks the
    same in every picture. Where two objects touch, a dark line is drawn.

    Parameters
    ----------
    labels : array of int, shape (H, W)
        The number of the object that each pixel belongs to; 0 for none.
    image : array, shape (H, W), (H, W, 1) or (H, W, 3), optional
        Floats in [0, 1], or bytes: painted over, instead of plain gray.
    alpha : float
        Strength of the paint over the image, from 0 to 1.

    Returns
    -------
    ndarray of float64, shape (H, W, 3)
        sRGB in [0, 1].

    Raises
    ------
    ValueError
        When the arrays differ in size, or hold what they should not.

    Examples
    --------
    >>> import numpy as np
    >>> touching = np.repeat([[1, 1, 1, 2, 2, 2]], 4, axis=0)
    >>> rgb = instances(touching)
    >>> len(np.unique(rgb.reshape(-1, 3), axis=0))  # two colors and the line
    3
    """
    numbers, _ = check_mask(labels, None, None, name="labels")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 1.")
    # 1, 2, 3, ... take palette entries 7 apart: 7 and the palette's length share no
    # factor, so all of it is used, and objects numbered in turn look unlike.
    steps = 7 * (numbers - 1) % len(CLASS_COLORS) + 1
    painted = colorize(np.where(numbers > 0, steps, 0))  # (H, W, 3)
    inside = numbers > 0
    if image is not None:
        rgb = check_image(image)
        check_same_size(rgb, numbers, name="labels")
        weight = alpha * inside[..., None]
        painted = (1 - weight) * rgb + weight * painted
    painted[_touching(numbers)] = 0.1
    return painted


def rim(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark pixels that have a 4-neighbor with another label, (H, W) to (H, W)."""
    marked = np.zeros(labels.shape, bool)
    down = labels[1:] != labels[:-1]  # (H - 1, W)
    right = labels[:, 1:] != labels[:, :-1]  # (H, W - 1)
    marked[1:] |= down
    marked[:-1] |= down
    marked[:, 1:] |= right
    marked[:, :-1] |= right
    return marked


def _touching(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark one pixel of each pair of 4-neighbors that belong to two objects."""
    marked = np.zeros(numbers.shape, bool)
    for axis in (0, 1):
        here = np.moveaxis(numbers, axis, 0)
        line = np.moveaxis(marked, axis, 0)
        line[1:] |= (here[1:] != here[:-1]) & (here[1:] > 0) & (here[:-1] > 0)
    return marked


def check_image(image: ArrayLike, name: str = "image") -> NDArray[np.float64]:
    """Return a copy of an image as RGB floats, (H, W, 3), or say what is wrong."""
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3) or 0 in pixels.shape:
        hint = ""
        if pixels.ndim == 4:
            hint = " For one image of a batch: images[0]."
        elif pixels.ndim == 3 and pixels.shape[-1] == 4:
            hint = f" Drop the transparency: {name}[..., :3]."
        raise ValueError(
            f"{name} has shape {np.shape(image)}; it must be (H, W), (H, W, 1) or "
            f"(H, W, 3).{hint}"
        )
    if pixels.dtype == np.uint8:
        pixels = pixels / 255.0
    elif not (
        np.issubdtype(pixels.dtype, np.floating) or np.issubdtype(pixels.dtype, bool)
    ):
        raise ValueError(
            f"{name} has dtype {pixels.dtype}; give floats in [0, 1], or bytes. For a "
            "mask, see colorize and overlay."
        )
    pixels = pixels.astype(np.float64)
    # A comparison with NaN is false, so this refuses NaN too.
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ValueError(
            f"{name} has values from {pixels.min():.4g} to {pixels.max():.4g}; they "
            "must lie in [0, 1]. To stretch it: (x - x.min()) / (x.max() - x.min())."
        )
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


def check_mask(
    mask: ArrayLike,
    num_classes: int | None,
    ignore_index: int | None,
    name: str = "mask",
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return labels with the ignored ones set to 0, and where those were."""
    array = np.asarray(mask)
    if array.ndim != 2 or 0 in array.shape:
        hint = ""
        if array.ndim == 3 and array.shape[-1] == 1:
            hint = f" Take the last axis off: {name}[..., 0]."
        elif array.ndim == 3:
            hint = (
                f" If these are scores for each class: {name}.argmax(axis=-1). For "
                f"one mask of a batch: {name}[0]."
            )
        raise ValueError(f"{name} has shape {array.shape}; it must be (H, W).{hint}")
    if not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise ValueError(
            f"{name} has dtype {array.dtype}; it must hold integer labels. For "
            "probabilities, choose a threshold first: (p > 0.5)."
        )
    labels = array.astype(np.int64)
    ignored = np.zeros(labels.shape, bool)
    if ignore_index is not None:
        ignored = labels == ignore_index
        labels[ignored] = 0
    top = np.inf if num_classes is None else num_classes
    unknown = (labels < 0) | (labels >= top)
    if unknown.any():
        values = np.unique(labels[unknown])
        listed = ", ".join(str(v) for v in values[:8]) + (", ..." * (len(values) > 8))
        known = "negative" if num_classes is None else f"outside 0 to {num_classes - 1}"
        raise ValueError(
            f"{name} has labels {listed}, which are {known}. If they mean that a "
            "pixel is not annotated, give ignore_index."
        )
    return labels, ignored


def check_same_size(
    rgb: NDArray[Any], labels: NDArray[Any], name: str = "mask"
) -> None:
    """Refuse an image and a mask that differ in height or width."""
    if rgb.shape[:2] != labels.shape:
        raise ValueError(
            f"image is {rgb.shape[0]} × {rgb.shape[1]} and {name} is "
            f"{labels.shape[0]} × {labels.shape[1]} (height × width); they must agree."
        )
