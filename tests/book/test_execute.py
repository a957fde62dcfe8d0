"""Running notebooks in place: what is written back, and what is left alone."""

from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

EXT = Path(__file__).parents[2] / "book" / "_ext"


@pytest.fixture
def execute(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXT))
    return pytest.importorskip("execute")


def notebook(*sources: str, **metadata: Any) -> Any:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


@pytest.mark.slow
def test_outputs_are_saved_and_compared(
    execute: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.ipynb"
    content = notebook("import os", "print(os.environ['KERAS_BACKEND'])", jupytext={})
    content.cells[0].metadata = {"tags": ["setup"], "ExecuteTime": {"start": 0}}
    nbformat.write(content, path)
    assert execute.main([str(path)]) == 0
    assert "outputs of In[2] changed" in capsys.readouterr().out
    written = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in written.cells] == [1, 2]
    assert written.cells[1].outputs[0].text == "tensorflow\n"
    assert dict(written.cells[0].metadata) == {"tags": ["setup"]}
    assert set(written.metadata) == {"kernelspec", "language_info", "seglab"}
    assert written.metadata.seglab.run_seconds >= 1
    assert execute.main([str(path)]) == 0
    assert "outputs as before" in capsys.readouterr().out
    assert nbformat.read(path, as_version=4).cells == written.cells


def test_failed_run_leaves_the_file(
    execute: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.ipynb"
    nbformat.write(notebook("x = 1", "1 / 0"), path)
    before = path.read_bytes()
    assert execute.main([str(path)]) == 1
    assert path.read_bytes() == before
    says = capsys.readouterr().out
    assert "ZeroDivisionError" in says
    assert "1 of 1 notebooks failed: page.ipynb" in says


@pytest.mark.parametrize(
    ("recorded", "measured", "kept"),
    [(20, 25.0, 20), (20, 14.0, 20), (20, 31.0, 31), (20, 9.0, 9), (None, 0.2, 1)],
)
def test_time_changes_only_when_it_is_off(
    execute: ModuleType, recorded: int | None, measured: float, kept: int
) -> None:
    ours = {"needs_data": ["nuclei"]}
    content = notebook(seglab={**ours, "run_seconds": recorded} if recorded else ours)
    execute.clean(content, measured)
    assert content.metadata.seglab == {**ours, "run_seconds": kept}


def test_images_and_ignored_cells_are_not_compared(execute: ModuleType) -> None:
    def outputs(image: str, ignored: str) -> list[str]:
        content = notebook("plot()", "train()")
        content.cells[0].outputs = [
            nbformat.v4.new_output(
                "display_data", data={"image/png": image, "text/plain": "<Figure>"}
            )
        ]
        content.cells[1].metadata.tags = ["nbval-ignore-output"]
        content.cells[1].outputs = [
            nbformat.v4.new_output("stream", name="stdout", text=ignored)
        ]
        return execute.compared(content)

    assert outputs("a", "1 s") == outputs("b", "2 s") == ["text/plain: <Figure>", ""]


@pytest.mark.slow
def test_cells_meant_to_raise_do(
    execute: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.ipynb"
    source = "import json\n\njson.loads('{')"  # raises in a file of the library
    content = notebook(source, "print(6 * 7)")
    content.cells[0].metadata.tags = ["listing", "nbval-raises-exception"]
    nbformat.write(content, path)
    assert execute.main([str(path)]) == 0
    raising, following = nbformat.read(path, as_version=4).cells
    assert raising.metadata.tags == ["listing", "raises-exception"]
    assert following.outputs[0].text == "42\n"
    (error,) = raising.outputs
    assert error.ename == "JSONDecodeError"
    traceback = "\n".join(error.traceback)
    assert "json.loads('{')" in traceback
    assert f"{error.ename}: {error.evalue}" in traceback
    assert "\x1b" not in traceback
    assert "decoder.py" not in traceback
    assert execute.main([str(path)]) == 0
    assert "outputs as before" in capsys.readouterr().out

    content.cells[0].source = "x = 1"
    nbformat.write(content, path)
    before = path.read_bytes()
    assert execute.main([str(path)]) == 1
    assert path.read_bytes() == before
    assert "tagged raises-exception does not raise" in capsys.readouterr().out
