"""The boundary loss: how far from the true boundary the misplaced probability lies."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from seglab.losses.base import SegmentationLoss, Tensor, check_labels, one_hot

_FAR = 1e12
"""Squared distance, in pixels, to something that is not there."""


@keras.saving.register_keras_serializable(package="seglab")
class Boundary(SegmentationLoss):
    r"""Misplaced probability times its distance from the true boundary.

    Losses of overlap count wrong pixels, wherever they lie. Here a wrong pixel costs
    its distance, so that a speck far from an object is dear and a boundary that is off
    by one pixel is cheap. For use **in a sum** only, with a small weight, as in
    ``Dice() + 0.01 * Boundary()``: alone it asks little of a small object's pixels,
    which are all close to its boundary, and nothing where a class is absent.

    Parameters
    ----------
    ignore_index : int, optional
        Pixels with this label are in no mean, and distances are to other pixels.
    name : str, default "boundary"
        Shown by Keras.

    Notes
    -----
    With the softmax :math:`p`, the one-hot truth :math:`t` and the signed distance
    :math:`\phi_k` of class k (`signed_distance`: pixels, negative inside),

    .. math:: L = \frac{1}{n K} \sum_i \sum_{k=0}^{K-1} \phi_{ik} (p_{ik} - t_{ik}),

    over the n pixels of the batch that count and the K classes, one for each channel:
    a mean, so images count by their pixels.
    The paper leaves out the :math:`t` in its loss, which is a constant; with it the
    loss is at least 0, and 0 for a perfect prediction, and the gradient is the same. A
    class that an image lacks, or that fills it, has no boundary and adds 0.

    No distance maps have to be prepared: they are computed in the training step, from
    the masks as they were augmented. That takes 3 K (H + W) operations a pixel: for a
    small U-Net of two classes on a CPU, a step is a tenth to a fifth longer up to
    256 × 256; more classes and larger images cost more. Distances grow with the image,
    and the weight has to shrink with them.

    If no pixel counts, the loss is 0 and so is its gradient.

    Source
    ------
    Kervadec, Bouchtiba, Desrosiers, Granger, Dolz and Ben Ayed, "Boundary loss for
    highly unbalanced segmentation", MIDL 2019, equations 4 and 5.

    Examples
    --------
    The truth is class 1 from column 2 on. Of two wrong pixels, the far one costs more:

    >>> import numpy as np
    >>> truth = np.array([[[0, 0, 1, 1, 1, 1]]])
    >>> near, far = [[[0, 1, 1, 1, 1, 1]]], [[[0, 0, 1, 1, 1, 0]]]
    >>> one_hot = 50 * np.eye(2, dtype="float32")
    >>> [round(float(Boundary()(truth, one_hot[np.array(y)])), 3) for y in (near, far)]
    [0.083, 0.583]
    """

    def __init__(
        self, *, ignore_index: int | None = None, name: str = "boundary"
    ) -> None:
        super().__init__(ignore_index=ignore_index, name=name)

    def compute(self, labels: Tensor, logits: Tensor, counted: Tensor) -> Tensor:
        """Average over pixels and classes; see `SegmentationLoss.compute`."""
        C = logits.shape[-1]
        t = one_hot(labels, counted, C)  # (N, H, W, C)
        phi = ops.stop_gradient(_signed_distance(t))
        misplaced = (ops.softmax(logits, axis=-1) - t) * counted[..., None]
        return ops.sum(phi * misplaced) / (C * ops.maximum(ops.sum(counted), 1.0))


def signed_distance(
    masks: Any, num_classes: int, *, ignore_index: int | None = None
) -> Tensor:
    """Distance of each pixel from the boundary of each class, negative inside.

    Boundaries run between the centers of pixels of the class and of others: beside one
    a pixel is half a pixel away, on either side. With two classes one map is minus the
    other. The edge of the image is no boundary.

    Parameters
    ----------
    masks : array or tensor of int, shape (N, H, W)
        The class of each pixel, or `ignore_index`.
    num_classes : int
        Number of classes, C.
    ignore_index : int, optional
        Pixels with this label belong to no class, and not to the others either:
        distances are to pixels that are known.

    Returns
    -------
    tensor of float32, shape (N, H, W, C)
        In pixels: to the nearest pixel of the class, less 1/2; inside, minus the
        distance to the nearest pixel of another class, plus 1/2. 0 for a class that
        the image lacks or that fills it, and at ignored pixels.

    Raises
    ------
    ValueError
        When there are fewer than two classes, or a NumPy mask holds a label that is no
        class. (Of a tensor, whose values are not known yet, such a pixel is ignored.)

    Notes
    -----
    Exact and Euclidean, like `scipy.ndimage.distance_transform_edt`, but in operations
    of the backend, so that it runs inside a compiled training step. The squared
    distance to the nearest of a set of pixels is a minimum over rows of minima over
    columns: the first gives, for each pixel, the nearest of its column; the second
    adds to these the squared distance to each column.

    Source
    ------
    Felzenszwalb and Huttenlocher, "Distance Transforms of Sampled Functions", Theory
    of Computing 8 (2012), section 3. They take each minimum in linear time, one pixel
    after the other; here all pixels are taken at once.

    Examples
    --------
    >>> import numpy as np
    >>> phi = signed_distance(np.array([[[0, 0, 1, 1, 1]]]), num_classes=2)
    >>> keras.ops.convert_to_numpy(phi)[0, 0, :, 1].tolist()
    [1.5, 0.5, -0.5, -1.5, -2.5]
    """
    if num_classes < 2:
        raise ValueError(
            f"num_classes is {num_classes}; a boundary is between two or more."
        )
    if isinstance(masks, np.ndarray):
        check_labels(masks, num_classes, ignore_index)
    labels = ops.cast(ops.convert_to_tensor(masks), "int32")
    counted = ops.ones_like(labels, dtype="float32")
    if ignore_index is not None:
        counted = ops.cast(labels != ignore_index, "float32")
    return _signed_distance(one_hot(labels, counted, num_classes))


def _signed_distance(t: Tensor) -> Tensor:
    """Compute `signed_distance` of one-hot masks (N, H, W, C), 0 where ignored."""
    C = t.shape[-1]
    t = ops.transpose(t, (0, 3, 1, 2))  # (N, C, H, W): whole rows, quick to add
    squared = _least(_least(ops.where(t > 0, 0.0, _FAR), axis=2), axis=3)
    to_class = ops.sqrt(squared)  # distance to the nearest pixel of each class
    to_others = ops.stack(
        [ops.min(_without(to_class, k), axis=1) for k in range(C)], axis=1
    )
    inside = t > 0
    phi = ops.where(inside, 0.5 - to_others, to_class - 0.5)
    there = (ops.maximum(to_class, to_others) < _FAR**0.5 / 2) & (
        ops.max(t, axis=1, keepdims=True) > 0
    )
    return ops.transpose(ops.where(there, phi, 0.0), (0, 2, 3, 1))


def _without(x: Tensor, k: int) -> Tensor:
    """Leave one class out, (N, C, H, W) to (N, C - 1, H, W)."""
    return ops.concatenate([x[:, :k], x[:, k + 1 :]], axis=1)


def _least(x: Tensor, axis: int) -> Tensor:
    """Take min over j of x[j] + (i - j)² along an axis, for each position i."""
    size = ops.shape(x)[axis]
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    here = ops.reshape(ops.arange(size, dtype="float32"), shape)

    def nearer(j: Any, best: Tensor) -> Tensor:
        there = ops.take(x, ops.reshape(j, (1,)), axis=axis)
        return ops.minimum(best, there + (here - ops.cast(j, "float32")) ** 2)

    return ops.fori_loop(0, size, nearer, ops.full_like(x, _FAR))
