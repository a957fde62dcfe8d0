"""Exercises of the page `2-concepts/evaluation`."""

from seglab.checks.exercise import Exercise

EXERCISES = {
    # Dice of the first prediction; F1 and IoU of the second; where Dice flatters most
    "ex-evaluation-half": Exercise(
        solution=(2 / 3, 2 / 3, 1 / 2, 2**0.5 - 1),
        tolerance=0.005,
        wrong={
            "that is the IoU of the first; Dice is larger": (
                1 / 2,
                2 / 3,
                1 / 2,
                2**0.5 - 1,
            ),
            "that is the plain mean": (
                2 / 3,
                3 / 4,
                1 / 2,
                2**0.5 - 1,
            ),
            "set the derivative of the difference to zero": (
                2 / 3,
                2 / 3,
                1 / 2,
                1 / 2,
            ),
        },
    ),
}
