"""``seglab evidence``: the book's experiments, their rows, and the verdicts."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from seglab.cli.errors import CommandError, out
from seglab.cli.options import parse_pairs

if TYPE_CHECKING:
    from seglab.evidence import Experiment
    from seglab.evidence.experiment import Level

app = typer.Typer(
    no_args_is_help=True, help="The book's experiments: run them, and judge the rows."
)

OTHER_RULES = "Some rows were measured before the rules were what they are now."

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="An experiment: see seglab evidence list.")
]
Folder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Where the rows are or will be.", show_default="the book's"
    ),
]

Scale = Annotated[
    str,
    typer.Option(
        metavar="book|full",
        help="The book's grid, or the larger one, for a GPU or many cores.",
    ),
]


def _get(name: str, scale: str) -> Experiment:
    """Load an experiment of the book, at a scale."""
    from seglab.evidence import catalog

    if scale not in ("book", "full"):
        raise CommandError(f"--scale is {scale!r}; it is book or full.")
    experiment = catalog.get(name)
    return experiment.at_full_scale() if scale == "full" else experiment


@app.command("list")
def list_experiments(folder: Folder = None) -> None:
    """List the experiments, and how many of their cells have been measured."""
    from seglab.evidence import catalog, status

    table = Table(box=None, pad_edge=False)
    for head in ("name", "question", "cells"):
        table.add_column(head, overflow="fold")
    for name in catalog.names():
        experiment = catalog.get(name)
        now = status(experiment, folder)
        table.add_row(name, experiment.question, f"{now.done} of {now.total}")
    out.print(table)


@app.command("status")
def show_status(name: Name, folder: Folder = None, scale: Scale = "book") -> None:
    """Show an experiment's grid, how much of it is measured, and the time left."""
    from seglab.evidence import status
    from seglab.evidence.runner import duration

    experiment = _get(name, scale)
    now = status(experiment, folder)
    out.print(Text(experiment.question))
    for factor, levels in experiment.factors.items():
        out.print(Text(f"  {factor}: {', '.join(map(str, levels))}"))
    out.print(Text(f"  seeds: {', '.join(map(str, experiment.seeds))}"))
    left = now.total - now.done
    known = now.done and left
    time = f", about {duration(now.seconds)} in one process" if known else ""
    out.print(
        f"{now.done} of {now.total} cells are measured; {left} are missing{time}."
    )
    if now.stale:
        out.print(
            f"{now.stale} rows were measured by another definition and do not count."
        )
    if now.other_rules:
        out.print(OTHER_RULES)


@app.command("run")
def run_experiment(
    name: Name,
    folder: Folder = None,
    scale: Scale = "book",
    jobs: Annotated[
        int,
        typer.Option(
            metavar="N", help="Processes, each with its share of the cores; -1: all."
        ),
    ] = 1,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FACTOR=LEVEL", help="Measure these cells only. Repeatable."
        ),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Send the cells to the Dask scheduler there."
        ),
    ] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="Print a line for each finished cell.")
    ] = False,
) -> None:
    """Measure the cells that have no row yet. Interrupt it at any time; it goes on."""
    from contextlib import ExitStack

    from joblib import parallel_config

    from seglab.evidence import run

    experiment = _get(name, scale)
    chosen = _parse_levels(only or [], experiment)
    with ExitStack() as stack:
        workers: int | None = jobs
        if dask is not None:
            stack.enter_context(_client(dask))
            stack.enter_context(parallel_config(backend="dask"))
            workers = None
        results = run(
            experiment,
            folder,
            jobs=workers,
            only=chosen,
            progress="lines" if lines else True,
        )
    out.print(f"{len(results)} of {len(list(experiment.cells()))} cells are measured.")


@app.command("verdict")
def show_verdicts(name: Name, folder: Folder = None, scale: Scale = "book") -> None:
    """Judge the rows by the rules that were stated before there were any."""
    from seglab.evidence import read, verdicts
    from seglab.evidence.runner import under_other_rules

    experiment = _get(name, scale)
    results = read(experiment, folder)
    if not experiment.rules:
        out.print(f"{name} has no rules: its rows are drawn, not judged.")
    for verdict in verdicts(experiment, results):
        out.print(Text(str(verdict)))
    if under_other_rules(experiment, results):
        out.print(OTHER_RULES)


@app.command("check")
def check_rows(
    name: Name,
    folder: Folder = None,
    count: Annotated[int, typer.Option(metavar="N", help="Rows to draw.")] = 3,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the draw.")] = 0,
    longest: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Leave out rows that took longer."),
    ] = None,
    scale: Scale = "book",
) -> None:
    """Measure a random sample of the rows again; exit code 1 if one does not repeat."""
    from seglab.evidence import check

    experiment = _get(name, scale)
    reruns = check(experiment, folder, count=count, seed=seed, longest=longest)
    for rerun in reruns:
        out.print(Text(str(rerun)))
    if any(rerun.failed for rerun in reruns):
        raise typer.Exit(1)


def _parse_levels(pairs: list[str], experiment: Experiment) -> dict[str, Level]:
    """Turn FACTOR=LEVEL into levels of the grid, which may be numbers."""
    from seglab.evidence.experiment import spell

    levels: dict[str, Level] = {}
    for factor, text in parse_pairs(pairs, "--only"):
        known = {**experiment.factors, "seed": tuple(experiment.seeds)}.get(factor)
        if known is None:
            raise CommandError(
                f"--only {factor}={text}: there is no such factor; there is "
                f"{', '.join(experiment.factors)}, seed."
            )
        found = [level for level in known if spell(level) == text]
        if not found:
            raise CommandError(
                f"--only {factor}={text}: {factor} is one of "
                f"{', '.join(map(spell, known))}."
            )
        levels[factor] = found[0]
    return levels


def _client(address: str) -> AbstractContextManager[Any]:
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise CommandError(
            "--dask needs the package distributed: pip install 'seglab[cluster]'."
        ) from None
    client: AbstractContextManager[Any] = Client(address)  # type: ignore[no-untyped-call]
    return client
