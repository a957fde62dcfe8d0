"""Exercises of the page `6-faq/troubleshooting`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglab.checks.exercise import Exercise


def _contrasts(images: NDArray[Any], masks: NDArray[Any]) -> NDArray[np.float64]:
    """Give, for each image, its mean inside the mask minus its mean outside."""
    found = []
    for image, mask in zip(np.asarray(images), np.asarray(masks) > 0, strict=True):
        gray = np.asarray(image, float).mean(axis=-1)  # (H, W)
        mixed = mask.any() and not mask.all()
        found.append(gray[mask].mean() - gray[~mask].mean() if mixed else np.nan)
    return np.array(found)


def _pooled(images: NDArray[Any], masks: NDArray[Any]) -> NDArray[np.float64]:
    """Take one mean over the pixels of all images."""
    inside = np.asarray(masks) > 0
    gray = np.asarray(images, float).mean(axis=-1)
    return np.full(len(gray), gray[inside].mean() - gray[~inside].mean())


def _against_all(images: NDArray[Any], masks: NDArray[Any]) -> NDArray[np.float64]:
    """Compare the inside with the whole image."""
    gray = np.asarray(images, float).mean(axis=-1)
    pairs = zip(gray, np.asarray(masks) > 0, strict=True)
    return np.array(
        [
            image[mask].mean() - image.mean()
            if mask.any() and not mask.all()
            else np.nan
            for image, mask in pairs
        ]
    )


def _cases(rng: np.random.Generator) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Give two images that differ, then ones with an empty and a full mask."""
    images = np.array([[[0.0, 1.0], [0.0, 1.0]], [[0.5, 0.5], [0.1, 0.3]]])[..., None]
    yield images, np.array([[[0, 1], [0, 1]], [[1, 1], [0, 0]]])
    empty = np.array([[[0, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 1], [1, 1]]])
    yield np.concatenate([images, images[:1]]), empty
    yield rng.random((4, 6, 5, 3)).round(3), rng.integers(0, 3, (4, 6, 5))


EXERCISES = {
    # The symptoms that three logs show, by their numbers on the page.
    "ex-faq-troubleshooting-logs": Exercise(
        solution=(8, 7, 14),
        wrong={
            "a rate that is too small moves the loss, if only a little": (12, 7, 14),
            "a floor that is no entropy and no log K: softmax was taken twice": (
                8,
                13,
                14,
            ),
            "on the same images: no sharing of images explains it": (8, 7, 4),
        },
    ),
    "ex-faq-troubleshooting-contrast": Exercise(
        solution=_contrasts,
        cases=_cases,
        wrong={
            "one number for each image, so that a bad pair can be found": _pooled,
            "compare with the pixels outside, not with all": _against_all,
            "inside minus outside, not the other way round": lambda images, masks: (
                -_contrasts(images, masks)
            ),
            "where nothing is inside, or nothing outside, there is no number: NaN": (
                lambda images, masks: np.nan_to_num(_contrasts(images, masks))
            ),
        },
    ),
}
