"""Run notebooks in place: python book/_ext/execute.py [NOTEBOOK ...] (default: all).

Each notebook runs from its top in a fresh kernel, in its own folder. If every cell
runs, outputs and metadata are written back in one form, so that a diff shows what
changed and nothing else; if one raises, the file stays as it was. A cell that is meant
to raise carries the tag `raises-exception`, which nbval and JupyterLab know too, and
must raise. Says whether the outputs that nbval compares are as before: run twice to see
that they repeat.
"""

import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

BOOK = Path(__file__).resolve().parents[1]
SETTINGS = {  # as in conftest.py and the Makefile
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_NUM_INTRAOP_THREADS": "2",
    "TF_NUM_INTEROP_THREADS": "2",
    # glibc keeps large arrays' memory for the next one: asking the system anew for each
    # made a training a third slower. Other systems ignore these.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
}
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "pygments_lexer": "ipython3",
}
CELL_METADATA = {"jupyter", "mystnb", "tags"}
CELL_TIMEOUT = 300  # seconds
RAISES = "raises-exception"
COLORS = re.compile(r"\x1b\[[0-9;]*m")


def clean(notebook: Any, seconds: float | None = None) -> None:
    """Leave in the metadata what the book uses, and record the time of a run.

    The recorded time changes only if it is off by half, so that it does not change in
    every commit.
    """
    ours = dict(notebook.metadata.get("seglab", {}))
    if seconds is not None:
        old = ours.get("run_seconds", 0)
        if not old / 1.5 <= seconds <= old * 1.5:
            ours["run_seconds"] = max(1, round(seconds))
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": LANGUAGE, "seglab": ours}
    )
    for cell in notebook.cells:
        for key in set(cell.metadata) - CELL_METADATA:
            del cell.metadata[key]
        for output in cell.get("outputs", []):
            output.get("metadata", {}).clear()
            if output.output_type == "error":
                output.traceback = portable(output.traceback)


def portable(traceback: list[str]) -> list[str]:
    """Leave out colors, and frames in files, whose paths are those of one machine."""
    plain = [COLORS.sub("", frame) for frame in traceback]
    return [frame for frame in plain if not re.match(r"\s*File ", frame)]


def mark_raising(notebook: Any) -> list[Any]:
    """Return the cells that are meant to raise, their tag spelt in the common way."""
    found = []
    for cell in notebook.cells:
        tags = [
            RAISES if tag.endswith(RAISES) else tag
            for tag in cell.metadata.get("tags", [])
        ]
        if RAISES in tags:
            cell.metadata["tags"] = tags
            found.append(cell)
    return found


def compared(notebook: Any) -> list[str]:
    """Return, for each code cell, what nbval compares: its outputs without images."""
    texts = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        found = []
        if "nbval-ignore-output" not in cell.metadata.get("tags", []):
            for output in cell.outputs:
                if output.output_type == "stream" and output.name == "stdout":
                    found.append(output.text)
                if output.output_type == "error":
                    found.append(f"{output.ename}: {output.evalue}")
                found += [
                    f"{kind}: {value}"
                    for kind, value in sorted(output.get("data", {}).items())
                    if not kind.startswith("image/")
                ]
        # Streams arrive in pieces of any size; how they are cut is no difference.
        texts.append("".join(found))
    return texts


def run(path: Path) -> bool:
    """Run one notebook and write it back; return whether every cell ran."""
    notebook = nbformat.read(path, as_version=4)
    before = compared(notebook)
    raising = mark_raising(notebook)
    total = sum(cell.cell_type == "code" for cell in notebook.cells)
    live = sys.stdout.isatty()
    done = 0

    def show(cell: Any, cell_index: int) -> None:
        nonlocal done
        if cell.cell_type == "code" and live:
            done += 1
            print(f"\r  {path.name}: cell {done} of {total} ", end="", flush=True)

    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=show,
    )
    start = time.perf_counter()
    try:
        client.execute()
    except CellExecutionError as error:
        message = COLORS.sub("", str(error))
        print(f"\n{path}: a cell raises, the file is left as it was\n{message}")
        return False
    seconds = time.perf_counter() - start
    for cell in raising:
        if not any(output.output_type == "error" for output in cell.outputs):
            print(f"\n{path}: a cell tagged {RAISES} does not raise:\n{cell.source}")
            return False
    after = compared(notebook)
    clean(notebook, seconds)
    nbformat.write(notebook, path)
    pairs = enumerate(zip(before, after, strict=True), start=1)
    changed = ", ".join(f"In[{i}]" for i, (old, new) in pairs if old != new)
    note = f"outputs of {changed} changed" if changed else "outputs as before"
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1):
        note += "; the machine is busy, so the time is not what it should be"
    print(f"\r  {path.name}: {total} cells, {seconds:.0f} s, {note}", flush=True)
    stderr = sum(
        output.output_type == "stream" and output.name == "stderr"
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )
    if stderr:
        print(f"  {path.name}: {stderr} outputs on stderr; silence their cause")
    return True


def main(names: list[str]) -> int:
    """Run the named notebooks, or all of the book's, and return the exit status."""
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    paths = [Path(name).resolve() for name in names] or sorted(
        path
        for path in BOOK.rglob("*.ipynb")
        if not any(part.startswith((".", "_")) for part in path.relative_to(BOOK).parts)
    )
    failed = [path.name for path in paths if not run(path)]
    if failed:
        print(f"{len(failed)} of {len(paths)} notebooks failed: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
