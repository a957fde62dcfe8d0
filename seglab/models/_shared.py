"""What the networks have in common: checks of their arguments, and a constant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

MOMENTUM = 0.9
"""How slowly batch norm's moving averages move. Keras's default, 0.99, needs some
500 steps before the averages have forgotten where they began; trainings of this
course take about 200, and would be judged with the wrong averages."""


def check_arguments(
    input_shape: Sequence[int | None], num_classes: int, **integers: int
) -> None:
    """Check what every network takes.

    Parameters
    ----------
    input_shape : (H, W, C)
        Of an image; H and W may be None.
    num_classes : int
        1 or more.
    **integers : int
        Other arguments, such as the width, that must be 1 or more.

    Raises
    ------
    ValueError
        When one of them is something else.

    Examples
    --------
    >>> check_arguments((None, None, 1), 2, width=0)
    Traceback (most recent call last):
        ...
    ValueError: width is 0; it must be an integer, 1 or more.
    """
    shape = tuple(input_shape)
    if len(shape) != 3:
        raise ValueError(
            f"input_shape is {shape}; it must be (H, W, C), without the "
            "batch axis: for gray images of 64 x 64, (64, 64, 1)."
        )
    height, width, channels = shape
    if channels is None:
        raise ValueError(
            "input_shape has no number of channels; only H and W may be None."
        )
    counts: dict[str, Any] = {
        "the height in input_shape": 1 if height is None else height,
        "the width in input_shape": 1 if width is None else width,
        "the number of channels in input_shape": channels,
        "num_classes": num_classes,
        **integers,
    }
    for name, value in counts.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, np.integer))
            or value < 1
        ):
            raise ValueError(f"{name} is {value!r}; it must be an integer, 1 or more.")


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Check an argument that is one of a few words or numbers.

    Raises
    ------
    ValueError
        When it is none of them.

    Examples
    --------
    >>> check_choice("padding", "SAME", ("same", "valid"))
    Traceback (most recent call last):
        ...
    ValueError: padding is 'SAME'; it must be "same" or "valid".
    """
    if value not in choices:
        spelled = [f'"{c}"' if isinstance(c, str) else str(c) for c in choices]
        raise ValueError(
            f"{name} is {value!r}; it must be "
            f"{', '.join(spelled[:-1])} or {spelled[-1]}."
        )


def check_dropout(dropout: float) -> None:
    """Check the share of the values that is dropped: at least 0, below 1.

    Raises
    ------
    ValueError
        When it is not; NaN is not.
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout!r}; it must be at least 0 and below 1.")
