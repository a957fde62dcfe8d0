"""``seglab evaluate``: how good a trained model is, class by class."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from seglab.cli import options
from seglab.cli.errors import CommandError, out, refuse_to_overwrite

if TYPE_CHECKING:
    from seglab.cli.run import Recipe, Run


class Part(StrEnum):
    """The three splits."""

    train = "train"
    val = "val"
    test = "test"


def evaluate(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder that seglab train made.")
    ],
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]",
            help="Another data set with the same classes; by default the run's own.",
        ),
    ] = None,
    split: Annotated[Part, typer.Option(help="Which images to evaluate on.")] = (
        Part.test
    ),
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as JSON.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table as CSV.")
    ] = None,
    count: options.Count = None,
    size: options.Size = None,
    where: options.Where = None,
    merge: options.Merge = None,
    ignore: options.Ignore = None,
    force: options.Force = False,
) -> None:
    """Evaluate a run: IoU, Dice, precision and recall of every class.

    On the run's own data, all options of its training apply. On other data, its
    preprocessing applies, and the options given here.
    """
    from seglab.cli.run import Run

    trained = Run.read(run)
    for path in (json, csv):
        if path is not None:
            refuse_to_overwrite(path, force)
    given = (count, size, where, merge, ignore)
    if data is None:
        if any(given):
            raise CommandError(
                "--count, --size, --where, --merge and --ignore are for other DATA; "
                "on the run's own data those of its training apply."
            )
        recipe = trained.recipe
    else:
        recipe = _for_other_data(trained, data, *given)
    dataset = recipe.load()
    if dataset.classes != trained.classes:
        raise CommandError(
            f"the run knows the classes {', '.join(trained.classes)}, and the data "
            f"have {', '.join(dataset.classes)}. --merge and --ignore can make them "
            "the same."
        )
    if dataset.image_shape[-1] != trained.channels:
        raise CommandError(
            f"the run was trained on images of {trained.channels} channels, and these "
            f"have {dataset.image_shape[-1]}."
        )
    from seglab import training

    report = training.evaluate(trained.load_model(), dataset.splits()[split.value])
    report = replace(report, title=f"{run} on {Path(recipe.data).name}, {split.value}")
    out.print(report)
    for path, write in ((json, report.to_json), (csv, report.to_csv)):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
            out.print(Text(f"Wrote {path}."))


def _for_other_data(
    trained: Run,
    data: str,
    count: int | None,
    size: str | None,
    where: list[str] | None,
    merge: list[str] | None,
    ignore: list[str] | None,
) -> Recipe:
    """Combine the run's preprocessing with the options for other data."""
    from seglab.cli.data import recipe as make_recipe

    run_recipe = trained.recipe
    recipe = make_recipe(
        data,
        count,
        size,
        run_recipe.seed,
        None,
        run_recipe.contrast,
        where,
        merge,
        ignore,
    )
    if recipe.size is None and trained.scale != (1, 1):  # training resized, too
        recipe = replace(recipe, size=run_recipe.size)
    return recipe
