"""Losses: one number to make small, and where to go to make it smaller.

Each has ``forward(prediction, target)``, which gives the loss as a float, and
``backward()``, which gives its gradient with respect to the prediction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from seglab.scratch.layer import Array


class Loss:
    """What every loss has: a value, and a gradient with respect to the prediction.

    Examples
    --------
    >>> loss = MSE()
    >>> loss.forward(np.array([1.0, 2.0]), np.array([0.0, 2.0])), loss.backward()
    (0.5, array([1., 0.]))
    """

    def __init__(self) -> None:
        self._grad: Array | None = None

    def forward(self, prediction: Array, target: NDArray[Any]) -> float:
        """Compute the loss.

        Parameters
        ----------
        prediction : ndarray of float
            What the network gave.
        target : ndarray
            What it should have given.

        Returns
        -------
        float
        """
        raise NotImplementedError

    def backward(self) -> Array:
        """Give the gradient of the last loss with respect to its prediction.

        Returns
        -------
        ndarray, shape of the prediction

        Raises
        ------
        ValueError
            Before the first `forward`.
        """
        if self._grad is None:
            raise ValueError(
                f"{type(self).__name__}.backward has no loss to go back from: call "
                "forward(prediction, target) first."
            )
        return self._grad


class CrossEntropy(Loss):
    r"""Minus the log of the probability that the true class got; mean over pixels.

    Takes scores, not probabilities: softmax is inside. With p the softmax of the scores
    and t the one-hot truth, the gradient at each pixel is :math:`(p - t) / n`, with n
    the number of pixels that count: the simplest formula in the subject.

    Parameters
    ----------
    ignore_index : int, optional
        Pixels with this label do not count: not in the mean, and their gradient is 0.
        If all are ignored the loss is 0, as in Keras (PyTorch gives NaN).

    Examples
    --------
    >>> loss = CrossEntropy(ignore_index=255)
    >>> scores = np.array([[0.0, 0.0], [5.0, 1.0]])
    >>> round(loss.forward(scores, np.array([1, 255])), 4)  # log 2
    0.6931
    >>> loss.backward()
    array([[ 0.5, -0.5],
           [ 0. ,  0. ]])
    """

    def __init__(self, ignore_index: int | None = None) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, prediction: Array, target: NDArray[Any]) -> float:
        """Compare scores, of shape (..., K), with labels of shape (...)."""
        counted, t = _one_hot(prediction, target, self.ignore_index)
        prediction = np.where(counted[..., None] > 0, prediction, 0)  # 0 times NaN: NaN
        n = max(int(counted.sum()), 1)
        log_p = log_softmax(prediction, axis=-1)  # (..., K)
        self._grad = (np.exp(log_p) - t) * counted[..., None] / n
        return float(-(t * log_p).sum() / n)


class Dice(Loss):
    r"""One minus the overlap of prediction and truth, averaged over the classes.

    :math:`1 - \frac{1}{K} \sum_k \frac{2 \sum p_k t_k + \epsilon}{\sum p_k + \sum t_k
    + \epsilon}` with probabilities p and the one-hot truth t, summed over all pixels of
    the batch. Unlike cross-entropy it weighs classes equally, however few their pixels.

    Parameters
    ----------
    ignore_index : int, optional
        Pixels with this label do not count.
    epsilon : float, default 1e-7
        Makes the overlap of nothing with nothing 1, a class that is neither there nor
        predicted: it costs nothing.

    Source
    ------
    Milletari, Navab and Ahmadi, "V-Net", 3DV 2016, section 3; with the sums in the
    denominator not squared.

    Examples
    --------
    >>> p = np.array([[0.5, 0.5], [0.0, 1.0]])
    >>> round(Dice().forward(p, np.array([0, 1])), 4)
    0.2667
    """

    def __init__(
        self, ignore_index: int | None = None, *, epsilon: float = 1e-7
    ) -> None:
        super().__init__()
        self.ignore_index, self.epsilon = ignore_index, epsilon

    def forward(self, prediction: Array, target: NDArray[Any]) -> float:
        """Compare probabilities, of shape (..., K), with labels of shape (...)."""
        counted, t = _one_hot(prediction, target, self.ignore_index)
        p = np.where(counted[..., None] > 0, prediction, 0)  # 0 times NaN is NaN
        K = p.shape[-1]
        pixels = tuple(range(p.ndim - 1))  # all axes but that of the classes
        overlap = 2 * (p * t).sum(axis=pixels) + self.epsilon  # (K,)
        total = p.sum(axis=pixels) + t.sum(axis=pixels) + self.epsilon  # (K,)
        # d(overlap / total)/dp = 2 t / total - overlap / total^2
        slope = 2 * t / total - overlap / total**2  # (..., K)
        self._grad = -slope * counted[..., None] / K
        return float(1 - (overlap / total).mean())


class MSE(Loss):
    r"""Mean squared error: the loss of an autoencoder, whose target is an image.

    :math:`\frac{1}{n} \sum (\hat{x} - x)^2` over all n values, with gradient
    :math:`\frac{2}{n} (\hat{x} - x)`.

    Examples
    --------
    >>> MSE().forward(np.array([1.0, 4.0]), np.array([1.0, 2.0]))
    2.0
    """

    def forward(self, prediction: Array, target: NDArray[Any]) -> float:
        """Compare two arrays of one shape."""
        if prediction.shape != target.shape:
            raise ValueError(
                f"prediction has shape {prediction.shape} and target {target.shape}; "
                "they must be equal: broadcasting would compare what does not belong "
                "together."
            )
        error = prediction - target.astype(prediction.dtype)
        self._grad = 2 * error / error.size
        return float((error**2).mean())


def _one_hot(
    prediction: Array, labels: NDArray[Any], ignore_index: int | None
) -> tuple[Array, Array]:
    """Say which pixels count, as 0 and 1 (...), and the truth as (..., K)."""
    labels = np.asarray(labels)
    if labels.shape != prediction.shape[:-1] or not np.issubdtype(
        labels.dtype, np.integer
    ):
        raise ValueError(
            f"target is {labels.dtype} of shape {labels.shape}; for a prediction of "
            f"shape {prediction.shape} it must be integer class numbers of shape "
            f"{prediction.shape[:-1]}."
        )
    K = prediction.shape[-1]
    counted = np.ones(labels.shape, bool)
    if ignore_index is not None:
        counted = labels != ignore_index
    wrong = counted & ((labels < 0) | (labels >= K))
    if wrong.any():
        raise ValueError(
            f"target holds the label {labels[wrong][0]}; a prediction of {K} classes "
            f"takes 0 to {K - 1}. A label that means not annotated goes to "
            "ignore_index."
        )
    t = np.zeros(prediction.shape, prediction.dtype)
    np.put_along_axis(t, np.where(counted, labels, 0)[..., None], 1, axis=-1)
    mask = counted.astype(prediction.dtype)
    return mask, t * mask[..., None]
