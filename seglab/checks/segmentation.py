"""Exercises of the page `1-background/segmentation`."""

from seglab.checks.exercise import Exercise

EXERCISES = {
    "ex-segmentation-shift": Exercise(
        solution=lambda m: (m - 1) / (m + 1),
        cases=lambda rng: [(m,) for m in (2, 8, 1, 3, 30)],
        wrong={
            "divide by the union, which is larger than one square": lambda m: (
                (m - 1) / m
            ),
            "that union counts the overlap twice": lambda m: m * (m - 1) / (2 * m * m),
        },
    ),
}
