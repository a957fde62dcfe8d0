"""An experiment: what is varied, what is measured, and how, all said beforehand."""

from __future__ import annotations

import ast
import hashlib
import inspect
import itertools
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seglab.evidence.verdicts import Comparison

Level = str | int | float | bool | None
"""A value of a factor."""

Cell = Mapping[str, Level]
"""One setting: a level for each factor, and the seed under ``"seed"``."""

Value = float | Sequence[float]
"""What a metric of one cell is: a number, or several, such as one for each class."""

_NAME = re.compile(r"[a-z][a-z0-9_-]*")


class ExperimentError(ValueError):
    """An experiment is not well declared, or cells of it could not be measured."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A grid of settings, one function that measures a cell of it, and rules.

    Parameters
    ----------
    name : str
        What its file is called: lower case, digits, hyphens.
    question : str
        What it answers, as a sentence.
    measure : callable
        ``measure(**levels, seed=seed)`` trains, measures, and returns a number (or a
        sequence of numbers) for each metric. It seeds all that it draws. A function at
        the top of a module runs in other processes; so does one from a notebook.
    factors : mapping of str to sequence
        Each factor and its levels: text, numbers, booleans or None.
    metrics : mapping of str to str
        Each metric and what it is, with its unit.
    seeds : sequence of int, default 0 to 4
        Each cell is measured once for each.
    skip : callable, optional
        ``skip(**levels)`` is True for cells that make no sense and are left out.
    rules : sequence of Comparison, default none
        How the rows are judged, stated before there are any.
    tolerance : mapping of str to float, default none
        How far a metric may move when a row is measured again on another machine;
        metrics that are not named, such as times, are not compared.
    full : mapping of str to sequence, default none
        What a larger machine would measure: other levels of factors, and other seeds
        under ``"seed"``. See `at_full_scale`.

    Raises
    ------
    ExperimentError
        When a name, level or rule does not fit.

    Examples
    --------
    >>> e = Experiment(
    ...     name="sum",
    ...     question="Is a sum larger than its parts?",
    ...     measure=lambda a, b, seed: {"sum": a + b},
    ...     factors={"a": (1, 2), "b": (0, 5)},
    ...     metrics={"sum": "a + b"},
    ...     seeds=(0,),
    ... )
    >>> list(e.cells())[1]
    {'a': 1, 'b': 5, 'seed': 0}
    """

    name: str
    question: str
    measure: Callable[..., Mapping[str, Value]]
    factors: Mapping[str, Sequence[Level]]
    metrics: Mapping[str, str]
    seeds: Sequence[int] = range(5)
    skip: Callable[..., bool] | None = None
    rules: Sequence[Comparison] = ()
    tolerance: Mapping[str, float] = field(default_factory=dict)
    full: Mapping[str, Sequence[Level]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ExperimentError(
                f"name is {self.name!r}; it must be lower case letters, digits, "
                "hyphens, and begin with a letter: a file is named after it."
            )
        for kind, names in (("factor", self.factors), ("metric", self.metrics)):
            for name in names:
                if not name.isidentifier() or name in ("seed", *PROVENANCE):
                    raise ExperimentError(
                        f"{kind} {name!r} of {self.name} is no name that a column can "
                        f"have: an identifier, and none of seed, "
                        f"{', '.join(PROVENANCE)}."
                    )
        if both := set(self.factors) & set(self.metrics):
            raise ExperimentError(
                f"{sorted(both)} of {self.name} are both factors and metrics."
            )
        for factor, levels in self.factors.items():
            texts = [spell(level) for level in levels]
            if not texts or len(set(texts)) < len(texts):
                raise ExperimentError(
                    f"factor {factor!r} of {self.name} has the levels {list(levels)}; "
                    "expected one or more, each once."
                )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ExperimentError(
                f"seeds of {self.name} is {list(self.seeds)}; expected one or more, "
                "each once."
            )
        if unknown := set(self.tolerance) - set(self.metrics):
            raise ExperimentError(
                f"tolerance of {self.name} names {sorted(unknown)}; the metrics are "
                f"{list(self.metrics)}."
            )
        if unknown := set(self.full) - {*self.factors, "seed"}:
            raise ExperimentError(
                f"full of {self.name} names {sorted(unknown)}; there is "
                f"{', '.join(self.factors)}, seed."
            )
        for rule in self.rules:
            rule.check(self)

    def at_full_scale(self) -> Experiment:
        """Give the same experiment with the levels and seeds of a larger machine.

        Its rows stand in the same file: those that are there count. The smaller grid
        does not see the others.

        Examples
        --------
        >>> e = Experiment(
        ...     name="sum",
        ...     question="Is a sum larger than its parts?",
        ...     measure=lambda a, seed: {"sum": a},
        ...     factors={"a": (1, 2)},
        ...     metrics={"sum": "a"},
        ...     full={"a": (1, 2, 4), "seed": range(20)},
        ... )
        >>> len(list(e.cells())), len(list(e.at_full_scale().cells()))
        (10, 60)
        """
        levels = {name: self.full.get(name, now) for name, now in self.factors.items()}
        seeds: Any = self.full.get("seed", self.seeds)
        return replace(self, factors=levels, seeds=seeds, full={})

    def cells(self) -> Iterator[dict[str, Level]]:
        """Give every cell: all settings with the first seed, then with the next.

        So what an interrupted run leaves is the whole grid, with fewer seeds.
        """
        for seed in self.seeds:
            for levels in itertools.product(*self.factors.values()):
                cell = dict(zip(self.factors, levels, strict=True))
                if self.skip is None or not self.skip(**cell):
                    yield {**cell, "seed": seed}

    @property
    def definition(self) -> str:
        """Eight hexadecimal digits that change when what a cell measures does.

        They are of the code of `measure` and of what it uses from its own module, and
        from modules beside it in the same package: functions, and constants that are
        numbers, text, tuples or dicts. Not of comments, docstrings and layout, nor of
        the levels and seeds: more of them leave the rows that are there valid.
        """
        parts = [self.name, *self.factors, "", *self.metrics]
        return _digest([*parts, *_code(self.measure)])

    @property
    def rules_digest(self) -> str:
        """Eight hexadecimal digits that change when a rule does."""
        return _digest([repr(rule) for rule in self.rules])


PROVENANCE = (
    *("definition", "rules", "seconds", "cpu_seconds", "finished"),
    *("cpu", "cores", "threads", "jobs"),
    *("seglab", "python", "numpy", "keras", "backend", "backend_version"),
)
"""The columns after factors, seed and metrics: where a row comes from."""


def spell(level: Level) -> str:
    """Write a level as the text of a CSV field."""
    return "" if level is None else str(level)


def describe(cell: Cell) -> str:
    """Write a cell for people: ``model=unet, data=cells, seed 3``."""
    levels = [f"{name}={spell(level)}" for name, level in cell.items()]
    return ", ".join([*levels[:-1], f"seed {cell['seed']}"])


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _code(function: Callable[..., Any]) -> list[str]:
    """Spell a function and all that it uses of its package, in the order of use."""
    home = inspect.getmodule(function)
    waiting: list[Any] = [inspect.unwrap(function)]
    queued = [*waiting]
    found = []

    def beside(value: Any) -> bool:
        """Whether it is of the same module, or of one in the same package."""
        module = inspect.getmodule(value)
        package = getattr(home, "__package__", "")
        return module is home or bool(
            package and module and module.__package__ == package
        )

    def spell_value(value: Any) -> str:
        """Spell a constant; what is code of this package is spelt in its turn."""
        value = inspect.unwrap(value) if callable(value) else value
        if inspect.isfunction(value) or inspect.isclass(value):
            if beside(value) and value not in queued:
                waiting.append(value)
                queued.append(value)
            return value.__qualname__
        if isinstance(value, dict):
            pairs = (f"{key!r}: {spell_value(value[key])}" for key in value)
            return f"{{{', '.join(pairs)}}}"
        if isinstance(value, tuple):
            return f"({', '.join(map(spell_value, value))})"
        if isinstance(value, str | int | float | None):
            return repr(value)
        return ""  # a module, an array, a list that may change while it runs

    while waiting:
        now = waiting.pop(0)
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(now)))
        except (OSError, TypeError, SyntaxError):
            raise ExperimentError(
                f"the source of {now!r} cannot be read, so rows could not say what "
                "measured them. Define it with def, in a file or a notebook."
            ) from None
        found.append(_without_docstrings(tree))
        space = getattr(now, "__globals__", vars(home) if home else {})
        names = [name for name in _names(tree) if name in space]
        found += [f"{name} = {spell_value(space[name])}" for name in names]
    return found


def _names(tree: ast.AST) -> list[str]:
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return list(dict.fromkeys(names))


def _without_docstrings(tree: ast.AST) -> str:
    for node in ast.walk(tree):
        if isinstance(
            node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef
        ) and isinstance(node.body[0], ast.Expr):
            value = node.body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                del node.body[0]
    return _dump(tree)


def _dump(part: Any) -> str:
    """Spell a syntax tree in the same way on every Python, unlike `ast.dump`.

    New versions add fields, which are empty for what older ones can parse.
    """
    if isinstance(part, list):
        return f"[{', '.join(map(_dump, part))}]"
    if not isinstance(part, ast.AST):
        return repr(part)
    fields = (
        f"{name}={_dump(value)}"
        for name, value in ast.iter_fields(part)
        if value is not None and value != []
    )
    return f"{type(part).__name__}({', '.join(fields)})"
