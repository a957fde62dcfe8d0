"""Measure the cells that have no row yet, in parallel, and store each as it ends."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

import seglab
from seglab import device
from seglab.evidence.experiment import (
    Cell,
    Experiment,
    ExperimentError,
    Level,
    describe,
)
from seglab.evidence.results import Folder, Results, append, path_of, read
from seglab.progress import Mode, show

MEMORY = 4 * 2**30
"""Bytes that a worker may grow by, before joblib replaces it."""


@dataclass(frozen=True)
class Status:
    """How far an experiment is.

    Parameters
    ----------
    done, total : int
        Cells with a row, and cells of the grid.
    stale : int
        Rows that an earlier definition measured: they do not count.
    seconds : float
        What the missing cells will take in one process, by the median of the rows that
        agree with them in the most factors; NaN while there is none.
    other_rules : bool
        Some rows were measured while the rules were others.
    """

    done: int
    total: int
    stale: int
    seconds: float
    other_rules: bool


@dataclass(frozen=True)
class Failure:
    """What went wrong in a cell; an exception itself might not travel."""

    message: str
    trace: str

    def error(self, what: str) -> ExperimentError:
        """Make it an error of this process; its traceback is a note."""
        error = ExperimentError(f"{what}: {self.message}")
        error.add_note(self.trace)
        return error


def run(
    experiment: Experiment,
    folder: Folder | None = None,
    *,
    jobs: int | None = None,
    only: Mapping[str, Level] | None = None,
    progress: Mode = True,
) -> Results:
    """Measure every cell that has no row yet.

    A row is on disk as soon as its cell is done. Interrupt a run, even with kill -9,
    and start it again: it goes on with what is missing.

    Parameters
    ----------
    experiment : Experiment
    folder : path, optional
        Where ``<experiment>.csv`` is or will be; the book's folder if not given.
    jobs : int, optional
        Processes, each with its share of the cores. None: as many as the
        `joblib.parallel_config` around the call says, or 1. So with
        ``joblib.parallel_config(backend="dask")`` the cells go to a Dask cluster.
    only : mapping, optional
        Levels, and ``"seed"``: measure just the cells that have them.
    progress : bool or "lines", default True
        See `seglab.progress.show`.

    Returns
    -------
    Results
        All rows that are there now.

    Raises
    ------
    ExperimentError
        When `only` names no cell; and after all other cells are done and stored, when
        some could not be measured. They have no row: the next run tries them again.
    """
    only = dict(only or {})
    chosen = [
        cell
        for cell in experiment.cells()
        if all(name in cell and cell[name] == level for name, level in only.items())
    ]
    if not chosen:
        raise ExperimentError(
            f"no cell of {experiment.name} has {only}; the factors are "
            f"{ {name: list(levels) for name, levels in experiment.factors.items()} } "
            f"and the seeds {list(experiment.seeds)}."
        )
    missing = _missing(chosen, read(experiment, folder))
    failures: list[tuple[Cell, Failure]] = []
    if missing:
        failures = _measure_all(experiment, folder, missing, jobs, progress)
    if failures:
        cell, failure = failures[0]
        raise failure.error(
            f"{len(failures)} of {len(missing)} cells of {experiment.name} could not "
            f"be measured; the others are in {path_of(experiment, folder)}. The first, "
            f"{describe(cell)}"
        )
    return read(experiment, folder)


def status(experiment: Experiment, folder: Folder | None = None) -> Status:
    """Say how far an experiment is, and how long the rest will take."""
    results = read(experiment, folder)
    cells = list(experiment.cells())
    return Status(
        done=len(results),
        total=len(cells),
        stale=results.stale,
        seconds=float(sum(_expect(cell, results) for cell in _missing(cells, results))),
        other_rules=under_other_rules(experiment, results),
    )


def under_other_rules(experiment: Experiment, results: Results) -> bool:
    """Say whether rows were measured while the rules were others."""
    rules = experiment.rules_digest
    return any(row.provenance["rules"] != rules for row in results)


def _missing(
    cells: Sequence[dict[str, Level]], results: Results
) -> list[dict[str, Level]]:
    """Keep the cells that have no row."""
    there = {describe(row.cell) for row in results}
    return [cell for cell in cells if describe(cell) not in there]


def _expect(cell: Cell, results: Results) -> float:
    """Guess the seconds of a cell from those that are most like it."""
    alike: dict[int, list[float]] = {}
    for row in results:
        same = sum(row.cell[name] == level for name, level in cell.items())
        alike.setdefault(same, []).append(row.seconds)
    return statistics.median(alike[max(alike)]) if alike else float("nan")


def _measure_all(
    experiment: Experiment,
    folder: Folder | None,
    missing: list[dict[str, Level]],
    jobs: int | None,
    progress: Mode,
) -> list[tuple[Cell, Failure]]:
    """Measure cells in parallel and write each row here, in one process."""
    from joblib import Parallel, delayed, effective_n_jobs

    # Rows come in the order in which they end. A worker gets one cell at a time.
    parallel = Parallel(
        n_jobs=jobs,
        return_as="generator_unordered",
        batch_size=1,
        pre_dispatch="n_jobs",
    )
    workers = effective_n_jobs(jobs)
    threads = max(1, device.cpu_count() // workers)
    outcomes = parallel(
        delayed(measure_cell)(experiment, cell, workers, threads) for cell in missing
    )
    failures = []
    started = time.perf_counter()
    with show(progress) as display:
        display.update(0.0, f"0 of {len(missing)} cells: {describe(missing[0])}")
        for done, (cell, outcome) in enumerate(outcomes, start=1):
            if isinstance(outcome, Failure):
                failures.append((cell, outcome))
                result = f"failed: {outcome.message}"
            else:
                append(experiment, folder, outcome)
                result = _summary(experiment, outcome)
            left = (time.perf_counter() - started) / done * (len(missing) - done)
            display.step(
                done / len(missing),
                f"{done} of {len(missing)} cells, {duration(left)} to go. "
                f"{describe(cell)}: {result}",
            )
    return failures


def measure_cell(
    experiment: Experiment, cell: Cell, jobs: int = 1, threads: int | None = None
) -> tuple[Cell, dict[str, Any] | Failure]:
    """Measure one cell, and say where and with what: a row, or what went wrong."""
    if jobs > 1 and threads:
        _limit_threads(threads)
        _keep_worker()
    started, worked = time.perf_counter(), time.process_time()
    try:
        values = dict(experiment.measure(**cell))
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        return cell, Failure(message, traceback.format_exc())
    seconds = time.perf_counter() - started
    cpu_seconds = time.process_time() - worked
    if jobs > 1 and (keras := sys.modules.get("keras")):
        keras.utils.clear_session()  # a worker measures many cells
    if set(values) != set(experiment.metrics):
        message = (
            f"measure gave {sorted(values)}; the metrics are "
            f"{sorted(experiment.metrics)}."
        )
        return cell, Failure(message, "")
    return cell, {
        **cell,
        **values,
        "definition": experiment.definition,
        "rules": experiment.rules_digest,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "finished": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **_surroundings(jobs, threads),
    }


def _limit_threads(threads: int) -> None:
    """Give a worker its share of the cores, before it loads what makes threads."""
    for name in ("OMP_NUM", "MKL_NUM", "OPENBLAS_NUM"):
        os.environ[f"{name}_THREADS"] = str(threads)
    for name in ("INTRAOP", "INTEROP"):
        os.environ[f"TF_NUM_{name}_THREADS"] = str(threads)
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)


def _keep_worker() -> None:
    """Let a worker live on with what it compiled.

    Joblib replaces a worker that has grown by 300 MB, as if it lost memory. One with a
    few compiled networks is larger than that and stays so; each new one would compile
    them again.
    """
    loky = sys.modules.get("joblib.externals.loky.process_executor")
    if loky is not None:  # joblib has no public name for it
        vars(loky).update(_MAX_MEMORY_LEAK_SIZE=MEMORY)


def _surroundings(jobs: int, threads: int | None) -> dict[str, Any]:
    """Say on what machine and with which versions a row was measured.

    Of Keras and its backend only when the cell used them.
    """
    found: dict[str, Any] = {
        "cpu": device.processor(),
        "cores": device.cpu_count(),
        "threads": threads or device.cpu_count(),
        "jobs": jobs,
        "seglab": seglab.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "keras": "",
        "backend": "",
        "backend_version": "",
    }
    if keras := sys.modules.get("keras"):
        found["keras"] = keras.__version__
        found["backend"] = keras.config.backend()
        found["backend_version"] = getattr(
            sys.modules.get(found["backend"]), "__version__", ""
        )
    return found


def _summary(experiment: Experiment, record: Mapping[str, Any]) -> str:
    """Show the first metric that is one number."""
    numbers = (
        f"{name} {record[name]:.3g}"
        for name in experiment.metrics
        if np.ndim(record[name]) == 0
    )
    return f"{next(numbers, 'done')}, {duration(record['seconds'])}"


def duration(seconds: float) -> str:
    """Write a time in the unit that people would use: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
