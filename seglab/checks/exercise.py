"""What an exercise asks, and whether an answer is right: `Exercise`, `Verdict`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

Cases = Callable[[np.random.Generator], Iterable[tuple[Any, ...]]]
"""Gives the arguments with which a function is tried, the simplest first."""

SHORT = 16  # numbers of an array that a message still prints


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and in words why not.

    It is true if it passed, and prints as its message.
    """

    passed: bool
    message: str

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Exercise:
    """A question with its answer: a function and cases to try it on, or a value.

    Parameters
    ----------
    solution : callable or value
        A right answer. A value is a number, a string, an array, or a tuple of these.
    cases : callable, optional
        For a function: ``cases(rng)`` gives the tuples of arguments to try, the
        simplest first, since the first that fails is shown. An answer gets copies.
    tolerance : float, default 1e-6
        How far numbers may lie from the solution's: absolutely, and as a part of it.
    wrong : sequence, default ()
        Answers that people give, which must fail: tested.

    Examples
    --------
    >>> square = Exercise(lambda x: x * x, cases=lambda rng: [(1,), (3,)])
    >>> square.judge(lambda x: 2 * x)
    Not yet: your function gave 2 for (1); expected 1.
    >>> square.judge(lambda x: x**2)
    Right: agrees in 2 cases.
    >>> Exercise(solution=(0.5, 3)).judge((0.5, 4))
    Not yet: value 2 of 2, 4, is not right.
    """

    solution: Any
    cases: Cases | None = None
    tolerance: float = 1e-6
    wrong: tuple[Any, ...] = ()

    def judge(self, answer: Any) -> Verdict:
        """Compare an answer with the solution.

        Parameters
        ----------
        answer : callable or value
            A function where the solution is one. What it raises is part of the
            verdict.

        Returns
        -------
        Verdict
        """
        if self.cases is not None:
            return self._judge_function(answer, self.cases)
        return self._judge_value(answer)

    def _judge_function(self, answer: Any, cases: Cases) -> Verdict:
        if not callable(answer):
            return Verdict(False, f"Not yet: expected a function, got {show(answer)}.")
        name = getattr(answer, "__name__", "<lambda>")
        name = "your function" if name == "<lambda>" else name
        count = 0
        for arguments in cases(np.random.default_rng(0)):
            count += 1
            expected = self.solution(*deepcopy(arguments))
            where = f"for ({', '.join(map(show, arguments))})"
            try:
                found = answer(*deepcopy(arguments))
            except Exception as error:
                text = f"{type(error).__name__}: {error}".rstrip(".: ")
                return Verdict(False, f"Not yet: {name} raised {where} {text}.")
            if (why := difference(found, expected, self.tolerance)) is not None:
                return Verdict(
                    False, f"Not yet: {name} gave {why[0]} {where}; {why[1]}."
                )
        return Verdict(True, f"Right: agrees in {count} cases.")

    def _judge_value(self, answer: Any) -> Verdict:
        # What is expected is not said: that would be the solution.
        several = isinstance(self.solution, tuple)
        wanted = self.solution if several else (self.solution,)
        given = answer if several and isinstance(answer, tuple | list) else (answer,)
        if len(given) != len(wanted):
            message = f"Not yet: expected {len(wanted)} values, got {len(given)}."
            return Verdict(False, message)
        for i, (found, expected) in enumerate(zip(given, wanted, strict=True), start=1):
            if difference(found, expected, self.tolerance) is not None:
                which = f"value {i} of {len(wanted)}, " if several else ""
                message = f"Not yet: {which}{show(found)}{',' * several} is not right."
                return Verdict(False, message)
        return Verdict(
            True, f"Right: all {len(wanted)} values." if several else "Right."
        )


def difference(found: Any, expected: Any, tolerance: float) -> tuple[str, str] | None:
    """Say what was found and what was expected, or None if they agree."""
    if isinstance(expected, tuple):
        if not isinstance(found, tuple | list) or len(found) != len(expected):
            return show(found), f"expected {len(expected)} values"
        for i, (one, other) in enumerate(zip(found, expected, strict=True), start=1):
            if (why := difference(one, other, tolerance)) is not None:
                return f"as value {i} {why[0]}", why[1]
        return None
    if isinstance(expected, str | bool) or expected is None:
        plain = found.item() if isinstance(found, np.generic) else found
        if type(plain) is type(expected) and plain == expected:
            return None
        return show(found), f"expected {show(expected)}"
    try:
        # Also a backend's own tensor becomes an array.
        numbers = np.asarray(found)
        if numbers.dtype.kind not in "biufc":
            raise TypeError
    except (TypeError, ValueError):
        return show(found), f"expected {show(expected)}"
    wanted = np.asarray(expected)
    if numbers.shape != wanted.shape:
        shape = f"expected shape {wanted.shape}" if wanted.ndim else "expected a number"
        what = f"an array of shape {numbers.shape}" if numbers.ndim else show(found)
        return what, shape
    close = np.isclose(numbers, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)
    if close.all():
        return None
    if wanted.size <= SHORT:
        return show(numbers), f"expected {show(wanted)}"
    at = tuple(int(i) for i in np.argwhere(~close)[0])
    index = ", ".join(map(str, at))
    return f"{show(numbers[at])} at [{index}]", f"expected {show(wanted[at])}"


def show(value: Any) -> str:
    """Print a value on one line, an array of many numbers by its shape."""
    if value is Ellipsis:
        return "..."
    if not isinstance(value, np.ndarray | np.generic | float):
        text = repr(value)
        return text if len(text) <= 60 else f"{type(value).__name__}"
    array = np.asarray(value)
    if array.ndim == 0:
        return f"{array:.7g}" if array.dtype.kind == "f" else str(array)
    if array.size > SHORT:
        return f"an array of shape {array.shape}"
    text = np.array2string(array, separator=", ", threshold=SHORT + 1, precision=4)
    return " ".join(text.split())
