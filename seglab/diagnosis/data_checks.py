"""What can be wrong with images and masks before any training.

Each check takes the parts of a data set as plain arrays, since a mistake is made where
arrays are made: in the reader's own pipeline, which knows nothing of `seglab.data`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglab.diagnosis.findings import Finding

RARE = 0.01
"""Share of the pixels below which a class is called rare."""

BETWEEN = 0.5
"""Share of a class that lies on lines between a lower and a higher class, from which on
these lines look like the work of an interpolation."""

ALIKE = 0.998
"""Correlation of two images, shrunk to `THUMB`, from which they are near-duplicates."""

THUMB = 12
"""Pixels of a side of what images are compared by."""

SHIFT = 3.0
"""Standard deviations, of the images of the training part, by which another part's mean
value may differ from theirs."""


@dataclass(frozen=True)
class Part:
    """Images (N, H, W, C) and masks (N, H, W) of a part, of whatever type."""

    images: Any
    masks: Any

    def __len__(self) -> int:
        return len(self.masks)


@dataclass(frozen=True)
class Data:
    """The parts of a data set, and what its labels should be."""

    parts: Mapping[str, Part]
    num_classes: int
    ignore_index: int | None
    names: tuple[str, ...]

    def name(self, k: int) -> str:
        """Name a class for people."""
        return f"{k} ({self.names[k]})" if k < len(self.names) else str(k)


def check_labels(data: Data) -> Iterator[Finding]:
    """Compare the labels of the masks with the classes."""
    for where, part in data.parts.items():
        masks = np.asarray(part.masks)
        if masks.dtype.kind == "f" and (masks != np.floor(masks)).any():
            wrong = masks[masks != np.floor(masks)]
            yield Finding(
                *("error", "labels"),
                f"the {where} masks hold fractions, such as {wrong.flat[0]:.3g}, in "
                f"{wrong.size / masks.size:.1%} of the pixels.",
                "Masks hold class numbers: resize them with nearest neighbor, and do "
                "not divide them by 255.",
            )
            continue
        found = np.unique(masks)
        allowed = [*range(data.num_classes)]
        if data.ignore_index is not None:
            allowed.append(data.ignore_index)
        strange = [int(value) for value in found if value not in allowed]
        if strange:
            share = np.isin(masks, strange).mean()
            yield Finding(
                *("error", "labels"),
                f"the {where} masks hold {_few(strange)} ({share:.1%}); the classes "
                f"are 0 to {data.num_classes - 1}"
                + (
                    f", and {data.ignore_index} is ignored."
                    if data.ignore_index is not None
                    else "."
                ),
                "Set 255 to 1: masks = (masks > 127).astype('int32')."
                if set(found.tolist()) <= {0, 255}
                else "Give the network a class for each, map them to classes, or name "
                "the label that is to be ignored.",
            )


def check_classes(data: Data) -> Iterator[Finding]:
    """Look for classes that do not occur, and for rare ones."""
    shares = {where: _shares(data, part) for where, part in data.parts.items()}
    train = shares.get("train")
    if train is None:
        return
    for k, share in enumerate(train):
        if share == 0:
            elsewhere = [w for w, found in shares.items() if found[k] > 0]
            yield Finding(
                "error" if elsewhere else "warning",
                "classes",
                f"class {data.name(k)} does not occur in the training masks"
                + (f", but in those of {', '.join(elsewhere)}." if elsewhere else "."),
                "Split anew so that each class is in each part, or leave the class out."
                if elsewhere
                else "Leave the class out: num_classes counts it, and its IoU is 0/0.",
            )
        elif share < RARE:
            yield Finding(
                *("note", "classes"),
                f"class {data.name(k)} has {share:.2%} of the training pixels: a "
                "network may leave it out at little cost.",
                "Watch the IoU of each class. Then try class weights, "
                'sampling="balanced" or a Dice term.',
            )


def check_interpolation(data: Data) -> Iterator[Finding]:
    """Look for classes that lie on the lines between a lower and a higher one.

    Halfway between the classes 0 and 2, an interpolation puts a line of class 1.
    """
    for where, part in data.parts.items():
        masks = np.asarray(part.masks)
        if masks.dtype.kind not in "iu" or min(masks.shape[1:]) < 3:
            continue
        inner = masks[:, 1:-1, 1:-1]
        sides = (
            (masks[:, 1:-1, :-2], masks[:, 1:-1, 2:]),
            (masks[:, :-2, 1:-1], masks[:, 2:, 1:-1]),
        )
        between = np.zeros(inner.shape, bool)
        for one, other in sides:
            between |= (np.minimum(one, other) < inner) & (
                inner < np.maximum(one, other)
            )
        for k in range(1, data.num_classes - 1):
            of_class = inner == k
            if of_class.sum() and between[of_class].mean() > BETWEEN:
                yield Finding(
                    *("warning", "interpolation"),
                    f"{between[of_class].mean():.0%} of class {data.name(k)} in the "
                    f"{where} masks lie on lines between a lower and a higher class, "
                    "as they do after masks were interpolated.",
                    "Resize and turn masks with nearest neighbor (order=0), images as "
                    "you like.",
                )


def check_images(data: Data) -> Iterator[Finding]:
    """Look for values that no network should be given."""
    means = {}
    for where, part in data.parts.items():
        images = np.asarray(part.images)
        numbers = images.reshape(len(images), -1).astype(np.float64)
        if not np.isfinite(numbers).all():
            bad = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
            yield Finding(
                *("error", "images"),
                f"{len(bad)} of the {where} images hold NaN or infinity, the first at "
                f"index {bad[0]}.",
                "Mend or leave them out: one NaN makes all weights NaN.",
            )
            continue
        means[where] = numbers.mean(axis=1)
        low, high = numbers.min(), numbers.max()
        if high > 2 or low < -5:
            yield Finding(
                *("error", "images"),
                f"the {where} images go from {low:.3g} to {high:.3g}; networks are "
                "initialized for values near 0 to 1.",
                "Divide bytes by 255: images.astype('float32') / 255.",
            )
        elif high < 0.02 and high > low:
            yield Finding(
                *("error", "images"),
                f"the {where} images go from {low:.3g} to {high:.3g}: were they "
                "divided by 255 twice?",
                "Divide once, where they are read.",
            )
        flat = np.flatnonzero(np.ptp(numbers, axis=1) == 0)
        if len(flat):
            yield Finding(
                *("warning", "images"),
                f"{len(flat)} of the {where} images have one value everywhere, the "
                f"first at index {flat[0]}.",
                "Look at them: was a file read wrongly?",
            )
    if "train" in means and len(means["train"]) > 1:
        center, spread = means["train"].mean(), max(means["train"].std(), 1e-3)
        for where, found in means.items():
            away = abs(found.mean() - center) / spread
            if where != "train" and away > SHIFT:
                yield Finding(
                    *("error", "images"),
                    f"the {where} images have the mean {found.mean():.3g}, those of "
                    f"training {center:.3g} with a deviation of {spread:.2g} from "
                    "image to image.",
                    "Prepare all parts in the same way: the same function, called in "
                    "one place.",
                )


def check_overlap(data: Data) -> Iterator[Finding]:
    """Look for images that stand in two parts, or nearly the same ones.

    Near-duplicates are found by their correlation after they were shrunk: neighboring
    frames, the same image stored twice. Crops that overlap by a half are not.
    """
    where_of: dict[str, dict[str, int]] = defaultdict(dict)
    thumbs = {}
    for where, part in data.parts.items():
        images = np.asarray(part.images)
        for i, image in enumerate(images):
            digest = hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
            where_of[digest].setdefault(where, i)
        thumbs[where] = _thumbs(images)
    twice = [found for found in where_of.values() if len(found) > 1]
    if twice:
        example = " and ".join(f"{w} {i}" for w, i in twice[0].items())
        yield Finding(
            *("error", "overlap"),
            f"{_images(len(twice))} in more than one part, such as {example}.",
            "Split by source image, and remove copies before you split.",
        )
    exact = {(w, i) for found in twice for w, i in found.items()}
    names = [where for where in thumbs if where != "train"]
    if "train" not in thumbs or not names:
        return
    close = []
    for where in names:
        likeness = thumbs[where] @ thumbs["train"].T  # (N, N_train)
        for i, j in np.argwhere(likeness > ALIKE):
            if (where, int(i)) not in exact:
                close.append((where, int(i), int(j)))
    if close:
        where, i, j = close[0]
        count = len({(w, i) for w, i, _ in close})
        yield Finding(
            *("warning", "overlap"),
            f"{_images(count)} in {' or '.join(names)} nearly the same as in training, "
            f"such as {where} {i} and train {j}.",
            "Keep what belongs together (a patient, a slide, a film) in one part.",
        )


def _shares(data: Data, part: Part) -> NDArray[np.float64]:
    masks = np.asarray(part.masks)
    counts = np.array([(masks == k).sum() for k in range(data.num_classes)], np.float64)
    shares: NDArray[np.float64] = counts / max(1.0, counts.sum())
    return shares


def _thumbs(images: NDArray[Any]) -> NDArray[np.float64]:
    """Shrink images (N, H, W, C) to vectors of length 1 and mean 0: (N, THUMB ** 2).

    What hardly varies is no evidence of likeness: it gives zeros.
    """
    gray = np.nan_to_num(np.asarray(images, np.float64)).mean(axis=-1)  # (N, H, W)
    starts = [np.arange(min(n, THUMB)) * n // min(n, THUMB) for n in gray.shape[1:]]
    sums = np.add.reduceat(np.add.reduceat(gray, starts[0], 1), starts[1], 2)
    sides = [
        np.diff(np.append(s, n)) for s, n in zip(starts, gray.shape[1:], strict=True)
    ]
    small = (sums / np.outer(*sides)).reshape(len(gray), -1)
    centered = small - small.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centered, axis=1, keepdims=True)
    least = 0.05 * np.abs(small).max(axis=1, keepdims=True) * small.shape[1] ** 0.5
    thumbs: NDArray[np.float64] = centered / np.maximum(length, 1e-12)
    thumbs[(length <= least).ravel()] = 0
    return thumbs


def _images(count: int) -> str:
    return f"{count} image{' is' if count == 1 else 's are'}"


def _few(values: list[int]) -> str:
    shown = ", ".join(map(str, values[:5]))
    return shown if len(values) <= 5 else f"{shown}, … ({len(values)} values)"


CHECKS = {
    "labels": check_labels,
    "classes": check_classes,
    "interpolation": check_interpolation,
    "images": check_images,
    "overlap": check_overlap,
}
