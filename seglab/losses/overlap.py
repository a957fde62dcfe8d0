"""Losses of overlap, from soft counts of hits and misses: Tversky and Dice."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from seglab.losses.base import SegmentationLoss, Tensor, mean_of_present, one_hot


@keras.saving.register_keras_serializable(package="seglab")
class Tversky(SegmentationLoss):
    r"""One minus an overlap in which missing and inventing pixels cost differently.

    Its counts are those of the metrics with probabilities in place of decisions. As in
    the IoU and unlike in `CrossEntropy`, the many pixels that are easily seen not to
    be of a class play no part in that class's term, and each class counts alike,
    however small.

    Parameters
    ----------
    fp_weight : float
        What a false positive costs: a pixel wrongly given to the class; 0 or more.
    fn_weight : float
        What a false negative costs: a pixel of the class that was missed; above 0.
        The paper's best, for lesions that must not be missed, is 0.3 and 0.7. With 1
        and 1 the loss is that of the IoU, with 1/2 and 1/2 it is `Dice`.
    ignore_index : int, optional
        Pixels with this label are in none of the counts.
    per_image : bool, default False
        Count in each image alone, and average over the images. By default pixels of
        the whole batch are counted together, as the metrics of `seglab.metrics` sum
        over images before they divide: a class that is in one image and not in
        another then hardly makes the loss jump. But the loss depends on what else is
        in the batch, and on its size.
    name : str, default "tversky"
        Shown by Keras.

    Notes
    -----
    With the softmax :math:`p` of the scores, the one-hot truth :math:`t`, and sums over
    the pixels :math:`i` that count, of the batch or of one image,

    .. math::
       TP_k = \sum_i p_{ik} t_{ik}, \quad
       FP_k = \sum_i p_{ik} (1 - t_{ik}), \quad
       FN_k = \sum_i (1 - p_{ik}) t_{ik},

    .. math::
       L = \frac{1}{|P|} \sum_{k \in P} \left(1 - \frac{TP_k}
           {TP_k + w_{FP}\, FP_k + w_{FN}\, FN_k}\right),

    with :math:`P` the classes that the *truth* has among those pixels.

    The mean is over **classes present** since an absent class teaches nothing here: its
    overlap is 0 whatever the probabilities, until they all vanish. Predicting it is not
    free: the probability it got is missing at the pixels' own classes. For the same
    reason there is **no epsilon**: a class in the mean has a pixel, so the denominator
    is above 0. A class that is neither there nor predicted is not in the mean either;
    where other libraries let it cost nothing (or, without care, all), it does not
    dilute the rest.

    Only if no pixel counts is there no class: the loss is then 0 and so is its
    gradient. With `per_image` such images are left out of the mean.

    Source
    ------
    Salehi, Erdogmus and Gholipour, "Tversky loss function for image segmentation using
    3D fully convolutional deep networks", MLMI 2017, where the weights are
    :math:`\alpha` (false positives) and :math:`\beta`. Some libraries swap the two.

    Examples
    --------
    A pixel of class 1 was missed (its logits favor class 0), and three are right:

    >>> import numpy as np
    >>> truth = np.array([[[0, 0, 1, 1]]])
    >>> logits = 50.0 * np.array([[[[1, 0], [1, 0], [1, 0], [0, 1]]]], "float32")
    >>> lenient, strict = Tversky(0.5, 0.5), Tversky(0.3, 0.7)
    >>> round(float(lenient(truth, logits)), 3), round(float(strict(truth, logits)), 3)
    (0.267, 0.271)
    """

    def __init__(
        self,
        fp_weight: float,
        fn_weight: float,
        *,
        ignore_index: int | None = None,
        per_image: bool = False,
        name: str = "tversky",
    ) -> None:
        super().__init__(ignore_index=ignore_index, name=name)
        if not 0 <= fp_weight < float("inf"):
            raise ValueError(
                f"fp_weight is {fp_weight!r}; it must be a number, 0 or more."
            )
        if not 0 < fn_weight < float("inf"):
            raise ValueError(
                f"fn_weight is {fn_weight!r}; it must be a number above 0: if missed "
                "pixels cost nothing, predicting nothing is best."
            )
        self.fp_weight, self.fn_weight = float(fp_weight), float(fn_weight)
        self.per_image = per_image

    def compute(self, labels: Tensor, logits: Tensor, counted: Tensor) -> Tensor:
        """Average over the classes present; see `SegmentationLoss.compute`."""
        # The pixels of an image, or of all images.
        pixels = (1, 2) if self.per_image else (0, 1, 2)
        t = one_hot(labels, counted, logits.shape[-1])  # (N, H, W, C)
        p = ops.softmax(logits, axis=-1) * counted[..., None]
        hit = ops.sum(p * t, axis=pixels)  # (C,), or (N, C) per image
        invented = ops.sum(p, axis=pixels) - hit
        truth = ops.sum(t, axis=pixels)
        missed = truth - hit
        present = ops.cast(truth > 0, "float32")
        size = hit + self.fp_weight * invented + self.fn_weight * missed
        # An absent class is not in the mean, but 0 / 0 would be in the gradient.
        overlap = hit / ops.where(truth > 0, size, 1.0)
        losses = mean_of_present(1.0 - overlap, present)  # (), or (N,)
        if not self.per_image:
            return losses
        annotated = ops.max(present, axis=-1)  # (N,)
        return mean_of_present(losses, annotated)

    def get_config(self) -> dict[str, Any]:
        """Give what rebuilds the loss from a file."""
        own = {
            "fp_weight": self.fp_weight,
            "fn_weight": self.fn_weight,
            "per_image": self.per_image,
        }
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="seglab")
class Dice(Tversky):
    r"""One minus the Dice coefficient, with probabilities in place of decisions.

    The usual loss where objects are small: to leave out a class costs the same,
    however few its pixels. Often added to cross-entropy, which also looks at each
    pixel: ``CrossEntropy() + Dice()``.

    Parameters
    ----------
    ignore_index : int, optional
        Pixels with this label are in none of the sums.
    per_image : bool, default False
        Sum in each image alone, and average over the images that have a pixel that
        counts. By default, sum over the batch; see `Tversky`.
    name : str, default "dice"
        Shown by Keras.

    Notes
    -----
    With the softmax :math:`p` of the scores and the one-hot truth :math:`t`, summed
    over the pixels that count,

    .. math::
       L = \frac{1}{|P|} \sum_{k \in P} \left(1 - \frac{2 \sum_i p_{ik} t_{ik}}
           {\sum_i p_{ik} + \sum_i t_{ik}}\right),

    with :math:`P` the classes that the truth has: ``Tversky(0.5, 0.5)``, where absent
    classes and the missing epsilon are explained. The squares in V-Net's denominator
    are left out, as in most code.

    Source
    ------
    Milletari, Navab and Ahmadi, "V-Net: Fully Convolutional Neural Networks for
    Volumetric Medical Image Segmentation", 3DV 2016, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.array([[[0, 1]]])
    >>> logits = np.zeros((1, 1, 2, 2), "float32")  # undecided
    >>> float(Dice()(truth, logits))
    0.5
    """

    def __init__(
        self,
        *,
        ignore_index: int | None = None,
        per_image: bool = False,
        name: str = "dice",
    ) -> None:
        super().__init__(
            0.5, 0.5, ignore_index=ignore_index, per_image=per_image, name=name
        )

    def get_config(self) -> dict[str, Any]:
        """Give what rebuilds the loss from a file."""
        config = super().get_config()
        del config["fp_weight"], config["fn_weight"]
        return config
