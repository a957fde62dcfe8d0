"""Instant checks for the exercises of the book.

Each page has exercises that ask for a function or for a few numbers. `check` tries a
function on cases, from simple to strange, and shows the first at which it fails; of
numbers it says which one is not right.

The exercises of a page are in the module of its name. To add one, write an `Exercise`
under its label into that module's ``EXERCISES``.

Examples
--------
>>> check("ex-evaluation-half", (2 / 3, 2 / 3, ..., ...))
Not yet: value 3 of 4 is still to be filled in.
>>> check("ex-evaluation-half", (2 / 3, 2 / 3, 1 / 2, 0.414))
Right: all 4 values.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from seglab.checks import (
    autoencoder,
    code_autoencoder,
    code_cnn,
    code_comparison,
    code_fcn,
    code_real_images,
    convolution,
    deep_learning,
    dense,
    evaluation,
    families,
    faq_activations,
    faq_batch_size,
    faq_choosing_a_model,
    faq_initialization,
    faq_learning_rate,
    faq_losses,
    faq_optimizers,
    faq_overfitting,
    faq_regularization,
    faq_troubleshooting,
    faq_tuning,
    fcn,
    masks,
    pooling,
    segmentation,
    training,
    upsampling,
)
from seglab.checks.exercise import Exercise, Verdict

__all__ = ["EXERCISES", "Exercise", "Verdict", "check"]

_PAGES = (
    *(deep_learning, segmentation),
    *(masks, families, evaluation),
    *(convolution, pooling, dense, training, fcn, upsampling, autoencoder),
    *(code_cnn, code_fcn, code_autoencoder, code_comparison),
    code_real_images,
    *(faq_choosing_a_model, faq_tuning, faq_overfitting, faq_optimizers, faq_losses),
    *(faq_activations, faq_batch_size, faq_learning_rate, faq_initialization),
    *(faq_regularization, faq_troubleshooting),
)

EXERCISES: dict[str, Exercise] = {
    label: exercise for page in _PAGES for label, exercise in page.EXERCISES.items()
}
"""Every exercise that can be checked, by its label in the book."""


def check(label: str, answer: Any) -> Verdict:
    """Say whether an answer to an exercise of the book is right.

    Parameters
    ----------
    label : str
        The exercise's, as the page gives it: "ex-PAGE-NAME".
    answer : callable or value
        A function, or a number, or a tuple of numbers: what the exercise asks for.

    Returns
    -------
    Verdict
        True if the answer is right. It prints as one line: "Right: ..." or
        "Not yet: ...", with the first case at which a function failed.

    Raises
    ------
    ValueError
        When there is no such exercise.

    Examples
    --------
    >>> check("ex-evaluation-half", (2 / 3, 3 / 5, 1 / 2, 0.414))
    Not yet: value 2 of 4, 0.6, is not right.
    >>> check("ex-evaluation-half", (2 / 3, 3 / 4, 1 / 2, 0.414))
    Not yet: value 2 of 4, 0.75, is not right: that is the plain mean.
    """
    if label not in EXERCISES:
        near = get_close_matches(label, EXERCISES, n=3) or sorted(EXERCISES)
        raise ValueError(
            f"no exercise is called {label!r}; there is {', '.join(near)}."
        )
    return EXERCISES[label].judge(answer)
