"""``seglab data``: what data sets there are, what is in one, and a copy to keep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from seglab.cli import options
from seglab.cli.errors import out, refuse_to_overwrite

if TYPE_CHECKING:
    from seglab.cli.run import Recipe
    from seglab.data import Dataset
    from seglab.plots import Figure

app = typer.Typer(
    no_args_is_help=True, help="List, look at and export data sets: simulated or real."
)

SHEET = 12
"""Images on a contact sheet: four rows of three."""


@app.command("list")
def list_sets() -> None:
    """List the named data sets, and say which are on this machine."""
    from seglab.data import cards, find

    table = Table(box=None, pad_edge=False)
    for head in ("name", "what", "images", "here"):
        table.add_column(head, overflow="fold")
    for card in cards():
        here = "needs no file"
        if card.kind == "archive":
            here = "yes" if find(card.name) else "no"
        table.add_row(card.name, Text(card.title), Text(card.images), Text(here))
    out.print(table)
    out.print(
        "\nYour own images: give the path of a folder or zip with images/, masks/."
    )
    out.print("Where archives are looked for: seglab doctor.")


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME_OR_PATH", help=options.DATA_HELP)
    ],
    png: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a contact sheet: images with their masks."
        ),
    ] = None,
    count: options.Count = None,
    size: options.Size = None,
    seed: options.Seed = 0,
    difficulty: options.Difficulty = None,
    contrast: options.Contrast = False,
    where: options.Where = None,
    merge: options.Merge = None,
    ignore: options.Ignore = None,
    force: options.Force = False,
) -> None:
    """Show what is in a data set: splits, classes, their shares, licence, columns."""
    if png is not None:
        refuse_to_overwrite(png, force)
    dataset = recipe(
        name, count, size, seed, difficulty, contrast, where, merge, ignore
    ).load()
    out.print(Text(repr(dataset)))
    for key in ("title", "licence", "source", "attribution", "notes"):
        if value := getattr(dataset, key):
            out.print(Text.assemble((f"{key}: ", "bold"), value))
    for column, values in dataset.train.columns.items():
        found = sorted(set(values.tolist()), key=str)
        listed = ", ".join(map(str, found))
        if len(found) > 8:
            listed = f"{len(found)} different values, such as {found[0]}"
        out.print(Text.assemble((f"column {column}: ", "bold"), listed))
    if png is not None:
        from seglab.plots import alt_text

        figure = contact_sheet(dataset)
        save_figure(figure, png)
        out.print(Text(f"Wrote {png}. {alt_text(figure)}"))


@app.command()
def export(
    name: Annotated[
        str, typer.Argument(metavar="NAME_OR_PATH", help=options.DATA_HELP)
    ],
    path: Annotated[
        Path, typer.Argument(help="Folder to make, or a file that ends in .zip.")
    ],
    count: options.Count = None,
    size: options.Size = None,
    seed: options.Seed = 0,
    difficulty: options.Difficulty = None,
    contrast: options.Contrast = False,
    where: options.Where = None,
    merge: options.Merge = None,
    ignore: options.Ignore = None,
) -> None:
    """Write a data set to disk, as images/ and masks/: to look at, label or share."""
    from seglab.data import save

    dataset = recipe(
        name, count, size, seed, difficulty, contrast, where, merge, ignore
    ).load()
    written = save(dataset, path)
    out.print(
        Text(
            f"Wrote {sum(map(len, dataset.splits().values()))} images and masks "
            f"to {written}."
        )
    )


def recipe(
    name: str,
    count: int | None,
    size: str | None,
    seed: int,
    difficulty: float | None,
    contrast: bool,
    where: list[str] | None,
    merge: list[str] | None,
    ignore: list[str] | None,
) -> Recipe:
    """Collect the data options of a command."""
    from seglab.cli.run import Recipe

    kept: dict[str, list[str]] = {}
    for column, value in options.parse_pairs(where, "--where"):
        kept.setdefault(column, []).append(value)
    merged: dict[str, str | None] = dict(options.parse_pairs(merge, "--merge"))
    merged |= dict.fromkeys(ignore or ())
    return Recipe(
        data=name,
        count=count,
        size=options.parse_size(size),
        seed=seed,
        difficulty=difficulty,
        where=kept,
        merge=merged,
        contrast=contrast,
    )


def contact_sheet(dataset: Dataset) -> Figure:
    """Draw training images, evenly chosen, with their masks laid over them."""
    import numpy as np

    from seglab import plots

    count = len(dataset.train)
    part = dataset.train[np.linspace(0, count - 1, min(count, SHEET)).astype(int)]
    return plots.show(
        part.images,
        part.masks,
        titles=part.names or None,
        classes=dataset.classes,
        ignore_index=dataset.ignore_index,
    )


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, with its description in the file."""
    from seglab.plots import alt_text

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(
        path, format="png", dpi=150, metadata={"Description": alt_text(figure)}
    )
