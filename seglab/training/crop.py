"""Cut masks to the part of the image that a network's output is about."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def center_crop(masks: NDArray[np.int32], height: int, width: int) -> NDArray[np.int32]:
    """Keep the center of masks: a "valid" U-Net says nothing about the border.

    Parameters
    ----------
    masks : ndarray of int32, shape (N, H, W)
        Of whole images.
    height, width : int
        What to keep, at most H and W.

    Returns
    -------
    ndarray of int32, shape (N, height, width)
        A view, not a copy.

    Examples
    --------
    >>> import numpy as np
    >>> center_crop(np.arange(16).reshape(1, 4, 4), 2, 2).tolist()
    [[[5, 6], [9, 10]]]
    """
    top = (masks.shape[1] - height) // 2
    left = (masks.shape[2] - width) // 2
    return masks[:, top : top + height, left : left + width]
