"""The gate on notebooks can fail: nbval, called as `make test` does, turns red."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NBVAL = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=240"]


def notebook(source: str, printed: str, **metadata: Any) -> Any:
    """Build a notebook of one cell that claims to have printed something."""
    cell = nbformat.v4.new_code_cell(source, execution_count=1)
    if printed:
        cell.outputs = [
            nbformat.v4.new_output("stream", name="stdout", text=printed + "\n")
        ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(
        cells=[cell], metadata={"kernelspec": kernel, "seglab": metadata}
    )


GREEN = {
    "good": notebook("print(6 * 7)", "42"),
    "dataless": notebook("1 / 0", "", needs_data=["nuclei"]),
    "poorer": notebook("print('no nuclei here')", "664 images", uses_data=["nuclei"]),
}
RED = {
    "changed": notebook("print(6 * 7)", "41"),
    "raising": notebook("1 / 0", ""),
    "false": notebook("assert 6 * 7 == 41", ""),
    "using": notebook("1 / 0", "", uses_data=["nuclei"]),
}


def run(folder: Path, notebooks: dict[str, Any]) -> tuple[int, str]:
    """Run nbval as `make test` does; return its status and what it says."""
    paths = [folder / f"{name}.ipynb" for name in notebooks]
    for path, content in zip(paths, notebooks.values(), strict=True):
        nbformat.write(content, path)
    # No data set can be found: neither in a named folder nor in a cache.
    environment = {k: v for k, v in os.environ.items() if k != "SEGLAB_DATA"}
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        environment[variable] = str(folder)
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-ra", *NBVAL]
    result = subprocess.run(
        [*command, "-p", "no:cacheprovider", *map(str, paths)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )
    return result.returncode, " ".join(result.stdout.split())


@pytest.mark.slow
def test_gate_lets_good_notebooks_through(tmp_path: Path) -> None:
    status, says = run(tmp_path, GREEN)
    assert status == 0, says
    assert "2 passed, 1 skipped" in says
    assert "dataless.ipynb needs nuclei, which is not in SEGLAB_DATA" in says


@pytest.mark.slow
def test_gate_stops_bad_notebooks(tmp_path: Path) -> None:
    status, says = run(tmp_path, RED)
    assert status == 1, says
    assert "4 failed" in says
    for name in RED:
        assert re.search(rf"FAILED \S*{name}\.ipynb::", says), says
    assert "ZeroDivisionError" in says
    assert "AssertionError" in says
