"""Measure a random sample of the rows again, and compare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seglab.evidence.experiment import Experiment, ExperimentError, describe
from seglab.evidence.results import Folder, Results, Row, read
from seglab.evidence.runner import Failure, measure_cell
from seglab.progress import Mode, show


@dataclass(frozen=True)
class Rerun:
    """A row, measured again.

    Parameters
    ----------
    row : Row
        As it is stored.
    gaps : dict of str to float
        The largest absolute difference of each metric that has a tolerance.
    failed : tuple of str
        The metrics whose gap exceeds their tolerance.
    """

    row: Row
    gaps: dict[str, float]
    failed: tuple[str, ...]

    def __str__(self) -> str:
        gaps = ", ".join(f"{name} by {gap:.2g}" for name, gap in self.gaps.items())
        word = f"too far: {', '.join(self.failed)}" if self.failed else "as before"
        return f"{describe(self.row.cell)}: moved {gaps}; {word}"


def check(
    experiment: Experiment,
    folder: Folder | None = None,
    *,
    count: int = 3,
    seed: int = 0,
    longest: float | None = None,
    progress: Mode = True,
) -> list[Rerun]:
    """Measure a random sample of an experiment's rows again.

    Parameters
    ----------
    experiment : Experiment
        With a tolerance for each metric that is compared.
    folder : path, optional
        Where its rows are; the book's if not given.
    count : int, default 3
        Rows to draw.
    seed : int, default 0
        Of the draw.
    longest : float, optional
        Leave out rows that took more seconds than this.
    progress : bool or "lines", default True
        See `seglab.progress.show`.

    Returns
    -------
    list of Rerun

    Raises
    ------
    ExperimentError
        When there is no row to draw, no metric to compare, or a cell fails.
    """
    if count < 1:
        raise ValueError(f"count is {count}; it must be 1 or more.")
    if not experiment.tolerance:
        raise ExperimentError(f"{experiment.name} states no tolerance for any metric.")
    rows = _short(read(experiment, folder), longest)
    if not rows:
        raise ExperimentError(
            f"{experiment.name} has no row"
            + (f" of at most {longest:g} s" if longest is not None else "")
            + "; measure some first: seglab evidence run."
        )
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(rows), size=min(count, len(rows)), replace=False)
    reruns = []
    with show(progress) as display:
        for done, index in enumerate(sorted(drawn.tolist())):
            row = rows[index]
            display.update(done / len(drawn), describe(row.cell))
            _, outcome = measure_cell(experiment, row.cell)
            if isinstance(outcome, Failure):
                raise outcome.error(
                    f"{describe(row.cell)} of {experiment.name}, measured again"
                )
            rerun = _compare(experiment, row, outcome)
            reruns.append(rerun)
            display.step((done + 1) / len(drawn), str(rerun))
    return reruns


def _short(results: Results, longest: float | None) -> list[Row]:
    return [row for row in results if longest is None or row.seconds <= longest]


def _compare(experiment: Experiment, row: Row, outcome: dict[str, object]) -> Rerun:
    gaps = {}
    for name in experiment.tolerance:
        old = np.atleast_1d(row.metrics[name])
        new = np.atleast_1d(np.asarray(outcome[name], np.float64))
        same = (old == new) | (np.isnan(old) & np.isnan(new))
        gap = (
            np.where(same, 0.0, np.abs(new - old)) if old.shape == new.shape else np.inf
        )
        gaps[name] = float(np.nan_to_num(np.max(gap), nan=np.inf))
    failed = tuple(n for n, gap in gaps.items() if gap > experiment.tolerance[n])
    return Rerun(row, gaps, failed)
