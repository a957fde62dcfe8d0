"""Mistakes of the user end in a sentence and exit code 2, not in a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
import typer.core
from rich.console import Console
from rich.text import Text

from seglab.device import BackendError

out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)

MISTAKES = (ValueError, TypeError, OSError, BackendError)
"""What seglab raises when an argument, a file or the installation is not right."""


class CommandError(ValueError):
    """A command was asked for something that it cannot or will not do."""


class FriendlyGroup(typer.core.TyperGroup):
    """Commands whose errors are sentences; ``--debug`` shows the traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, and turn a mistake into a message and exit code 2."""
        try:
            return super().invoke(ctx)
        except MISTAKES as error:
            if ctx.params.get("debug"):
                raise
            show_error(error)
            err.print("seglab --debug … shows where it arose.", style="dim")
            raise typer.Exit(2) from None


def show_error(error: BaseException) -> None:
    """Print an error's message; its text is never taken for markup."""
    err.print(Text.assemble(("Error: ", "bold red"), describe(error)))


def describe(error: BaseException) -> str:
    """Spell an error as a user may read it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}."
    return str(error) or type(error).__name__


def refuse_to_overwrite(path: Path, force: bool) -> None:
    """Raise when a file is there already, unless the user said ``--force``."""
    if path.is_dir():
        raise CommandError(f"{path} is a folder; name a file.")
    if path.exists() and not force:
        raise CommandError(f"{path} exists already; add --force to overwrite it.")
