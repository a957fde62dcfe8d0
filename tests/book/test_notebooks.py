"""Every notebook follows the chapter template: what can be seen without running it.

Each rule is a function that yields what is wrong. `test_notebook` applies one rule to
one notebook of the book, and `test_rule_can_fail` shows that each rule reports a
notebook that breaks it, and none reports one that breaks none.
"""

import ast
import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import nbformat
import pytest

BOOK = Path(__file__).parents[2] / "book"
NOTEBOOKS = sorted(
    path
    for path in BOOK.rglob("*.ipynb")
    if not any(part.startswith((".", "_")) for part in path.relative_to(BOOK).parts)
)

STEMS = [
    "The idea",
    "The mathematics",
    "In code",
    "The result",
    "Checkpoint",
    "Where it goes wrong",
    "Exercises",
    "Quiz",
    "Takeaways",
    "Further reading",
]
SETUP = """\
# Colab does not have seglab: install it there. Anywhere else this does nothing.
import importlib.util

if importlib.util.find_spec("seglab") is None:
    %pip install --quiet seglab"""
CELL_METADATA = {"jupyter", "mystnb", "tags"}
TAGS = {
    "hide-cell",
    "hide-input",
    "hide-output",
    "listing",  # a quotation, printed as it was: no rule on its length
    "nbval-ignore-output",
    "nbval-skip",
    "raises-exception",  # meant to raise: nbval, nbclient and JupyterLab go on
    "setup",
    "solution",
    "stub",
}
LINE = 79  # characters of code: more do not fit on a page beside the contents
LINES_SHOWN = 20  # lines of code in a cell that is read
LINES_FOLDED = 40  # and in one that is folded: drawing, solutions
SECONDS = 60  # a notebook's run on two cores
SECONDS_LONG = {  # three seeds of several networks take longer
    "4-code/autoencoder": 100,
    "4-code/cnn": 70,
    "4-code/fcn": 80,
    "4-code/comparison": 120,
    "4-code/real-images": 120,
}
MACHINE = re.compile(
    r"/home/|/root/|/tmp/|/Users/|[A-Z]:\\\\?Users|ipykernel_\d|"
    + re.escape(str(BOOK.parent))
)


@dataclass(frozen=True)
class Page:
    """A notebook, and where its links start from."""

    notebook: Any
    path: Path

    @property
    def cells(self) -> list[Any]:
        return self.notebook.cells

    @property
    def code(self) -> list[Any]:
        return [cell for cell in self.cells if cell.cell_type == "code"]

    @property
    def text(self) -> str:
        """The Markdown of all cells."""
        found = (cell.source for cell in self.cells if cell.cell_type == "markdown")
        return "\n\n".join(found)

    @property
    def prose(self) -> str:
        """The Markdown without code blocks, code spans and formulas."""
        text = re.sub(r"(?ms)^```(?!\{).*?^```$", "", self.text)
        text = re.sub(r"(?s)\$\$.*?\$\$", "", text)
        return re.sub(r"(?<!\})(`+)(?!`).+?\1", "", text)

    def section(self, stem: str) -> list[Any]:
        """Return the cells of one section; its first holds the heading."""
        found: list[Any] = []
        for cell in self.cells:
            if cell.cell_type == "markdown":
                heads = re.findall(r"(?m)^## (.+)$", cell.source)
                if any(head.partition(":")[0].strip() == stem for head in heads):
                    found = [cell]
                    continue
                if found and heads:
                    break
            if found:
                found.append(cell)
        return found

    def section_text(self, stem: str) -> str:
        """Return the Markdown of one section, without its neighbors in shared cells."""
        cells = self.section(stem)
        text = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
        match = re.search(rf"(?ms)^## {re.escape(stem)}\b.*?(?=^## |\Z)", text)
        return match[0] if match else ""


def tags(cell: Any) -> set[str]:
    return set(cell.metadata.get("tags", []))


def said(cell: Any) -> str:
    """Return what a cell's last line gives, as text."""
    results = [o for o in cell.outputs if o.output_type == "execute_result"]
    return results[-1]["data"].get("text/plain", "") if results else ""


def images(cell: Any) -> int:
    """Count the pictures among a cell's outputs."""
    return sum(
        any(kind.startswith("image/") for kind in output.get("data", {}))
        for output in cell.outputs
    )


def title(page: Page) -> Iterator[str]:
    if not re.match(r"# \S.*\n\n\S", page.cells[0].source):
        yield "the first cell does not begin with a title and a paragraph"
    if len(re.findall(r"(?m)^# ", page.prose)) != 1:
        yield "a page has one title"


def box(page: Page) -> Iterator[str]:
    match = re.search(
        r"(?s):::\{admonition\} About this page\n:class: seglab-box\n(.*?)\n:::",
        page.cells[0].source,
    )
    if not match:
        yield "no box 'About this page' in the first cell"
        return
    for wanted in (
        r"\*\*Read\*\* \d+ minutes?\b",
        r"\*\*Run\*\* \d+ minutes?\b",
        r"\*\*You need\*\*: \S",
        r"\*\*After this page you can\*\*:?\n+- \S.*(\n.*)*\n- \S",
    ):
        if not re.search(wanted, match[1]):
            yield f"the box 'About this page' lacks {wanted}"


def setup_cell(page: Page) -> Iterator[str]:
    cell = page.cells[1]
    if cell.source.strip() != SETUP:
        yield "the second cell is not the setup cell, word for word"
    if not {"hide-cell", "setup"} <= tags(cell):
        yield "the setup cell is not tagged hide-cell and setup"
    if not cell.metadata.get("jupyter", {}).get("source_hidden"):
        yield "the setup cell is not folded in JupyterLab"


def headings(page: Page) -> Iterator[str]:
    heads = re.findall(r"(?m)^## (.+)$", page.prose)
    stems = [head.partition(":")[0].strip() for head in heads]
    code_first = [STEMS[0], STEMS[2], STEMS[1], *STEMS[3:]]
    if stems not in (STEMS, code_first):
        yield f"sections are {stems}; expected {STEMS}"


def executed(page: Page) -> Iterator[str]:
    counts = [cell.execution_count for cell in page.code]
    if counts != list(range(1, len(counts) + 1)):
        yield f"not run once from the top: execution counts are {counts}"
    for cell in page.code:
        errors = [o.ename for o in cell.outputs if o.output_type == "error"]
        meant = "raises-exception" in tags(cell)
        if errors and not meant:
            yield f"In[{cell.execution_count}] raises {errors[0]}"
        if meant and not errors:
            yield f"In[{cell.execution_count}] is tagged to raise, but does not"
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                yield f"In[{cell.execution_count}] writes to stderr"


def portable_outputs(page: Page) -> Iterator[str]:
    for cell in page.code:
        for output in cell.outputs:
            parts = [output.get("text", ""), output.get("evalue", "")]
            parts += output.get("traceback", [])
            for kind, data in output.get("data", {}).items():
                if kind.startswith("text/"):
                    parts.append(data)
                if "javascript" in kind or "widget" in kind:
                    yield f"In[{cell.execution_count}] has output of kind {kind}"
            for text in parts:
                if found := MACHINE.search(text):
                    yield f"In[{cell.execution_count}] prints a path: {found[0]}"
                if re.search(r" at 0x[0-9a-f]{6,}", text):
                    yield f"In[{cell.execution_count}] prints an address in memory"


def figures(page: Page) -> Iterator[str]:
    number = 0
    for cell, following in zip(page.cells, [*page.cells[1:], None], strict=True):
        if cell.cell_type != "code" or not images(cell):
            continue
        number += 1
        where = f"In[{cell.execution_count}]"
        image = cell.metadata.get("mystnb", {}).get("image", {})
        if len(image.get("alt", "")) < 30:
            yield f"{where} draws a figure without alternative text of use"
        if images(cell) > 1:
            yield f"{where} draws {images(cell)} figures: one a cell"
        caption = following.source if following is not None else ""
        if not re.match(rf"\*Figure {number}\. [^\n*]", caption):
            yield f"no caption '*Figure {number}. ...*' follows {where}"
    for alt in re.findall(r"!\[([^\]]*)\]", page.prose):
        if len(alt) < 30:
            yield f"a picture without alternative text of use: {alt!r}"


def tables(page: Page) -> Iterator[str]:
    """Every column of a table has a name that a screen reader can say."""
    texts = [page.text] + [
        output.get("data", {}).get("text/markdown", "")
        for cell in page.code
        for output in cell.outputs
    ]
    for text in texts:
        for head in re.findall(r"(?m)^\|(.*)\|\n\|[-:| ]+\|$", text):
            # MathJax's formulas are hidden from the check of the built page.
            names = re.sub(r"\$[^$]*\$", "", head).split("|")
            if not all(name.strip(" ,") for name in names):
                yield f"a column without a name in words: |{head}|"


def quiz(page: Page) -> Iterator[str]:
    parts = re.split(r"(?m)^\*\*(\d+)\. ", page.section_text("Quiz"))
    questions = list(zip(parts[1::2], parts[2::2], strict=True))
    if not 3 <= len(questions) <= 5:
        yield f"{len(questions)} questions; expected 3 to 5"
    places = []
    for place, (number, text) in enumerate(questions, start=1):
        question = text.partition("\n\n")[0]
        if int(number) != place or not question.rstrip().endswith("**"):
            yield f"question {place} does not begin with '**{place}. ...**'"
        pattern = (
            r'(?s)<details class="quiz"><summary>(.+?)</summary>\n\n(.+?)\n\n</details>'
        )
        choices = re.findall(pattern, text)
        if not 3 <= len(choices) <= 4 or len(choices) != text.count("<details"):
            yield f"question {number} has {len(choices)} sound choices; expected 3 or 4"
        if re.search(r"</details>\n?<details", text):
            # Else JupyterLab takes the feedback out of the fold, for all to see.
            yield f"question {number}: no blank line between </details> and <details"
        if any(re.search(r"[$`*\[]", choice) for choice, _ in choices):
            yield f"question {number}: Markdown in <summary> stays as it is: use HTML"
        right = [i for i, (_, says) in enumerate(choices) if says.startswith("Right: ")]
        wrong = [says for _, says in choices if says.startswith("Not quite: ")]
        if len(right) + len(wrong) != len(choices):
            yield f"question {number}: feedback begins with 'Right: ' or 'Not quite: '"
        several = "Choose all that apply" in question
        if len(right) < 2 if several else len(right) != 1:
            yield f"question {number} has {len(right)} right answers"
        if any(re.search(r"(?i)\b(all|none) of the above", c) for c, _ in choices):
            yield f"question {number} has a choice about the other choices"
        places += right
    if len(questions) > 2 and len(set(places)) == 1:
        yield "the right answer stands in the same place in every question"


def exercises(page: Page) -> Iterator[str]:
    text = page.section_text("Exercises")
    labels = re.findall(r":::+\{exercise\} .+\n:label: (ex-[\w-]+)", text)
    starts = re.findall(r":::+\{exercise\}(.*)", text)
    solved = re.findall(r":::+\{solution\} (\S+)\n:class: dropdown", text)
    if not 2 <= len(starts) <= 4:
        yield f"{len(starts)} exercises; expected 2 to 4"
    if len(labels) != len(starts):
        yield "an exercise has no title or no label 'ex-...'"
    if solved != labels:
        yield f"exercises {labels} have the folded solutions {solved}"
    for i, heading in enumerate(starts):
        if not re.search(r"\(\d+ minutes\)", heading):
            yield f"exercise {heading.strip()!r} does not say '(... minutes)'"
        if i == 0 and "(5 minutes)" not in heading:
            yield "the first exercise does not take 5 minutes"
    for cell in page.code:
        if "solution" in tags(cell):
            where = f"In[{cell.execution_count}]"
            hidden = cell.metadata.get("jupyter", {}).get("source_hidden")
            if "hide-cell" not in tags(cell) or not hidden:
                yield f"{where} is a solution that is not folded in book and notebook"
            if not re.search(r"(?m)^\s*assert |^check\(", cell.source):
                yield f"{where} is a solution that asserts nothing"


def stubs(page: Page) -> Iterator[str]:
    """What a reader is to fill in fails its check, and the solution passes it."""
    found: dict[str, dict[str, str]] = {"stub": {}, "solution": {}}
    for cell in page.code:
        for label in re.findall(r'(?m)^check\(\s*"([\w-]+)"', cell.source):
            kind = "stub" if "stub" in tags(cell) else "solution"
            found[kind][label] = said(cell)
    if not found["stub"]:
        yield "no exercise has a stub that calls seglab.checks.check"
    if found["stub"].keys() != found["solution"].keys():
        yield f"stubs {list(found['stub'])}, checked {list(found['solution'])}"
    for kind, begins in (("stub", "Not yet: "), ("solution", "Right")):
        for label, text in found[kind].items():
            if not text.startswith(begins):
                yield f"the {kind} of {label} is told {text!r}, not {begins!r}"
            if f":label: {label}\n" not in page.text:
                yield f"{label} is no exercise of the page"
    for cell in page.code:
        if "stub" in tags(cell) and (
            tags(cell) != {"stub"} or "..." not in cell.source
        ):
            yield f"In[{cell.execution_count}] is a stub that is hidden or filled in"


def checkpoint(page: Page) -> Iterator[str]:
    code = [c.source for c in page.section("Checkpoint") if c.cell_type == "code"]
    if not any(re.search(r"(?m)^assert ", source) for source in code):
        yield "the checkpoint asserts nothing"


def code_size(page: Page) -> Iterator[str]:
    for cell in page.code:
        where = f"In[{cell.execution_count}]"
        lines = cell.source.split("\n")
        if tags(cell) & {"setup", "listing"}:
            continue
        if too_long := [line for line in lines if len(line) > LINE]:
            yield f"{where} has a line of {len(too_long[0])} characters: {too_long[0]}"
        folded = tags(cell) & {"hide-cell", "hide-input"}
        limit = LINES_FOLDED if folded else LINES_SHOWN
        count = sum(bool(re.match(r"\s*[^#\s]", line)) for line in lines)
        if count > limit:
            yield f"{where} has {count} lines of code; at most {limit}"


def run_time(page: Page) -> Iterator[str]:
    seconds = page.notebook.metadata.get("seglab", {}).get("run_seconds")
    if seconds is None:
        yield "no run_seconds in the metadata: run book/_ext/execute.py"
        return
    name = page.path.relative_to(BOOK).with_suffix("").as_posix()
    limit = SECONDS_LONG.get(name, SECONDS)
    if seconds > limit:
        yield f"runs for {seconds} s; at most {limit} s"
    if match := re.search(r"\*\*Run\*\* (\d+) minute", page.cells[0].source):
        promised = int(match[1])
        if not seconds / 60 <= promised <= max(1, ceil(2 * seconds / 60)):
            yield f"the box promises {promised} minutes, the run took {seconds} s"


def metadata(page: Page) -> Iterator[str]:
    keys = set(page.notebook.metadata) - {"kernelspec", "language_info", "seglab"}
    if keys:
        yield f"metadata {sorted(keys)}: run book/_ext/execute.py"
    kernel = page.notebook.metadata.get("kernelspec", {})
    if (kernel.get("name"), kernel.get("display_name")) != ("python3", "Python 3"):
        yield f"kernel {kernel}; expected python3, 'Python 3'"
    ids = [cell.get("id") for cell in page.cells]
    if None in ids or len(set(ids)) != len(ids):
        yield "cells without an id, or with the same one"
    for i, cell in enumerate(page.cells):
        if extra := set(cell.metadata) - CELL_METADATA:
            yield f"cell {i} has metadata {sorted(extra)}: run book/_ext/execute.py"
        if extra := tags(cell) - TAGS:
            yield f"cell {i} has unknown tags {sorted(extra)}"


def noisy_cells(page: Page) -> Iterator[str]:
    """Cells that train show progress and seconds, which no two runs share."""
    for cell in page.code:
        source = re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", cell.source)
        pending: list[ast.AST] = [ast.parse(source)]
        while pending:
            node = pending.pop()
            if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
                continue
            pending += ast.iter_child_nodes(node)
            if not isinstance(node, ast.Call):
                continue
            if ast.unparse(node.func) not in ("fit", "training.fit"):
                continue
            quiet = any(
                word.arg == "progress" and ast.unparse(word.value) == "False"
                for word in node.keywords
            )
            if not quiet and "nbval-ignore-output" not in tags(cell):
                where = f"In[{cell.execution_count}]"
                yield f"{where} calls fit without the tag nbval-ignore-output"


def links(page: Page) -> Iterator[str]:
    found = re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", page.prose)
    for target in found:
        path = target.partition("#")[0]
        if re.match(r"[a-z]+:", target) or not path:
            continue
        if "." not in path:
            continue  # a label, which the book's build resolves
        if not (page.path.parent / path).is_file():
            yield f"a link leads to {target}, which does not exist"
    last = page.text.rstrip().split("\n")[-1]
    if not re.search(r"\]\([^)]+\.(ipynb|md)\)", last):
        yield "the last line does not link the next or the previous page"


def citations(page: Page) -> Iterator[str]:
    entries = (BOOK / "references.bib").read_text(encoding="utf-8")
    known = set(re.findall(r"(?m)^@\w+\{([^,]+),", entries))
    cited = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", page.text)
    for key in {key.strip() for group in cited for key in group.split(",")} - known:
        yield f"{key} is cited but not in references.bib"
    if not re.search(r"\{cite", page.section_text("Further reading")):
        yield "further reading cites nothing"


RULES = [
    title,
    box,
    setup_cell,
    headings,
    executed,
    portable_outputs,
    figures,
    tables,
    quiz,
    exercises,
    stubs,
    checkpoint,
    code_size,
    run_time,
    metadata,
    noisy_cells,
    links,
    citations,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize(
    "path", NOTEBOOKS, ids=lambda path: path.relative_to(BOOK).as_posix()
)
def test_notebook(path: Path, rule: Callable[[Page], Iterator[str]]) -> None:
    page = Page(nbformat.read(path, as_version=4), path)
    assert list(rule(page)) == []


def test_exercise_labels_are_unique_in_the_book() -> None:
    owner: dict[str, str] = {}
    for path in NOTEBOOKS:
        page = Page(nbformat.read(path, as_version=4), path)
        for label in re.findall(r":label: (ex-[\w-]+)", page.text):
            assert label not in owner, f"{label} is in {owner[label]} and {path.name}"
            owner[label] = path.name


def markdown(source: str) -> Any:
    return nbformat.v4.new_markdown_cell(source)


def code(source: str, count: int, **metadata: Any) -> Any:
    cell = nbformat.v4.new_code_cell(source, metadata=metadata)
    cell.execution_count = count
    return cell


def question(number: int, right: int) -> str:
    text = f"**{number}. Which one?**"
    for i in range(3):
        says = "Right: yes." if i == right else "Not quite: no."
        fold = '<details class="quiz"><summary>{}</summary>\n\n{}\n\n</details>'
        text += "\n\n" + fold.format(i, says)
    return text


def good_page() -> Page:
    """Build the smallest notebook that breaks no rule."""
    drawing = code(
        "plt.show()", 2, mystnb={"image": {"alt": "A gray square on white." + 30 * "."}}
    )
    picture = {"image/png": "", "text/plain": "<Figure size 1x1 with 1 Axes>"}
    drawing.outputs = [nbformat.v4.new_output("display_data", data=picture)]
    folded = {"source_hidden": True}
    solution = ":::{{solution}} ex-a-{0}\n:class: dropdown\nSum.\n:::\n"
    exercise = ":::{{exercise}} Count ({1} minutes)\n:label: ex-a-{0}\nDo.\n:::\n\n"
    stub = code('n = ...\n\ncheck("ex-a-b", n)', 5, tags=["stub"])
    solved = code(
        'check("ex-a-b", 3)', 6, tags=["hide-cell", "solution"], jupyter=folded
    )
    for cell, says in (
        (stub, "Not yet: the answer is still to be filled in."),
        (solved, "Right."),
    ):
        cell.outputs = [
            nbformat.v4.new_output(
                "execute_result", data={"text/plain": says}, execution_count=5
            )
        ]
    cells = [
        markdown(
            "# Title\n\nA question?\n\n:::{admonition} About this page\n"
            ":class: seglab-box\n**Read** 9 minutes · **Run** 1 minute\n\n"
            "**You need**: Python.\n\n**After this page you can**\n\n- say\n- do\n:::"
        ),
        code(SETUP, 1, tags=["hide-cell", "setup"], jupyter=folded),
        markdown("## The idea: a line"),
        markdown("## The mathematics"),
        markdown("## In code"),
        markdown("## The result"),
        drawing,
        markdown("*Figure 1. A square.*"),
        markdown("## Checkpoint"),
        code("assert True", 3),
        markdown("## Where it goes wrong"),
        markdown(
            "## Exercises\n\n"
            + (exercise + solution).format("b", 5)
            + "\n"
            + (exercise + solution).format("c", 10)
        ),
        code("assert True", 4, tags=["hide-cell", "solution"], jupyter=folded),
        stub,
        solved,
        markdown("## Quiz\n\n" + "\n\n".join(question(i + 1, i) for i in range(3))),
        markdown("## Takeaways"),
        markdown(
            "## Further reading\n\n{cite:t}`long2015`.\n\n[data](appendix/data.md)"
        ),
    ]
    notebook = nbformat.v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
            "seglab": {"run_seconds": 20},
        },
    )
    return Page(notebook, BOOK / "page.ipynb")


TABLE = "| | b |\n|--|--:|\n| 1 | 2 |\n"


def test_good_page_breaks_no_rule() -> None:
    page = good_page()
    assert {rule.__name__: list(rule(page)) for rule in RULES} == {
        rule.__name__: [] for rule in RULES
    }


def replace(cell: int, old: str, new: str) -> Callable[[Any], None]:
    def change(notebook: Any) -> None:
        assert old in notebook.cells[cell].source
        notebook.cells[cell].source = notebook.cells[cell].source.replace(old, new, 1)

    return change


def output(cell: int, kind: str, **content: Any) -> Callable[[Any], None]:
    def change(notebook: Any) -> None:
        notebook.cells[cell].outputs.append(nbformat.v4.new_output(kind, **content))

    return change


def drop(cell: int, key: str) -> Callable[[Any], None]:
    return lambda notebook: notebook.cells[cell].metadata.pop(key)


def put(cell: int, source: str) -> Callable[[Any], None]:
    return replace(cell, "assert True", source)


def set_count(notebook: Any) -> None:
    notebook.cells[9].execution_count = None


def set_seconds(seconds: int) -> Callable[[Any], None]:
    return lambda notebook: notebook.metadata.seglab.update(run_seconds=seconds)


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        (title, replace(0, "# Title", "Title")),
        (title, replace(2, "## The idea", "# The idea")),
        (box, replace(0, ":class: seglab-box\n", "")),
        (box, replace(0, "**Run** 1 minute", "")),
        (box, replace(0, "- do", "")),
        (setup_cell, replace(1, "seglab", "something")),
        (setup_cell, drop(1, "tags")),
        (setup_cell, drop(1, "jupyter")),
        (headings, replace(8, "## Checkpoint", "## Check")),
        (headings, replace(3, "## The mathematics", "## Takeaways")),
        (executed, set_count),
        (executed, output(9, "error", ename="E", evalue="", traceback=[])),
        (executed, output(9, "stream", name="stderr", text="noise")),
        (executed, lambda n: n.cells[9].metadata.update(tags=["raises-exception"])),
        (portable_outputs, output(9, "stream", name="stdout", text="/home/me/x")),
        (
            portable_outputs,
            output(9, "stream", name="stdout", text="<a at 0x7f12ab34>"),
        ),
        (
            portable_outputs,
            output(9, "error", ename="E", evalue="", traceback=["File /home/me/x"]),
        ),
        (
            portable_outputs,
            output(9, "display_data", data={"application/javascript": "x"}),
        ),
        (figures, drop(6, "mystnb")),
        (figures, replace(7, "Figure 1", "Figure 2")),
        (figures, output(6, "display_data", data={"image/png": ""})),
        (figures, replace(2, "a line", "![](a.png)")),
        (tables, output(9, "display_data", data={"text/markdown": TABLE})),
        (tables, replace(2, "a line", "a line\n\n| a | $x$ |\n|--|--:|\n| 1 | 2 |")),
        (quiz, replace(15, "Right: yes.", "Not quite: no.")),
        (quiz, replace(15, "Not quite: no.", "Right: yes.")),
        (quiz, replace(15, "Not quite: no.", "No.")),
        (quiz, replace(15, "Not quite: no.", "")),
        (quiz, replace(15, "Which one?", "Which? Choose all that apply.")),
        (quiz, replace(15, "<summary>0", "<summary>None of the above")),
        (quiz, replace(15, "</details>\n\n<details", "</details>\n<details")),
        (quiz, replace(15, "<summary>0", "<summary>$0$")),
        (quiz, replace(15, question(3, 2), "")),
        (
            quiz,
            lambda n: n.cells[15].update(
                source="## Quiz\n\n" + "\n\n".join(question(i, 0) for i in (1, 2, 3))
            ),
        ),
        (exercises, replace(11, ":::{solution} ex-a-c", ":::{solution} ex-a-d")),
        (exercises, replace(11, ":class: dropdown\n", "")),
        (exercises, replace(11, ":label: ex-a-c\n", "")),
        (exercises, replace(11, "(5 minutes)", "(50 minutes)")),
        (exercises, put(12, "x = 1")),
        (exercises, drop(12, "jupyter")),
        (stubs, lambda n: [n.cells.pop(i) for i in (14, 13)]),
        (stubs, lambda n: n.cells.pop(14)),
        (stubs, replace(13, "...", "3")),
        (stubs, replace(13, "ex-a-b", "ex-a-d")),
        (stubs, lambda n: n.cells[13].metadata.tags.append("hide-cell")),
        (stubs, lambda n: n.cells[13].update(outputs=n.cells[14].outputs)),
        (stubs, lambda n: n.cells[14].update(outputs=[])),
        (checkpoint, put(9, "x = 1")),
        (code_size, put(9, "x = '" + 80 * "x" + "'")),
        (code_size, put(9, "\n".join(["x = 1"] * 21))),
        (run_time, set_seconds(61)),
        (run_time, replace(0, "**Run** 1 minute", "**Run** 5 minutes")),
        (run_time, lambda notebook: notebook.metadata.pop("seglab")),
        (metadata, lambda notebook: notebook.metadata.update(jupytext={})),
        (metadata, lambda notebook: notebook.metadata.kernelspec.update(name="venv")),
        (metadata, lambda notebook: notebook.cells[9].metadata.update(execution={})),
        (metadata, lambda notebook: notebook.cells[9].metadata.update(tags=["hide"])),
        (metadata, lambda notebook: notebook.cells[9].update(id=notebook.cells[2].id)),
        (noisy_cells, put(9, "history = fit(model, cells, epochs=2)")),
        (noisy_cells, put(9, "for i in range(2):\n    seeds = training.fit(model)")),
        (links, replace(17, "appendix/data.md", "appendix/no.md")),
        (links, replace(17, "[data](appendix/data.md)", "data")),
        (citations, replace(17, "long2015", "nobody1900")),
        (citations, replace(17, "{cite:t}`long2015`", "Long")),
    ],
)
def test_rule_can_fail(
    rule: Callable[[Page], Iterator[str]], change: Callable[[Any], None]
) -> None:
    page = good_page()
    notebook = copy.deepcopy(page.notebook)
    change(notebook)
    assert list(rule(Page(notebook, page.path))) != []


@pytest.mark.parametrize(
    "source",
    [
        "def train():\n    return fit(model)",
        "fit(model, cells, progress=False)",
        "curve.fit(x, y)",
    ],
)
def test_quiet_cells_need_no_tag(source: str) -> None:
    page = good_page()
    page.cells[9].source = source
    assert list(noisy_cells(page)) == []


def test_listings_keep_their_lines_and_may_raise() -> None:
    page = good_page()
    cell = page.cells[9]
    cell.metadata.tags = ["listing", "raises-exception"]
    cell.source = "\n".join(["assert x, " + 80 * "x"] * 41)
    error = {"ename": "NameError", "evalue": "name 'x' is not defined"}
    cell.outputs = [nbformat.v4.new_output("error", traceback=[], **error)]
    assert {rule.__name__: list(rule(page)) for rule in RULES} == {
        rule.__name__: [] for rule in RULES
    }
