"""Where a prediction is wrong, on the image itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from seglab.plots.arrays import check_image, check_mask, check_same_size
from seglab.plots.figure import Figure, style
from seglab.plots.panels import (
    ERROR_STYLES,
    IGNORE_STYLE,
    as_list,
    describe_errors,
    draw_region,
    find_errors,
    find_ignored,
    grid,
    ignore_handle,
)

_DARKEST, _BRIGHTEST = 0.3, 0.8
"""Gray levels that an image is faded to, between the black and the white of errors."""


def error_map(
    image: ArrayLike,
    truth: ArrayLike,
    prediction: ArrayLike,
    *,
    ignore_index: int | None = None,
    background: int | None = 0,
    titles: Sequence[str] | None = None,
    columns: int = 3,
) -> Figure:
    """Mark the wrong pixels on the image, so that you see what they have in common.

    `side_by_side` shows what was predicted instead; here many images fit on a page,
    and what is in them stays visible: are the errors at edges, in shadows, on small
    objects? Kinds of errors look the same in both. The image is faded to gray.

    Parameters
    ----------
    image : array, shape (H, W), (H, W, C), or (N, H, W, C) for N panels
        Floats in [0, 1], or bytes; C is 1 or 3, N at most 24.
    truth, prediction : array of int, shape (H, W) or (N, H, W)
        The annotated and the predicted class numbers.
    ignore_index : int, optional
        The label, in the truth, of pixels that are not annotated.
    background : int or None
        The class that counts as "no object". None if there is no such class: then
        every error is a wrong class.
    titles : sequence of str, optional
        One for each image, such as its IoU.
    columns : int
        Panels across, 1 to 3.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When shapes, labels or titles do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from seglab.plots import alt_text
    >>> truth = np.array([[0, 0, 1, 1]] * 4)
    >>> guess = np.array([[0, 1, 1, 1]] * 4)
    >>> print(alt_text(error_map(truth * 0.5, truth, guess)))
    An image with its errors marked. Errors: 25 % of the annotated pixels: 0 % missed,
    25 % invented.
    """
    if np.ndim(truth) == 2:
        image, truth = np.asarray(image)[None], np.asarray(truth)[None]
        prediction = np.asarray(prediction)[None]
    images, truths = as_list(image, "image"), as_list(truth, "truth")
    guesses = as_list(prediction, "prediction")
    for name, given in (("truth", truths), ("prediction", guesses), ("titles", titles)):
        if given is not None and len(given) != len(images):
            raise ValueError(
                f"{name} has {len(given)} entries for {len(images)} images; give one "
                "for each."
            )
    pictures, errors = [], []
    for picture, mask, guess in zip(images, truths, guesses, strict=True):
        rgb = check_image(picture)
        for name, labels in (("truth", mask), ("prediction", guess)):
            check_mask(labels, None, ignore_index, name=name)
            check_same_size(rgb, labels, name=name)
        pictures.append(_fade(rgb))
        errors.append(find_errors(mask, guess, ignore_index, background))

    kinds = [kind for kind in ERROR_STYLES if any(e[kind].any() for e in errors)]
    handles = [Patch(**ERROR_STYLES[kind], label=kind) for kind in kinds]
    handles += ignore_handle(truths, ignore_index)
    columns = min(columns, len(images))
    rows = -(-len(images) // max(columns, 1))
    title_rows = 0 if titles is None else rows
    figure, axes = grid(rows, columns, pictures, handles, title_rows)
    with style():
        for ax, picture, mask, wrong in zip(
            axes.flat, pictures, truths, errors, strict=False
        ):
            ax.imshow(picture)
            for kind in kinds:
                draw_region(ax, wrong[kind], ERROR_STYLES[kind])
            draw_region(ax, find_ignored(mask, ignore_index), IGNORE_STYLE)
        for ax, title in zip(axes.flat, titles or (), strict=False):
            ax.set_title(title)
        for ax in axes.flat[len(pictures) :]:
            ax.remove()
    what = "An image with its" if len(images) == 1 else f"{len(images)} images with"
    figure.alt = f"{what} errors marked"
    figure.alt += f": {'; '.join(titles)}." if titles is not None else "."
    figure.alt += f" {describe_errors(errors, truths, ignore_index)}"
    return figure


def _fade(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take color and contrast off an image, (H, W, 3)."""
    gray = rgb @ np.array([0.299, 0.587, 0.114])  # luma, ITU-R BT.601; (H, W)
    faded = _DARKEST + (_BRIGHTEST - _DARKEST) * gray
    return np.repeat(faded[..., None], 3, axis=-1)
