"""Exercises of the page `6-faq/batch-size`."""

from collections.abc import Iterator

import numpy as np

from seglab.checks.exercise import Exercise


def noise_scale(
    small: float, large: float, few: int, many: int, *, power: float = 1.0
) -> float:
    """Give the noise of one image over the gradient, both squared.

    From the mean squared lengths of the gradients of batches of `few` images and of
    `many`, which are the squared gradient plus the noise of one image, squared, divided
    by the images.
    """
    noise = (small - large) / (1 / few**power - 1 / many**power)
    return float(noise / (small - noise / few**power))


def noise_cases(rng: np.random.Generator) -> Iterator[tuple[float, float, int, int]]:
    """Give whole numbers, then more noise, then less, then any."""
    yield 5.0, 2.0, 1, 4
    yield 30.0, 16.0, 2, 32
    yield 1.1, 1.05, 4, 8
    few, more = int(rng.integers(1, 9)), int(rng.integers(2, 9))
    noise, square = rng.uniform(1, 9, size=2)
    many = few * more
    yield float(square + noise / few), float(square + noise / many), few, many


EXERCISES = {
    # steps of an epoch, noise's factor, rates: gradient descent with momentum, Adam
    "ex-faq-batch-size-steps": Exercise(
        solution=(15, 0.5, 0.08, 0.004),
        wrong={
            "larger batches mean fewer steps, not more": (240, 0.5, 0.08, 0.004),
            "an epoch sees each image once": (60, 0.5, 0.08, 0.004),
            "the noise falls with the root of the batch": (15, 0.25, 0.08, 0.004),
            "a larger batch has less noise": (15, 2, 0.08, 0.004),
            "Adam's rule is the one with the root": (15, 0.5, 0.08, 0.008),
            "gradient descent's rule is the linear one": (15, 0.5, 0.04, 0.004),
            "a larger batch stands a larger rate": (15, 0.5, 0.005, 0.001),
        },
    ),
    "ex-faq-batch-size-noise": Exercise(
        solution=noise_scale,
        cases=noise_cases,
        wrong={
            "the squared length of the larger batch's gradient has noise too": (
                lambda small, large, few, many: (small - large) * few / large
            ),
            "the variance falls with the batch, the root is for the noise itself": (
                lambda small, large, few, many: noise_scale(
                    small, large, few, many, power=0.5
                )
            ),
            "noise over gradient, not the other way round": (
                lambda small, large, few, many: 1 / noise_scale(small, large, few, many)
            ),
            "both are squared: the scale is their quotient without a root": (
                lambda small, large, few, many: (
                    noise_scale(small, large, few, many) ** 0.5
                )
            ),
        },
    ),
}
