"""Write the notebooks as Colab needs them: python book/_ext/colab.py URL FOLDER.

Colab opens a notebook alone, from a public repository, on a machine without seglab, and
renders plain Markdown. So in FOLDER, a tree to publish as the branch `colab` of the
repository at URL, each notebook is the book's, save that

- its setup cell installs seglab from URL, so that a reader edits nothing;
- boxes, exercises and folded solutions are quotes and details, citations link to the
  paper, and links lead to other notebooks in Colab and other pages in the repository.

Code and outputs are not touched.
"""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from posixpath import normpath

import nbformat
import pybtex.database
from seglab_book import COLAB_BRANCH, AuthorYearLabels, repository_url

BOOK = Path(__file__).resolve().parents[1]
INSTALL = "%pip install --quiet seglab"

FENCE = re.compile(r"(?P<mark>:{3,}|`{3,})\{(?P<name>[\w:-]+)\}\s*(?P<title>.*)")
OPTION = re.compile(r":[\w-]+:(\s.*)?")
TARGET = re.compile(r"\([\w-]+\)=")
ROLE = re.compile(r"\{([\w:-]+)\}`([^`]*)`")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
CODE = re.compile(r"(`+)(?!`).+?\1")


class Writer:
    """Turn MyST Markdown into Markdown that Colab renders, for one repository."""

    def __init__(self, url: str, bibliography: Path) -> None:
        self.url = repository_url(url)
        self.colab = (
            "https://colab.research.google.com/github/"
            f"{'/'.join(self.url.split('/')[-2:])}/blob/{COLAB_BRANCH}/book"
        )
        entries = pybtex.database.parse_file(str(bibliography), "bibtex").entries
        labels = AuthorYearLabels().format_labels(entries.values())
        self.papers = {
            key: (label, entries[key].fields.get("doi"))
            for key, label in zip(entries, labels, strict=True)
        }

    def cite(self, keys: str) -> str:
        """Write citations as author and year, linked where there is a DOI."""
        cited = []
        for key in keys.split(","):
            if key.strip() not in self.papers:
                raise ValueError(f"{key.strip()!r} is cited but not in references.bib")
            label, doi = self.papers[key.strip()]
            cited.append(f"[{label}](https://doi.org/{doi})" if doi else label)
        return ", ".join(cited)

    def role(self, match: re.Match[str]) -> str:
        """Write a role: a citation, or the text of a cross-reference."""
        name, text = match.groups()
        if name in ("cite:p", "cite", "cite:ps"):
            return f"({self.cite(text)})"
        if name.startswith("cite:"):
            return self.cite(text)
        return re.sub(r"\s*<[^>]*>$", "", text)

    def link(self, match: re.Match[str], folder: PurePosixPath) -> str:
        """Lead a link to where its target stands for a reader of Colab."""
        text, target = match.groups()
        if re.match(r"[a-z]+:", target):
            return match[0]
        path, _, anchor = target.partition("#")
        if path.endswith(".ipynb"):
            return f"[{text}]({self.colab}/{normpath(str(folder / path))})"
        if "." in path:
            page = f"{self.url}/blob/main/book/{normpath(str(folder / path))}"
            return f"[{text}]({page}{'#' + anchor if anchor else ''})"
        return text  # a place within the book, which only the book can resolve

    def inline(self, line: str, folder: PurePosixPath) -> str:
        """Convert roles and links, leaving what stands in code as it is."""
        line = ROLE.sub(self.role, line)
        out, position = [], 0
        change: Callable[[str], str] = lambda text: LINK.sub(  # noqa: E731
            lambda match: self.link(match, folder), text
        )
        # A link's own text may hold code, so code outside of links is what is kept.
        for code in CODE.finditer(line):
            if line[: code.start()].count("[") > line[: code.start()].count("]"):
                continue
            out += [change(line[position : code.start()]), code[0]]
            position = code.end()
        return "".join([*out, change(line[position:])])

    def markdown(self, text: str, folder: PurePosixPath) -> str:
        """Convert one Markdown cell of a notebook in the given folder of the book."""
        return "\n".join(self.block(text.split("\n"), folder))

    def block(self, lines: list[str], folder: PurePosixPath) -> list[str]:
        """Convert lines, and what stands in fences by calling itself."""
        out: list[str] = []
        i = 0
        while i < len(lines):
            line = lines[i]
            fence = FENCE.fullmatch(line.strip())
            if line.startswith("```") and not fence:  # code: copied as it is
                end = find(lines, i + 1, lambda text: text.strip() == "```")
                out += lines[i : end + 1]
                i = end + 1
            elif fence:
                mark = fence["mark"]
                end = find(lines, i + 1, lambda text, mark=mark: text.strip() == mark)
                body = lines[i + 1 : end]
                while body and OPTION.fullmatch(body[0].strip()):
                    body.pop(0)
                out += self.box(fence["name"], fence["title"], body, folder)
                i = end + 1
            else:
                if not TARGET.fullmatch(line.strip()):
                    out.append(self.inline(line, folder))
                i += 1
        return out

    def box(
        self, name: str, title: str, body: list[str], folder: PurePosixPath
    ) -> list[str]:
        """Write a directive: math as math, a solution folded, the rest as a quote."""
        if name == "math":
            return ["$$", *body, "$$"]
        inner = self.block(body, folder)
        if name == "solution":
            opening = "<details><summary>Solution</summary>"
            return [opening, "", *inner, "", "</details>"]
        kind = name.rpartition(":")[2].capitalize()
        title = self.inline(title, folder)
        if name != "admonition":
            title = f"{kind}: {title}" if title else kind
        return [f"> **{title}**", ">", *(f"> {line}".rstrip() for line in inner)]


def find(lines: list[str], start: int, closes: Callable[[str], bool]) -> int:
    """Return the index of the line that closes a fence."""
    for i in range(start, len(lines)):
        if closes(lines[i]):
            return i
    raise ValueError(f"a fence is never closed: {lines[start - 1]!r}")


def convert(source: Path, target: Path, writer: Writer, folder: PurePosixPath) -> None:
    """Write one notebook as Colab needs it."""
    notebook = nbformat.read(source, as_version=4)
    installs = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = writer.markdown(cell.source, folder)
        elif cell.cell_type == "code" and INSTALL in cell.source:
            url = f'"seglab @ git+{writer.url}"'
            cell.source = cell.source.replace(INSTALL, INSTALL.replace("seglab", url))
            installs += 1
    if installs != 1:
        raise ValueError(
            f"{source}: {installs} cells hold {INSTALL!r}; expected the setup cell"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)


def main(url: str, folder: str, book: Path = BOOK) -> int:
    """Write every notebook of the book and return how many there are."""
    writer = Writer(url, book / "references.bib")
    out = Path(folder).resolve()
    if out in (book, *book.parents):
        raise ValueError(f"{out} holds the book itself: name a folder of its own")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    count = 0
    for source in sorted(book.rglob("*.ipynb")):
        place = source.relative_to(book)
        if any(part.startswith((".", "_")) for part in place.parts):
            continue
        page = PurePosixPath(place.as_posix()).parent
        convert(source, out / "book" / place, writer, page)
        count += 1
    readme = f"""# Notebooks for Colab

Written from the notebooks of [{writer.url}]({writer.url}) by `book/_ext/colab.py`:
edit them there, not here.
"""
    (out / "README.md").write_text(readme, encoding="utf-8")
    return count


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(f"{main(*sys.argv[1:])} notebooks for Colab in {sys.argv[2]}")
