"""``seglab doctor``: what is installed, where data are, what is wrong with data."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from seglab.cli import options
from seglab.cli.errors import out


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, for a program or a report.")
    ] = False,
    data_of: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="FOLDER",
            help="Look for mistakes in this folder, zip file or named set instead.",
        ),
    ] = None,
    size: options.Size = None,
) -> None:
    """Show versions, the accelerator, and which data sets are on this machine.

    Ends with exit code 1 when the deep-learning backend cannot be used; with --data,
    when there is an error in the data.
    """
    if data_of is not None:
        _look_at(data_of, size, as_json)
        return
    data = find_data()
    from seglab import device

    facts = device.report()
    if as_json:
        typer.echo(json.dumps({**facts, "data": data}, indent=2))
    else:
        _print(facts, data)
    if facts["problem"]:
        raise typer.Exit(1)


def _look_at(name: str, size: str | None, as_json: bool) -> None:
    """Diagnose data; what cannot be loaded says why by itself."""
    from seglab import diagnosis
    from seglab.data import load

    found = diagnosis.diagnose(None, load(name, size=options.parse_size(size)))
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        out.print(found)
    if found.worst == "error":
        raise typer.Exit(1)


def find_data() -> dict[str, Any]:
    """Say where archives are looked for, and which are there; imports no backend."""
    from seglab.data import cards, find, places
    from seglab.data.registry import VARIABLE

    found = {card.name: find(card.name) for card in cards() if card.kind == "archive"}
    return {
        "variable": VARIABLE,
        "set_to": os.environ.get(VARIABLE),
        "folders": [{"path": str(p), "exists": p.is_dir()} for p in places()],
        "no_file_needed": [card.name for card in cards() if card.kind != "archive"],
        "sets": {name: path and str(path) for name, path in found.items()},
    }


def _print(facts: dict[str, Any], data: dict[str, Any]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")

    def row(name: str, value: object) -> None:
        table.add_row(name, Text(str(value)))

    for name in ("seglab", "python", "keras", "numpy", "platform", "cpus"):
        row(name, facts[name])
    row("backend", f"{facts['backend']} {facts['backend_version'] or ''}".strip())
    if facts["problem"]:
        table.add_row("problem", Text(facts["problem"], style="red"))
    else:
        names = ", ".join(facts["accelerators"] or ()) or "none: computing on the CPU"
        row("accelerator", names)
        row("precision", facts["precision"])
        row("compile (XLA)", "yes" if facts["jit_compile"] else "no")
    for number, folder in enumerate(data["folders"]):
        missing = "" if folder["exists"] else "  (no such folder)"
        row("data folders" if number == 0 else "", f"{folder['path']}{missing}")
    if not data["set_to"]:
        row("", f"{data['variable']} is not set")
    for number, (name, path) in enumerate(data["sets"].items()):
        row("data sets" if number == 0 else "", f"{name:8}{path or 'not here'}")
    row("", f"{', '.join(data['no_file_needed'])}: no file needed")
    out.print(table)
