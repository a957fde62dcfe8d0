"""What is wrong with this training? Checks of data and network: `diagnose`.

Each check looks for one mistake that people make, says what it saw, and what to do.
That nothing is found does not mean that nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seglab.diagnosis import data_checks, model_checks
from seglab.diagnosis.data_checks import Data, Part
from seglab.diagnosis.findings import Diagnosis, Finding

if TYPE_CHECKING:
    import keras

    from seglab.data import Dataset

__all__ = ["Diagnosis", "Finding", "diagnose"]


def diagnose(
    model: keras.Model | None,
    dataset: Dataset | Mapping[str, tuple[Any, Any]],
    *,
    num_classes: int | None = None,
    ignore_index: int | None = None,
    classes: Sequence[str] = (),
) -> Diagnosis:
    """Look for the usual mistakes in a data set and a network.

    Call it before a training, to see whether it can work, and after one that did not.
    Nothing is changed: the few steps that show where the loss goes are undone.

    Parameters
    ----------
    model : keras.Model or None
        Gives (N, H, W, classes). Compiled, its learning rate is checked too. None:
        look at the data alone.
    dataset : Dataset, or mapping of str to (images, masks)
        A data set of `seglab.data`; or the arrays of a pipeline of your own, as they
        are just before they are given to the network: images (N, H, W, C) and masks
        (N, H, W) or (N, H, W, 1), under ``"train"``, ``"val"``, ``"test"``.
    num_classes : int, optional
        Number of classes, when `dataset` is a mapping. By default what `classes` or the
        model's output says, or one more than the largest label.
    ignore_index : int, optional
        The label to be ignored, when `dataset` is a mapping.
    classes : sequence of str, optional
        Their names, when `dataset` is a mapping.

    Returns
    -------
    Diagnosis
        The findings, the worst first.

    Raises
    ------
    TypeError
        When `dataset` is neither, or holds what is no array of numbers.
    ValueError
        When shapes do not fit, a part is empty, or an argument is given that the
        `Dataset` knows already.

    Notes
    -----
    The thresholds are constants of `seglab.diagnosis.data_checks` and
    `seglab.diagnosis.model_checks`, each with its meaning. They are our choice.

    Examples
    --------
    Masks as most programs export them, black and white:

    >>> rng = np.random.default_rng(0)
    >>> images = rng.random((8, 16, 16, 1), np.float32)
    >>> masks = np.zeros((8, 16, 16), np.uint8)
    >>> masks[:, 4:12, 4:12] = 255
    >>> print(diagnose(None, {"train": (images, masks)}, num_classes=2))
    1. error (labels): the train masks hold 255 (25.0%); the classes are 0 to 1.
       Fix: Set 255 to 1: masks = (masks > 127).astype('int32').
    2. warning (classes): class 1 does not occur in the training masks.
       Fix: Leave the class out: num_classes counts it, and its IoU is 0/0.
    From 5 checks: labels, classes, interpolation, images, overlap.
    """
    data = _settle(model, dataset, num_classes, ignore_index, classes)
    findings: list[Finding] = []
    checked = []
    for name, check in data_checks.CHECKS.items():
        findings += check(data)
        checked.append(name)
    if model is not None:
        logits = model_checks.predict(model, data)
        for name, look in model_checks.CHECKS.items():
            findings += look(model, data, logits)
            checked.append(name)
    return Diagnosis.of(findings, checked)


def _settle(
    model: Any,
    dataset: Any,
    num_classes: int | None,
    ignore_index: int | None,
    classes: Sequence[str],
) -> Data:
    """Take the parts and the classes from whatever was given."""
    from seglab.data import Dataset

    if isinstance(dataset, Dataset):
        if num_classes is not None or ignore_index is not None or classes:
            raise ValueError(
                "num_classes, ignore_index and classes are for arrays of your own; the "
                f"data set {dataset.name} knows its {dataset.num_classes} classes."
            )
        parts = {
            name: Part(split.images, split.masks)
            for name, split in dataset.splits().items()
            if len(split)
        }
        return Data(
            parts, dataset.num_classes, dataset.ignore_index, tuple(dataset.classes)
        )
    if not isinstance(dataset, Mapping):
        raise TypeError(
            f"dataset is a {type(dataset).__name__}; expected a seglab.data.Dataset, "
            'or arrays: {"train": (images, masks), "val": (images, masks)}.'
        )
    parts = dict(_parts(dataset))
    if num_classes is None:
        num_classes = len(classes) or _guess(model, parts, ignore_index)
    return Data(parts, num_classes, ignore_index, tuple(classes))


def _parts(dataset: Mapping[str, Any]) -> Iterator[tuple[str, Part]]:
    if not dataset:
        raise ValueError('dataset is empty; expected {"train": (images, masks), ...}.')
    for name, pair in dataset.items():
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(
                f"dataset[{name!r}] is a {type(pair).__name__}; expected the pair "
                "(images, masks)."
            )
        images, masks = map(np.asarray, pair)
        for what, array in (("images", images), ("masks", masks)):
            if array.dtype.kind not in "buif":
                raise TypeError(
                    f"the {what} of {name} have the dtype {array.dtype}; expected an "
                    "array of numbers, all images of one size."
                )
        if images.ndim == 3:
            images = images[..., None]
        if masks.ndim == 4 and masks.shape[-1] == 1:
            masks = masks[..., 0]
        if masks.dtype.kind == "b":
            masks = masks.astype(np.int32)
        if images.ndim != 4 or masks.shape != images.shape[:3] or not masks.size:
            raise ValueError(
                f"{name} has images of shape {images.shape} and masks of shape "
                f"{masks.shape}; expected (N, H, W, C) and (N, H, W), with N > 0."
            )
        yield name, Part(images, masks)


def _guess(model: Any, parts: Mapping[str, Part], ignore_index: int | None) -> int:
    """Take the number of classes from the network, else from the labels."""
    shape = getattr(model, "output_shape", None)
    if shape and len(shape) == 4 and shape[-1]:
        return int(shape[-1])
    largest = 0
    for part in parts.values():
        masks = np.asarray(part.masks)
        kept = masks[masks != ignore_index] if ignore_index is not None else masks
        if kept.size and np.isfinite(kept).all():
            largest = max(largest, int(kept.max()))
    return max(2, largest + 1)
