"""No result is typed by hand, as far as a test can tell.

A decimal or a percentage in prose is a result that no cell has computed and no run
checks, unless it stands in code or in a formula (an input, a constant), in a sentence
with a citation (somebody else's result), or in allowed_numbers.yml with a reason.
Versions after the name of a program are no results either.
"""

import json
import re
from pathlib import Path

import pytest
import yaml

BOOK = Path(__file__).parents[2] / "book"
ALLOWED = yaml.safe_load(
    Path(__file__).with_name("allowed_numbers.yml").read_text(encoding="utf-8")
)
PAGES = sorted(
    path
    for path in [*BOOK.rglob("*.ipynb"), *BOOK.rglob("*.md")]
    if not any(part.startswith((".", "_")) for part in path.relative_to(BOOK).parts)
)

NUMBER = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.]*\d)|\b\d+(?:\.\d+)?\s?(?:%|percent\b)")
NO_PROSE = [
    re.compile(r"(?ms)^(`{3,})(?!\{).*?^\1$"),  # code
    re.compile(r"(?ms)^`{3,}\{(?:math|raw)\}.*?^`{3,}$"),
    re.compile(r"(?s)\$\$.*?\$\$"),  # formulas
    re.compile(r"(?s)\\begin\{(\w+\*?)\}.*?\\end\{\1\}"),
    re.compile(r"(?<!\$)\$[^$\n]+(?:\n[^$\n]+)*\$"),
    re.compile(
        r"(?<!\})(`+)(?!`)(?:(?!\n\n)[^`])+\1"
    ),  # code spans, but not roles: {cite:p}`...`
    re.compile(r"\]\([^)]*\)"),  # where links lead
    re.compile(r"<[^>]+>"),  # HTML tags
    re.compile(r"(?m)^:[\w-]+:.*$"),  # options of directives
    re.compile(r"\bdoi:\S+"),
    # A program and its version, in running text or in a row of a table.
    re.compile(
        r"\b(?:Python|Keras|TensorFlow|PyTorch|JAX|NumPy|JupyterLab|jupyterlab-myst"
        r"|Jupyter Book)(?: \||,)?(?: v)?(?: \d+(?:\.(?:\d+|x))+(?:,| and| or|;)?)+"
    ),
]


def markdown(path: Path) -> str:
    """Return a page's Markdown; of a notebook, its Markdown cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join(
        "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"
    )


def typed_results(text: str, allowed: list[str]) -> list[str]:
    """List the numbers in Markdown that look like results, each with its sentence."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    prose = text
    for pattern in NO_PROSE:
        prose = pattern.sub(blank, prose)
    for words in allowed:
        pattern = re.compile(r"\s+".join(map(re.escape, words.split())))
        prose = pattern.sub(blank, prose)
    found = []
    for number in NUMBER.finditer(prose):
        # A sentence ends before white space and a capital, or with its paragraph.
        before = re.split(r"(?<=[.!?:])\s+(?=[A-Z*\[{])|\n\n", text[: number.start()])
        after = re.split(r"(?<=[.!?])\s+(?=[A-Z*\[{])|\n\n", text[number.start() :])
        sentence = " ".join((before[-1] + after[0]).split())
        if "{cite" not in sentence:
            found.append(f"{number[0]} in: {sentence}")
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.relative_to(BOOK).as_posix())
def test_no_result_is_typed_by_hand(path: Path) -> None:
    page = path.relative_to(BOOK).as_posix()
    allowed = [entry["text"] for entry in ALLOWED if entry["page"] in ("*", page)]
    assert typed_results(markdown(path), allowed) == []


@pytest.mark.parametrize("entry", ALLOWED, ids=lambda entry: entry["text"])
def test_allowance_is_used_and_explained(entry: dict[str, str]) -> None:
    assert set(entry) == {"page", "text", "reason"}
    assert len(entry["reason"]) > 10
    pages = PAGES if entry["page"] == "*" else [BOOK / entry["page"]]
    words = entry["text"].split()
    assert any(" ".join(words) in " ".join(markdown(p).split()) for p in pages)


@pytest.mark.parametrize(
    "text",
    [
        "The IoU is 0.83 now.",
        "It covers 12 % of the image.",
        "It covers 12% of it.",
        "About 12 percent are missed.",
        "| U-Net | 0.914 |",
        "The IoU is **0.83**. {cite:p}`long2015` introduced it.",
        "A paper {cite:p}`long2015`. Ours reaches 75.3 here.",
        "- worth 1.5 times\n- more",
    ],
)
def test_typed_result_is_seen(text: str) -> None:
    assert len(typed_results(text, [])) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Take $\\eta = 0.01$, or\n\n$$\nx = 0.5\n$$\n",
        "Take `learning_rate=0.01`.",
        "```python\nx = 0.5\n```\n",
        "FCN-8s reaches a mean IoU of 62.7 % {cite:p}`long2015`.",
        "The authors {cite:p}`long2015` report 62.7 and 45.4 on the same images.",
        "Python 3.11, 3.12 and 3.13, Keras 3.15.1, TensorFlow 2.21.",
        "See [this](page-1.5.md) and doi:10.24432/C50P49.",
        "Images of 64 by 64 pixels, 24 coins.",
    ],
)
def test_other_numbers_pass(text: str) -> None:
    assert typed_results(text, []) == []


def test_allowance_covers_its_own_words_alone() -> None:
    text = "Split into 70 % train.\nAnother 70 % is not."
    assert len(typed_results(text, ["70 % train"])) == 1
