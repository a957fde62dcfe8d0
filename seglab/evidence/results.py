"""Rows on disk and in memory: one for each cell that was measured."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglab.evidence.experiment import (
    PROVENANCE,
    Experiment,
    ExperimentError,
    Level,
    spell,
)

Folder = str | os.PathLike[str]


@dataclass(frozen=True)
class Row:
    """One cell, measured.

    Parameters
    ----------
    cell : dict
        A level for each factor, and the seed.
    metrics : dict of str to ndarray of float64
        Shape () for a number, (n,) for several.
    provenance : dict of str to str
        Seconds, versions, machine and the definition it was measured by, as text.
    """

    cell: dict[str, Level]
    metrics: dict[str, NDArray[np.float64]]
    provenance: dict[str, str]

    @property
    def seconds(self) -> float:
        """How long the cell took, on the clock."""
        return float(self.provenance["seconds"])


@dataclass(frozen=True)
class Results:
    """The rows of an experiment, to choose from and to draw.

    Parameters
    ----------
    rows : tuple of Row
        Those that the experiment as it is declared now would measure, each cell once.
    stale : int
        Rows in the file that another definition measured; they are not among `rows`.
    """

    rows: tuple[Row, ...]
    stale: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def where(self, **levels: Level) -> Results:
        """Keep the rows that have these levels.

        Raises
        ------
        ValueError
            When there is no such factor.
        """
        for name in levels:
            if self.rows and name not in self.rows[0].cell:
                known = ", ".join(self.rows[0].cell)
                raise ValueError(f"{name!r} is no factor; there is {known}.")
        kept = (
            row
            for row in self.rows
            if all(row.cell[name] == level for name, level in levels.items())
        )
        return Results(tuple(kept), self.stale)

    def values(self, metric: str) -> NDArray[np.float64]:
        """Give a metric of every row, in the order of the rows.

        Returns
        -------
        ndarray of float64, shape (rows,) or (rows, n)

        Raises
        ------
        ValueError
            When there is no such metric.
        """
        if self.rows and metric not in self.rows[0].metrics:
            known = ", ".join(self.rows[0].metrics)
            raise ValueError(f"{metric!r} is no metric; there is {known}.")
        return np.array([row.metrics[metric] for row in self.rows], np.float64)

    def best(self, factor: str, by: str) -> Results:
        """Keep, in each setting of the other factors, the level that does best.

        So each arm of a comparison gets, for instance, the learning rate that suits it.
        Choose by a metric of the *validation* images, and compare by one of the test
        images: of many levels the best is lucky too, on the images it was chosen by.

        Parameters
        ----------
        factor : str
            Whose levels compete.
        by : str
            A metric that is one number: its mean over the seeds is to be high. A level
            with a NaN does worse than any without.

        Returns
        -------
        Results
            Of each setting the rows of one level; the first of equals.

        Raises
        ------
        ValueError
            When there is no such factor or metric.
        """
        self.where(**{factor: None})  # refuses what is no factor
        self.values(by)
        scores: dict[tuple[Any, ...], dict[Level, list[float]]] = {}
        for row in self.rows:
            score = float(row.metrics[by])
            levels = scores.setdefault(_others(row, factor), {})
            levels.setdefault(row.cell[factor], []).append(score)
        chosen = {
            others: max(levels, key=lambda level: _mean(levels[level]))
            for others, levels in scores.items()
        }
        kept = (r for r in self.rows if r.cell[factor] == chosen[_others(r, factor)])
        return Results(tuple(kept), self.stale)

    def levels(self, factor: str) -> tuple[Level, ...]:
        """Give the levels of a factor that have rows, each once, in order."""
        return tuple(dict.fromkeys(row.cell[factor] for row in self.rows))


def _others(row: Row, factor: str) -> tuple[Any, ...]:
    """Give the setting of a row without one factor and the seed."""
    return tuple(v for name, v in row.cell.items() if name not in (factor, "seed"))


def _mean(scores: list[float]) -> float:
    """Average, and put what is not a number last."""
    mean = sum(scores) / len(scores)
    return mean if mean == mean else float("-inf")


def results_folder() -> Path:
    """Find the rows that belong to the book.

    Returns
    -------
    Path
        ``book/evidence`` of the checkout that the package is used from, else the copy
        in the installed package.
    """
    package = Path(__file__).parents[1]
    checkout = package.parent / "book" / "evidence"
    return checkout if checkout.is_dir() else package / "evidence" / "rows"


def path_of(experiment: Experiment, folder: Folder | None) -> Path:
    """Name the file with the rows of an experiment."""
    return Path(folder or results_folder()) / f"{experiment.name}.csv"


def columns_of(experiment: Experiment) -> list[str]:
    """Name the columns of its file, in order."""
    return [*experiment.factors, "seed", *experiment.metrics, *PROVENANCE]


def read(experiment: Experiment, folder: Folder | None = None) -> Results:
    """Read the rows of an experiment.

    Parameters
    ----------
    experiment : Experiment
    folder : path, optional
        Where ``<experiment>.csv`` is; the book's rows if not given.

    Returns
    -------
    Results
        In the order of the grid, whatever the order in which they were measured. A
        cell that stands twice counts once: the first. No row if there is no file.

    Raises
    ------
    ExperimentError
        When the file has other columns, or a row cannot be read.
    """
    path = path_of(experiment, folder)
    if not path.exists():
        return Results(())
    cells = {_key(experiment, cell): cell for cell in experiment.cells()}
    definition = experiment.definition
    found: dict[tuple[str, ...], Row] = {}
    stale = 0
    text = _complete(path.read_text("utf-8"))
    reader = csv.DictReader(io.StringIO(text))
    _check_columns(experiment, path, reader.fieldnames)
    for number, record in enumerate(reader, start=2):
        if record["definition"] != definition:
            stale += 1
            continue
        key = tuple(record[name] for name in (*experiment.factors, "seed"))
        if key not in cells or key in found:
            continue  # a level or seed that is no longer asked for, or a second time
        try:
            metrics = {name: _parse(record[name]) for name in experiment.metrics}
            float(record["seconds"])
        except (TypeError, ValueError) as error:
            raise ExperimentError(
                f"line {number} of {path} cannot be read: {error}"
            ) from None
        provenance = {name: record[name] for name in PROVENANCE}
        found[key] = Row(cells[key], metrics, provenance)
    return Results(tuple(found[key] for key in cells if key in found), stale)


def append(
    experiment: Experiment, folder: Folder | None, record: Mapping[str, Any]
) -> None:
    """Write one row at the end of the file, whole or not at all.

    What a killed writer left of a line is taken away first; what is complete stays.
    """
    path = path_of(experiment, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8", newline="") as file:
        file.seek(0)
        text = file.read()
        whole = _complete(text)
        if whole:
            names = next(csv.reader(io.StringIO(whole)))
            _check_columns(experiment, path, names)
        if len(whole) < len(text):
            file.truncate(len(whole.encode()))
        lines = io.StringIO()
        writer = csv.DictWriter(lines, columns_of(experiment), lineterminator="\n")
        if not whole:
            writer.writeheader()
        writer.writerow(
            {
                # Levels as `read` looks them up: 1.0 is no 1 there.
                name: spell(value) if name in experiment.factors else _spell(value)
                for name, value in record.items()
            }
        )
        file.write(lines.getvalue())
        file.flush()
        os.fsync(file.fileno())


def _key(experiment: Experiment, cell: Mapping[str, Level]) -> tuple[str, ...]:
    """Spell what tells a cell from the others."""
    return tuple(spell(cell[name]) for name in (*experiment.factors, "seed"))


def _complete(text: str) -> str:
    """Leave out a last line that does not end: its writer was killed."""
    return text[: text.rfind("\n") + 1]


def _check_columns(experiment: Experiment, path: Path, names: Any) -> None:
    expected = columns_of(experiment)
    if names is not None and list(names) != expected:
        raise ExperimentError(
            f"{path} has the columns {', '.join(names)}; the experiment now has "
            f"{', '.join(expected)}. Move the file away to start anew."
        )


def _spell(value: Any) -> str:
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return spell(value)
    array = np.atleast_1d(np.asarray(value))
    return " ".join(
        str(number) if isinstance(number, int) else f"{number:.6g}"
        for number in array.tolist()
    )


def _parse(text: str) -> NDArray[np.float64]:
    numbers = np.array([float(part) for part in text.split()], np.float64)
    if not numbers.size:
        raise ValueError("a metric is empty")
    return numbers.reshape(()) if numbers.size == 1 else numbers
