"""What is shown in a terminal, in a notebook and elsewhere."""

import io
import re
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from seglab import progress
from seglab.progress import Lines, Notebook, Terminal, show


class Handle:
    """Keeps what a notebook's output showed, one entry an update."""

    def __init__(self):
        self.shown = []

    def update(self, bundle, raw):
        assert raw
        self.shown.append(bundle)


@pytest.fixture
def notebook(monkeypatch):
    """IPython with a kernel behind it, and the one output that it gives."""
    handle = Handle()

    def display(bundle, raw, display_id):
        assert raw and display_id
        handle.shown.append(bundle)
        return handle

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(
        sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell)
    )
    monkeypatch.setitem(
        sys.modules, "IPython.display", SimpleNamespace(display=display)
    )
    return handle


def test_a_script_shows_nothing(capsys):
    with show() as display:  # pytest's stdout is no terminal
        assert not display.due()
        display.update(0.5, "half")
        display.step(1, "done")
    assert capsys.readouterr() == ("", "")


def test_nothing_is_shown_in_a_notebook_either_when_turned_off(notebook):
    with show(False) as display:
        display.step(1, "done")
    assert notebook.shown == []


def test_lines_are_printed_for_steps_alone(capsys):
    with show("lines") as display:
        assert isinstance(display, Lines)
        display.update(0.2, "on the way")
        display.step(0.5, "epoch 1/2")
        display.step(1, "epoch 2/2")
    assert capsys.readouterr() == ("epoch 1/2\nepoch 2/2\n", "")


def test_a_notebook_ends_with_one_line_of_text(notebook, capsys):
    with show() as display:
        assert isinstance(display, Notebook)
        display.update(0.25, "step 1")
        display.step(1, "epoch 1/1 · val IoU <cell> 0.90")
    bar, line = notebook.shown[1], notebook.shown[-1]
    assert bar["text/plain"] == " 25% step 1"
    assert '<progress value="0.250"' in bar["text/html"]
    assert line["text/plain"] == "epoch 1/1 · val IoU <cell> 0.90"
    # Escaped, and no bar left.
    assert line["text/html"] == "<div>epoch 1/1 · val IoU &lt;cell&gt; 0.90</div>"
    assert capsys.readouterr() == ("", "")  # nothing to stdout or stderr


def test_a_notebook_that_is_interrupted_keeps_the_last_step(notebook):
    with pytest.raises(KeyboardInterrupt), show() as display:
        display.step(0.5, "epoch 1/2")
        display._shown_at = -1e9
        display.update(0.7, "epoch 2/2, step 4/10")
        raise KeyboardInterrupt
    assert notebook.shown[-1]["text/plain"] == "epoch 1/2"


def test_ipython_in_a_terminal_is_no_notebook(monkeypatch):
    terminal = SimpleNamespace(get_ipython=lambda: SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert not progress._in_notebook()
    monkeypatch.setitem(
        sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None)
    )
    assert not progress._in_notebook()


def test_updates_are_not_drawn_too_often(notebook, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    display = show()
    for _ in range(1000):  # ten seconds
        now[0] += 0.01
        display.update(0.1, "x")
    # At most one in each quarter of a second, and the first output.
    assert 35 <= len(notebook.shown) <= 41


def terminal_output(fractions):
    out = io.StringIO()
    console = Console(file=out, width=60, force_terminal=True, color_system=None)
    with Terminal(console) as display:
        for fraction in fractions:
            display._shown_at = -1e9
            display.update(fraction, "on [bold]the way")
        display.step(1, "epoch 2/2")
    return re.sub(r"\x1b\[[?\d;]*\w", "", out.getvalue())  # no control codes


def test_a_terminal_keeps_the_last_line():
    text = terminal_output([0.1, 0.5, 7.0, -1.0])
    assert "on [bold]the way" in text  # a class name is text, not markup
    assert text.rstrip().splitlines()[-1].rstrip().endswith("epoch 2/2")


def test_a_real_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(
        progress, "Console", lambda: Console(file=io.StringIO(), force_terminal=True)
    )
    with show() as display:
        assert isinstance(display, Terminal)


@pytest.mark.parametrize("wrong", ["bar", 2, None, "True"])
def test_unknown_modes_are_refused(wrong):
    with pytest.raises(ValueError, match="progress is"):
        show(wrong)
