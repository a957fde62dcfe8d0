"""Exercises of the page `4-code/real-images`."""

from collections.abc import Iterator

import numpy as np

from seglab.checks.exercise import Exercise


def stretch(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale an image so that two of its percentiles become 0 and 1, and clip it."""
    dark, bright = np.percentile(image, [low, high])
    stretched: np.ndarray = np.clip((image - dark) / (bright - dark), 0, 1)
    return stretched


def stretch_cases(rng: np.random.Generator) -> Iterator[tuple[np.ndarray, float, int]]:
    """Give five values in a row, then images, the last with a hot pixel."""
    yield np.array([[0.2, 0.3, 0.4, 0.5, 0.6]]), 0, 100
    yield np.array([[0.2, 0.3, 0.4, 0.5, 0.6]]), 25, 75
    yield 0.1 + 0.2 * rng.random((8, 8)), 1, 99
    hot = 0.1 + 0.05 * rng.random((8, 8))
    hot[3, 4] = 1
    yield hot, 1, 98


EXERCISES = {
    # where a rare class is predicted that weighs 9; the weight that makes it 1/20
    "ex-code-real-images-threshold": Exercise(
        solution=(1 / 10, 19),
        wrong={
            "the common class has a weight too, 1": (1 / 9, 20),
            "that is where the common class wins": (9 / 10, 1 / 19),
            "without weights it would be one half": (1 / 2, 1),
        },
    ),
    "ex-code-real-images-stretch": Exercise(
        solution=stretch,
        cases=stretch_cases,
        wrong={
            "the lowest and highest value decide, so one hot pixel spoils it": (
                lambda image, low, high: (image - image.min()) / np.ptp(image)
            ),
            "what lies beyond the percentiles is to be clipped": (
                lambda image, low, high: (
                    (image - np.percentile(image, low))
                    / (np.percentile(image, high) - np.percentile(image, low))
                )
            ),
            "the dark end is to become 0": lambda image, low, high: np.clip(
                image / np.percentile(image, high), 0, 1
            ),
            "percentiles go from 0 to 100": lambda image, low, high: np.clip(
                (image - np.quantile(image, low / 1e4))
                / (np.quantile(image, high / 1e4) - np.quantile(image, low / 1e4)),
                0,
                1,
            ),
        },
    ),
}
