"""What an exercise asks, and whether an answer is right: `Exercise`, `Verdict`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
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
    wrong : mapping of str to answer, default none
        Answers that people give, under a hint in words that names the mistake and
        not the answer. They must fail, and whoever gives one is told the hint.

    Examples
    --------
    >>> square = Exercise(lambda x: x * x, cases=lambda rng: [(1,), (3,)])
    >>> square.judge(lambda x: 2 * x)
    Not yet: your function gave 2 for (1); expected 1.
    >>> square.judge(lambda x: x**2)
    Right: agrees in 2 cases.
    >>> count = Exercise(solution=(0.5, 3), wrong={"one too many": (0.5, 4)})
    >>> count.judge((0.5, 2))
    Not yet: value 2 of 2, 2, is not right.
    >>> count.judge((0.5, 4))
    Not yet: value 2 of 2, 4, is not right: one too many.
    """

    solution: Any
    cases: Cases | None = None
    tolerance: float = 1e-6
    wrong: Mapping[str, Any] = field(default_factory=dict)

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
                hint = self._hint_for_function(answer, cases)
                return Verdict(False, f"Not yet: {name} raised {where} {text}{hint}.")
            if (why := difference(found, expected, self.tolerance)) is not None:
                hint = self._hint_for_function(answer, cases)
                return Verdict(
                    False, f"Not yet: {name} gave {why[0]} {where}; {why[1]}{hint}."
                )
        return Verdict(True, f"Right: agrees in {count} cases.")

    def _hint_for_function(self, answer: Callable[..., Any], cases: Cases) -> str:
        """Name the mistake if the answer does in all cases as one that is listed."""
        for hint, mistake in self.wrong.items():
            outcomes = [
                (_outcome(answer, arguments), _outcome(mistake, arguments))
                for arguments in cases(np.random.default_rng(0))
            ]
            worked = any(not isinstance(one, type) for one, _ in outcomes)
            if worked and all(self._same(one, other) for one, other in outcomes):
                return f": {hint}"
        return ""

    def _same(self, one: Any, other: Any) -> bool:
        """Compare two outcomes, each a value or the type of an error."""
        if isinstance(one, type) or isinstance(other, type):
            return one is other
        return difference(one, other, self.tolerance) is None

    def _judge_value(self, answer: Any) -> Verdict:
        # What is expected is not said: that would be the solution.
        several = isinstance(self.solution, tuple)
        wanted = self.solution if several else (self.solution,)
        given = answer if several and isinstance(answer, tuple | list) else (answer,)
        if len(given) != len(wanted):
            message = f"Not yet: expected {len(wanted)} values, got {len(given)}."
            return Verdict(False, message)
        for i, (found, expected) in enumerate(zip(given, wanted, strict=True), start=1):
            if found is Ellipsis:
                which = f"value {i} of {len(wanted)}" if several else "the answer"
                return Verdict(False, f"Not yet: {which} is still to be filled in.")
            if difference(found, expected, self.tolerance) is not None:
                which = f"value {i} of {len(wanted)}, " if several else ""
                hint = self._hint_for_value(given, i - 1)
                return Verdict(
                    False,
                    f"Not yet: {which}{show(found)}{',' * several} is not right{hint}.",
                )
        return Verdict(
            True, f"Right: all {len(wanted)} values." if several else "Right."
        )

    def _hint_for_value(self, given: Sequence[Any], i: int) -> str:
        """Name the mistake if the answer, or at least its value i, is one listed."""
        found = ""
        for hint, mistake in self.wrong.items():
            listed = mistake if isinstance(self.solution, tuple) else (mistake,)
            pairs = zip(given, listed, strict=True)
            if all(difference(a, b, self.tolerance) is None for a, b in pairs):
                return f": {hint}"
            if not found and difference(given[i], listed[i], self.tolerance) is None:
                found = f": {hint}"
        return found


def _outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call it; of what it raises, give the type."""
    try:
        return function(*deepcopy(arguments))
    except Exception as error:
        return type(error)


def difference(found: Any, expected: Any, tolerance: float) -> tuple[str, str] | None:
    """Say what was found and what was expected, or None if they agree."""
    if isinstance(expected, tuple):
        if not isinstance(found, tuple | list) or len(found) != len(expected):
            return show(found), f"expected {len(expected)} values"
        for i, (one, other) in enumerate(zip(found, expected, strict=True), start=1):
            if (why := difference(one, other, tolerance)) is not None:
                return f"{why[0]} as value {i}", why[1]
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
