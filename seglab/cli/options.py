"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from seglab.cli.errors import CommandError

DATA_HELP = (
    "A data set's name (see: seglab data list), or the path of a folder or zip with "
    "images/ and masks/."
)

Count = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Number of images, over all splits.", show_default="all"
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="N or HxW",
        help="Make or resize images to this size in pixels.",
        show_default="as it is; 64 if simulated",
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of everything random.")]
Difficulty = Annotated[
    float | None,
    typer.Option(metavar="0-1", help="Difficulty of simulated images."),
]
Contrast = Annotated[
    bool,
    typer.Option(
        "--contrast/--no-contrast",
        help="Stretch each image's contrast first: for micrographs of any exposure.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=VALUE",
        help="Keep images with this value in index.csv. Several columns must all "
        "agree; of several values of one column, any.",
    ),
]
Merge = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CLASS=CLASS", help="Merge the first class into the second. Repeatable."
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CLASS", help="Leave a class out of loss and metrics. Repeatable."
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Overwrite what is there already.")
]


def parse_size(text: str | None) -> int | tuple[int, int] | None:
    """Read ``"64"`` or ``"64x96"`` (height x width).

    Examples
    --------
    >>> parse_size("64"), parse_size("64x96")
    (64, (64, 96))
    """
    if text is None:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) > 2 or not all(part.strip().isdigit() for part in parts):
        raise CommandError(
            f"--size is {text!r}; give a side in pixels, such as 64, or "
            "HEIGHTxWIDTH, such as 64x96."
        )
    numbers = [int(part) for part in parts]
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def parse_pairs(texts: Sequence[str] | None, option: str) -> list[tuple[str, str]]:
    """Read ``["column=value"]``.

    Examples
    --------
    >>> parse_pairs(["modality=fluorescence"], "--where")
    [('modality', 'fluorescence')]
    """
    pairs = []
    for text in texts or ():
        left, sign, right = (part.strip() for part in text.partition("="))
        if not (left and sign and right):
            raise CommandError(
                f"{option} is {text!r}; it has the form NAME=VALUE, such as "
                f"{option} {'boundary=nucleus' if option == '--merge' else 'a=b'}."
            )
        pairs.append((left, right))
    return pairs
