"""Show how far a long task is: in a terminal, in a notebook, or not at all.

* In a terminal, one line at the bottom with a bar.
* In a notebook, one output that is updated in place and ends as one line of text. It
  is no widget, and nothing goes to stderr: it stays in the saved notebook, and looks
  the same in JupyterLab, Colab and the book.
* Elsewhere (a script whose output goes to a file), nothing; or a line a step, if
  asked for.
"""

from __future__ import annotations

import html
import sys
import time
from types import TracebackType
from typing import Any, Literal, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

Mode = bool | Literal["lines"]

_INTERVAL = 0.25
"""Seconds between two updates: what an eye can follow, and costs next to nothing."""


class Display:
    """Show nothing: the display of a script, and what the others build on.

    Use it as a context manager, so that the line ends as it should when the task
    fails or is interrupted.

    Examples
    --------
    >>> with show(progress="lines") as display:
    ...     for done in (1, 2):
    ...         display.update(done / 2, f"{done} of 2")
    ...         display.step(done / 2, f"finished {done} of 2")
    finished 1 of 2
    finished 2 of 2
    """

    def __init__(self) -> None:
        self._shown_at = -_INTERVAL

    def due(self) -> bool:
        """Ask whether enough time has passed to draw again.

        Ask this before preparing the text of a fast loop.
        """
        return False

    def update(self, fraction: float, text: str) -> None:
        """Say how far the task is, from 0 to 1, and what goes on; often is fine."""

    def step(self, fraction: float, text: str) -> None:
        """Say that a step is finished: the last one's text is what remains."""

    def close(self) -> None:
        """Leave the last line as it is, for good."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Drawn(Display):
    """What a display that is drawn over and over shares: not too often."""

    def due(self) -> bool:
        return time.perf_counter() - self._shown_at >= _INTERVAL

    def update(self, fraction: float, text: str) -> None:
        if self.due():
            self._shown_at = time.perf_counter()
            self._draw(min(max(fraction, 0.0), 1.0), text)

    def _draw(self, fraction: float, text: str) -> None:
        raise NotImplementedError


class Lines(Display):
    """Print a line for each finished step, for logs."""

    def step(self, fraction: float, text: str) -> None:
        """Print the line now, even into a file."""
        print(text, flush=True)


class Terminal(_Drawn):
    """Draw a bar at the bottom of a terminal; the last line stays."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._progress = Progress(
            BarColumn(bar_width=20),
            TextColumn("{task.description}", markup=False),
            console=console,
            auto_refresh=False,  # drawn when told to: no thread
        )
        self._task = self._progress.add_task("", total=1.0)
        self._progress.start()

    def step(self, fraction: float, text: str) -> None:
        """Put the finished step's text beside the bar."""
        self._progress.update(
            self._task, completed=fraction, description=text, refresh=True
        )

    _draw = step

    def close(self) -> None:
        """Give the terminal back; the last line stays on it."""
        self._progress.stop()


class Notebook(_Drawn):
    """Keep one output of a notebook cell up to date; it ends as one line."""

    def __init__(self) -> None:
        super().__init__()
        from IPython.display import display

        self._line = ""
        self._handle = display(_bundle(""), raw=True, display_id=True)

    def _draw(self, fraction: float, text: str) -> None:
        self._handle.update(_bundle(text, fraction), raw=True)

    def step(self, fraction: float, text: str) -> None:
        """Show the finished step's text without a bar."""
        self._line = text
        self._handle.update(_bundle(text), raw=True)

    def close(self) -> None:
        """Take the bar away, so that the saved notebook holds the last line."""
        self._handle.update(_bundle(self._line), raw=True)


def show(progress: Mode = True) -> Display:
    """Choose the display that fits where the code runs.

    Parameters
    ----------
    progress : bool or "lines", default True
        True: a bar in a terminal, one updated output in a notebook, nothing
        elsewhere. "lines": plain lines of finished steps, anywhere. False: nothing.

    Returns
    -------
    Display

    Raises
    ------
    ValueError
        When `progress` is something else.

    Examples
    --------
    >>> type(show(progress=False)).__name__
    'Display'
    """
    if progress not in (True, False, "lines"):
        raise ValueError(
            f'progress is {progress!r}; it must be True, False or "lines".'
        )
    if progress == "lines":
        return Lines()
    if not progress:
        return Display()
    if _in_notebook():
        return Notebook()
    console = Console()
    return Terminal(console) if console.is_terminal else Display()


def _in_notebook() -> bool:
    """Ask IPython, if the program runs in it, whether a kernel is behind it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


def _bundle(text: str, fraction: float | None = None) -> dict[str, Any]:
    """Give one message for a notebook's two kinds of reader, plain and HTML."""
    bar = "" if fraction is None else _bar(fraction)
    plain = text if fraction is None else f"{fraction:4.0%} {text}"
    return {"text/plain": plain, "text/html": f"<div>{bar}{html.escape(text)}</div>"}


def _bar(fraction: float) -> str:
    return (
        f'<progress value="{fraction:.3f}" max="1" aria-label="progress">'
        f"{fraction:.0%}</progress> "
    )
