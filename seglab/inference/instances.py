"""From maps of a network to instances: one number for each object.

A semantic network says of each pixel whether it is a cell, not which cell: two that
touch are one region. Two kinds of map keep them apart, and a watershed turns either
into instances. It floods from markers, one in each object, and draws the line where
two floods meet.

* **Boundary class**: three classes, background, interior and boundary. Interiors do
  not touch, so their connected components are the markers.
* **Distance map**: each pixel's distance from the border of its object. It has a peak
  in each object's middle and a valley where two touch; the peaks are the markers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label
from skimage.feature import peak_local_max
from skimage.segmentation import relabel_sequential, watershed


def instances_from_boundary(
    maps: NDArray[Any], *, interior: int = 1, boundary: int = 2, min_size: int = 1
) -> NDArray[np.int32]:
    """Give objects numbers, where interior and boundary are two classes.

    Each connected component of the interior is an object, and floods the boundary
    around it. A piece of boundary that touches no interior is an object too thin to
    have one.

    Parameters
    ----------
    maps : ndarray of int, shape (H, W), or of float, shape (H, W, K)
        Labels, or probabilities as `predict` gives them. Of probabilities, objects
        that touch are split along the ridge where a boundary is likeliest; of labels,
        in the middle.
    interior, boundary : int, default 1, 2
        Numbers of the two classes. All others are background.
    min_size : int, default 1
        Objects of fewer pixels are left out.

    Returns
    -------
    ndarray of int32, shape (H, W)
        1, 2, ... for the objects, 0 for the background.

    Raises
    ------
    ValueError
        When `maps` is neither, or a class is not in it.

    Source
    ------
    Watershed from markers: Meyer and Beucher, "Morphological Segmentation", Journal
    of Visual Communication and Image Representation 1 (1990), as in scikit-image. A
    boundary class for touching nuclei: Caicedo et al., "Nucleus segmentation across
    imaging experiments: the 2018 Data Science Bowl", Nature Methods 16 (2019).

    Examples
    --------
    >>> labels = np.array([[0, 2, 2, 2, 2, 2, 2], [0, 2, 1, 2, 2, 1, 2]])
    >>> instances_from_boundary(labels)
    array([[0, 1, 1, 1, 2, 2, 2],
           [0, 1, 1, 1, 2, 2, 2]], dtype=int32)

    Labels to train on, from instances, have the outline of each object as boundary:

    >>> from skimage.segmentation import find_boundaries
    >>> truth = np.array([[1, 1, 1, 2, 2, 2]] * 3)
    >>> np.where(find_boundaries(truth, mode="inner"), 2, truth > 0).tolist()
    [[1, 1, 2, 2, 1, 1], [1, 1, 2, 2, 1, 1], [1, 1, 2, 2, 1, 1]]
    """
    _check_min_size(min_size)
    labels, height = maps, None
    if maps.ndim == 3 and np.issubdtype(maps.dtype, np.floating):
        for name, number in {"interior": interior, "boundary": boundary}.items():
            if not 0 <= number < maps.shape[-1]:
                raise ValueError(
                    f"{name} is class {number}, and maps have the classes 0 to "
                    f"{maps.shape[-1] - 1}."
                )
        labels, height = maps.argmax(axis=-1), maps[..., boundary]
    elif maps.ndim != 2 or not np.issubdtype(maps.dtype, np.integer):
        raise ValueError(
            f"maps are {maps.dtype} of shape {maps.shape}; they must be labels, int "
            "(H, W), or probabilities, float (H, W, classes)."
        )
    if interior == boundary:
        raise ValueError(f"interior and boundary are both class {interior}.")
    inside = labels == interior
    objects = inside | (labels == boundary)
    markers, _ = label(inside)
    if height is None:
        height = np.zeros(labels.shape, np.float32)  # flooded at equal speed
    return _flood(height, markers, objects, min_size)


def instances_from_distance(
    distance: NDArray[Any],
    *,
    threshold: float = 0.5,
    smoothing: float = 1.0,
    min_distance: int = 3,
    min_size: int = 1,
) -> NDArray[np.int32]:
    """Give objects numbers, by the peaks of a map of distances from their borders.

    Parameters
    ----------
    distance : ndarray of float, shape (H, W)
        Each pixel's distance from the outside of its object, 0 in the background. In
        pixels, or as a share of the object's largest.
    threshold : float, default 0.5
        Where the map is larger, there is an object. The default, half a pixel, is for
        distances in pixels: the outermost pixels of an object have 1.
    smoothing : float, default 1
        Standard deviation in pixels of the Gaussian filter that takes out peaks of
        noise, and of the digital grid; 0 for none.
    min_distance : int, default 3
        Least distance of two peaks, in pixels. Too small splits objects, too large
        merges small ones.
    min_size : int, default 1
        Objects of fewer pixels are left out.

    Returns
    -------
    ndarray of int32, shape (H, W)
        1, 2, ... for the objects, 0 for the background.

    Raises
    ------
    ValueError
        When an argument is out of range.

    Source
    ------
    The usual way to separate touching blobs (scikit-image's watershed example), with a
    map that a network learned from each object's own distances in place of that of
    the mask: Bai and Urtasun, "Deep Watershed Transform for Instance Segmentation",
    CVPR 2017.

    Examples
    --------
    >>> from scipy.ndimage import distance_transform_edt
    >>> y, x = np.mgrid[:21, :40]
    >>> left, right = (np.hypot(y - 10, x - c) < 9 for c in (11, 27))
    >>> instances = instances_from_distance(distance_transform_edt(left | right))
    >>> int(instances.max()), bool(instances[10, 11] != instances[10, 27])
    (2, True)
    """
    _check_min_size(min_size)
    if distance.ndim != 2 or not np.issubdtype(distance.dtype, np.floating):
        raise ValueError(
            f"distance is {distance.dtype} of shape {distance.shape}; it must be "
            "float, (H, W)."
        )
    if not smoothing >= 0:
        raise ValueError(f"smoothing is {smoothing!r}; it must be 0 or more.")
    if min_distance != int(min_distance) or min_distance < 1:
        raise ValueError(
            f"min_distance is {min_distance!r}; it must be an integer, 1 or more."
        )
    # The filters below take no half precision.
    distance = distance.astype(np.promote_types(distance.dtype, np.float32), copy=False)
    objects = distance > threshold
    smooth = gaussian_filter(distance, smoothing) if smoothing else distance
    peaks = peak_local_max(  # (peaks, 2)
        smooth,
        min_distance=int(min_distance),
        labels=label(objects)[0],  # each connected component on its own
        exclude_border=False,
    )
    markers = np.zeros(distance.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return _flood(-smooth, markers, objects, min_size)


def _flood(
    height: NDArray[Any],
    markers: NDArray[Any],
    objects: NDArray[np.bool_],
    min_size: int,
) -> NDArray[np.int32]:
    """Flood the objects from the markers, all (H, W), and leave out small ones."""
    instances = watershed(height, markers, mask=objects)
    dry, _ = label(objects & (instances == 0))  # no marker in these components
    instances = np.where(dry > 0, dry + instances.max(), instances)
    sizes = np.bincount(instances.ravel())
    kept = np.where(sizes[instances] >= min_size, instances, 0)
    numbered: NDArray[np.int32] = relabel_sequential(kept)[0].astype(np.int32)
    return numbered


def _check_min_size(min_size: int) -> None:
    if min_size != int(min_size) or min_size < 0:
        raise ValueError(f"min_size is {min_size!r}; it must be an integer, 0 or more.")
