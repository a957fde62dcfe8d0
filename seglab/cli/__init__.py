"""The ``seglab`` command: look at data, train, evaluate, predict, from a terminal.

Each command imports what it needs when it runs, so that ``seglab --help`` and the
commands about data never wait for a deep-learning backend.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import seglab
from seglab.cli import data, doctor, evaluate, evidence, predict, train
from seglab.cli.errors import FriendlyGroup

app = typer.Typer(
    cls=FriendlyGroup,
    name="seglab",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: seglab doctor, then: seglab train cells --out first-run",
)
app.add_typer(data.app, name="data")
app.add_typer(evidence.app, name="evidence")
app.command("doctor")(doctor.doctor)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(seglab.__version__)
        raise typer.Exit


@app.callback()
def seglab_command(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where in the code an error arose.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Segment images with deep learning: the companion of an open course."""


def main() -> None:
    """Run the ``seglab`` command."""
    # As in the book: the same numbers, and TensorFlow starts without two lines of log
    # that nothing else silences. Set it to 1 for about a quarter less CPU time.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe that cannot write a character (× in ASCII) shows a "?".
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app()
