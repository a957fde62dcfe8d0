"""The tree for Colab: setup cells install from git, Markdown is what Colab renders."""

from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import nbformat
import pytest

BOOK = Path(__file__).parents[2] / "book"
URL = "https://github.com/OWNER/NAME"


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BOOK / "_ext"))
    pytest.importorskip("sphinx")
    return pytest.importorskip("colab")


@pytest.fixture
def writer(colab: ModuleType) -> Any:
    return colab.Writer(URL, BOOK / "references.bib")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            ":::{admonition} About this page\n:class: seglab-box\n**Read** it\n:::",
            "> **About this page**\n>\n> **Read** it",
        ),
        (
            ":::{exercise} Count (5 minutes)\n:label: ex-a\nHow many?\n:::",
            "> **Exercise: Count (5 minutes)**\n>\n> How many?",
        ),
        (
            ":::{solution} ex-a\n:class: dropdown\n$n$.\n:::",
            "<details><summary>Solution</summary>\n\n$n$.\n\n</details>",
        ),
        (
            "::::{note}\nOut\n:::{tip}\nin\n:::\n::::",
            "> **Note**\n>\n> Out\n> > **Tip**\n> >\n> > in",
        ),
        (
            "```{math}\n:label: eq\nx\n```\n```python\n:::{note}\n[a](b.md)\n```",
            "$$\nx\n$$\n```python\n:::{note}\n[a](b.md)\n```",
        ),
        (
            "See {cite:p}`long2015,fukushima1980`.",
            "See ([Long et al. 2015](https://doi.org/10.1109/CVPR.2015.7298965), "
            "[Fukushima 1980](https://doi.org/10.1007/BF00344251)).",
        ),
        (
            "By {cite:t}`nair2010`; {numref}`Figure <fig>`.",
            "By Nair and Hinton 2010; Figure.",
        ),
        (
            "[masks](../2-concepts/masks.ipynb#labels)",
            "[masks](https://colab.research.google.com/github/OWNER/NAME/blob/colab"
            "/book/2-concepts/masks.ipynb)",
        ),
        (
            "[`data`](../appendix/data.md#cells)",
            f"[`data`]({URL}/blob/main/book/appendix/data.md#cells)",
        ),
        ("[here](#the-idea), [own](data-own)", "here, own"),
        ("[paper](https://a.b/c.d)", "[paper](https://a.b/c.d)"),
        ("`[a](b.md)` and `{cite}`", "`[a](b.md)` and `{cite}`"),
        ("(a-target)=\n## Title", "## Title"),
        ("![alt text](a.png)", "![alt text](a.png)"),
    ],
)
def test_markdown(writer: Any, source: str, expected: str) -> None:
    assert writer.markdown(source, PurePosixPath("1-background")) == expected


def test_unknown_citation_and_open_fence_are_errors(writer: Any) -> None:
    with pytest.raises(ValueError, match="nobody1900"):
        writer.markdown("{cite:p}`nobody1900`", PurePosixPath())
    with pytest.raises(ValueError, match="never closed"):
        writer.markdown(":::{note}\ntext", PurePosixPath())


def book_of(folder: Path, *cells: Any) -> Path:
    book = folder / "book"
    book.mkdir()
    bibliography = (BOOK / "references.bib").read_bytes()
    (book / "references.bib").write_bytes(bibliography)
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), book / "page.ipynb")
    return book


def test_setup_cell_installs_from_git(colab: ModuleType, tmp_path: Path) -> None:
    setup = nbformat.v4.new_code_cell("if True:\n    %pip install --quiet seglab")
    code = nbformat.v4.new_code_cell("x = ':::{note}'", execution_count=2)
    book = book_of(tmp_path, setup, code)
    assert colab.main(URL + ".git", str(tmp_path / "out"), book) == 1
    written = nbformat.read(tmp_path / "out" / "book" / "page.ipynb", as_version=4)
    install = f'if True:\n    %pip install --quiet "seglab @ git+{URL}"'
    assert [cell.source for cell in written.cells] == [install, code.source]
    assert URL in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_notebook_without_setup_cell_is_an_error(
    colab: ModuleType, tmp_path: Path
) -> None:
    book = book_of(tmp_path, nbformat.v4.new_code_cell("x = 1"))
    with pytest.raises(ValueError, match=r"page\.ipynb: 0 cells"):
        colab.main(URL, str(tmp_path / "out"), book)


def test_the_book_itself_is_never_replaced(colab: ModuleType, tmp_path: Path) -> None:
    book = book_of(tmp_path)
    for folder in (book, tmp_path):
        with pytest.raises(ValueError, match="holds the book"):
            colab.main(URL, str(folder), book)
    assert (book / "page.ipynb").is_file()


def test_whole_book_converts(colab: ModuleType, tmp_path: Path) -> None:
    count = colab.main(URL, str(tmp_path / "out"))
    written = list((tmp_path / "out").rglob("*.ipynb"))
    assert len(written) == count
    for path in written:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                assert ":::" not in cell.source
                assert "{cite" not in cell.source
