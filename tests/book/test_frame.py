"""The book's frame: contents, map, bibliography, and the buttons that need a URL."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"
URL = "https://github.com/OWNER/NAME"


def contents() -> list[str]:
    """Return the pages in the book's table of contents."""
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))
    return [page["file"] for part in toc["parts"] for page in part["chapters"]]


@pytest.mark.parametrize("page", contents())
def test_page_exists_and_the_index_links_it(page: str) -> None:
    files = [BOOK / f"{page}{suffix}" for suffix in (".ipynb", ".md")]
    file = next((file for file in files if file.is_file()), None)
    assert file is not None, f"{page} is in _toc.yml and not in the book"
    index = (BOOK / "index.md").read_text(encoding="utf-8")
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".ipynb":
        text = "".join(json.loads(text)["cells"][0]["source"])
    title = re.search(r"(?m)^# (.+)$", text)
    assert title, f"{page} has no title"
    assert f"[{title[1]}]({page}{file.suffix})" in index


def test_every_page_is_in_the_contents() -> None:
    pages = {
        path.relative_to(BOOK).with_suffix("").as_posix()
        for path in [*BOOK.rglob("*.ipynb"), *BOOK.rglob("*.md")]
        if not any(part[0] in "._" for part in path.relative_to(BOOK).parts)
    }
    assert pages - {"index"} == set(contents())


def test_map_shows_what_is_ready() -> None:
    svg = (BOOK / "_static" / "course-map.svg").read_text(encoding="utf-8")
    shown = re.findall(r'<rect class="page( ready)?" data-page="([^"]+)"', svg)
    pages = {page for page in contents() if not page.startswith("appendix/")}
    assert {page for ready, page in shown if ready} == pages
    assert len(shown) == len({page for _, page in shown})


def test_data_page_agrees_with_the_package() -> None:
    from seglab.data import registry

    page = " ".join((BOOK / "appendix" / "data.md").read_text("utf-8").split())
    for card in registry.cards():
        assert f"(data-{card.name})= ### {card.name} " in page
        if card.sha256:
            assert f"`{card.name}.zip`, SHA-256 `{card.sha256}`" in page


def test_bibliography_is_sorted_and_complete() -> None:
    text = (BOOK / "references.bib").read_text(encoding="utf-8")
    entries = re.findall(r"(?ms)^@(\w+)\{(\w+),\n(.*?)^\}", text)
    keys = [key for _, key, _ in entries]
    assert keys == sorted(set(keys))
    assert len(keys) == text.count("\n@")
    published = {
        "article": "journal",
        "book": "publisher",
        "inproceedings": "booktitle",
        "incollection": "booktitle",
        "misc": "howpublished",
        "techreport": "institution",
        "phdthesis": "school",
    }
    for kind, key, body in entries:
        for field in ("author", "title", "year", published[kind]):
            assert re.search(rf"(?m)^  {field} *= ", body), f"{key} has no {field}"
        year = re.search(r"year *= *\{(\d{4})\}", body)
        assert year, f"{key} has no year of four digits"
        assert key.rstrip("abc").endswith(year[1])


def test_configuration_names_no_repository() -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["repository"]["url"] == ""
    assert "launch_buttons" not in config


def build(folder: Path, url: str) -> str:
    """Build a book of one page under the real configuration; return the page's HTML."""
    for name in ("_ext", "_static", "references.bib"):
        source = BOOK / name
        target = folder / "book" / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target)
    shutil.copyfile(ROOT / "_config.yml", folder / "_config.yml")
    toc = "format: jb-book\nroot: index\nchapters:\n  - file: part/page\n"
    (folder / "book" / "_toc.yml").write_text(toc, encoding="utf-8")
    (folder / "book" / "index.md").write_text("# Index\n", encoding="utf-8")
    (folder / "book" / "part").mkdir(exist_ok=True)
    cells = [
        nbformat.v4.new_markdown_cell(
            "# Page\n\n## Exercises\n\n:::{exercise} Count (5 minutes)\n:label: ex-a\n"
            "Do.\n:::\n\n:::{solution} ex-a\n:class: dropdown\nSo.\n:::\n\n"
            "{cite:p}`long2015`\n\n```{bibliography}\n```"
        ),
        nbformat.v4.new_code_cell("%pip install --quiet seglab", execution_count=1),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "book" / "part" / "page.ipynb")
    result = subprocess.run(
        [sys.executable, str(folder / "book" / "_ext" / "build.py")],
        env={**os.environ, "SEGLAB_REPO": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    page = folder / "_build" / "html" / "part" / "page.html"
    return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("jupyter_book")
    return tmp_path_factory.mktemp("a book")  # a path with a space in it


@pytest.mark.slow
def test_buttons_need_a_url(sample: Path) -> None:
    html = build(sample, "")
    for word in ("colab", "binder", "github", "thebe", "unpkg", "jsdelivr"):
        assert word not in html.lower()
    assert not re.search(r'<(?:script|link|img)[^>]*(?:src|href)="https?:', html)
    assert not (sample / "_build" / "colab").exists()
    # What the extension mends.
    assert "Exercise 1</span>: Count (5 minutes)</p>" in html
    assert re.search(r"Solution to <a [^>]*>Exercise 1</a></p>", html)
    assert ">Long et al. 2015</a>" in html
    assert 'role="doc-biblioentry"' not in html
    # The same folder, now with a URL: every page is written anew.
    html = build(sample, URL + ".git/")
    assert (
        'href="https://colab.research.google.com/github/OWNER/NAME/blob/colab/book'
        '/part/page.ipynb"'
    ) in html
    assert (
        'href="https://mybinder.org/v2/gh/OWNER/NAME/main?urlpath=lab/tree/book'
        '/part/page.ipynb"'
    ) in html
    assert f'href="{URL}/edit/main/book/part/page.ipynb"' in html
    assert f'href="{URL}/issues/new' in html
    assert (sample / "_build" / "colab" / "book" / "part" / "page.ipynb").is_file()


@pytest.mark.parametrize("url", ["github.com/a/b", "https://github.com/a", "x y"])
def test_bad_url_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BOOK / "_ext"))
    errors = pytest.importorskip("sphinx.errors")
    seglab_book = pytest.importorskip("seglab_book")
    with pytest.raises(errors.ConfigError, match="expected https://HOST/OWNER/NAME"):
        seglab_book.repository_url(url)
