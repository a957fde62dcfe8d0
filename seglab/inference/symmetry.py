"""Test-time augmentation: the views of an image that flips and quarter turns give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class View:
    """One symmetry of a square: a flip of left and right or none, then quarter turns.

    Examples
    --------
    >>> view = View(flip=True, turns=1)
    >>> image = np.arange(6).reshape(2, 3)
    >>> view.apply(image, axes=(0, 1)).tolist()
    [[0, 3], [1, 4], [2, 5]]
    >>> bool((view.undo(view.apply(image, (0, 1)), (0, 1)) == image).all())
    True
    """

    flip: bool
    turns: int

    def apply(self, x: NDArray[Any], axes: tuple[int, int]) -> NDArray[Any]:
        """Show an array whose height and width are the given axes in this view."""
        flipped = np.flip(x, axes[1]) if self.flip else x
        return np.rot90(flipped, self.turns, axes)

    def undo(self, x: NDArray[Any], axes: tuple[int, int]) -> NDArray[Any]:
        """Bring what was made of the view back into the original's place."""
        turned = np.rot90(x, -self.turns, axes)
        return np.flip(turned, axes[1]) if self.flip else turned


VIEWS: dict[str | None, tuple[View, ...]] = {
    None: (View(False, 0),),
    "horizontal": (View(False, 0), View(True, 0)),
    # Up and down is left and right with a half turn.
    "flips": (View(False, 0), View(True, 0), View(False, 2), View(True, 2)),
    "dihedral": tuple(View(flip, k) for flip in (False, True) for k in range(4)),
}
"""The views that are averaged, by the name of `predict`'s argument."""


def average_views(
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    images: NDArray[np.float32],
    views: tuple[View, ...],
) -> NDArray[np.float32]:
    """Average what a network says of several views of the same images.

    The views of a group (each of `VIEWS` is one) make any network's result follow
    the image when it is flipped or turned.

    Parameters
    ----------
    run : callable
        From images (N, h, w, C) to maps (K, N, h', w').
    images : ndarray of float32, shape (N, h, w, C)
        The images.
    views : tuple of View
        At least one.

    Returns
    -------
    ndarray of float32, shape (K, N, h', w')
        In the place of the images, not of their views.
    """
    total: NDArray[np.float32] | None = None
    for view in views:
        maps = view.undo(
            run(np.ascontiguousarray(view.apply(images, axes=(1, 2)))), axes=(2, 3)
        )
        total = maps if total is None else np.add(total, maps, out=total)
    assert total is not None
    if len(views) > 1:
        total /= len(views)
    return total
