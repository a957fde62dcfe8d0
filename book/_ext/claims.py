"""Write the ledger of the tutorial's statements: python book/_ext/claims.py.

Reads ``appendix/claims.csv``, a row for each statement, and the verdicts of the
experiments whose rules name a statement, and writes ``appendix/claims.md``.

A row's ``proof`` says what settles it, one or several, with semicolons between:

``cell: CODE``
    A line of a code cell of the page that asserts it; it runs with the notebooks.
``check: LABEL``
    An exercise of the page, whose solution is checked when the notebook runs.
``test: FILE::NAME``
    A test of the package.
``cite: KEY``
    A source in ``references.bib``.
``experiment: NAME``
    Rows under ``evidence/``, and the rules of that experiment for this statement. The
    verdict of such a row is computed, and ``verdict`` is empty.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat

BOOK = Path(__file__).resolve().parents[1]
TABLE = BOOK / "appendix" / "claims.csv"
PAGE = BOOK / "appendix" / "claims.md"
OPEN = "not yet settled"
UNTOLD = "cannot be told"
VERDICTS = ("right", "half right", "wrong", "depends", UNTOLD, OPEN)
OF_RULES = {
    "supported": "right",
    "refuted": "wrong",
    "depends": "depends",
    "undecided": UNTOLD,
}

HEAD = """\
# What became of the tutorial's 65 statements

The course follows the outline of a short Chinese tutorial on deep learning for image
segmentation, and asks its questions. The tutorial makes 65 statements, in its text, in
its formulas, in its three listings and in its advice. Here is each of them, in our
words, with a verdict, a sentence or two why, and a link to the place that settles it:
by an assertion that runs with the notebook, by a test, by an experiment, or by a
source.

*Half right* means that a part holds, which the sentence says. *Depends* means that an
experiment found it true in some settings and false in others. *Cannot be told* means
that there is an experiment, and that its seeds scatter too much for the difference that
was to be shown. *Not yet settled* means that the page is not written.

{counts}
"""


@dataclass(frozen=True)
class Claim:
    """A statement, and what is known of it."""

    id: str
    section: str
    statement: str
    verdict: str
    why: str
    page: str
    heading: str
    proof: str

    @property
    def proofs(self) -> list[tuple[str, str]]:
        """Kinds and what they name."""
        parts = [part for part in self.proof.split("; ") if part]
        return [tuple(part.split(": ", 1)) for part in parts]


def read() -> list[Claim]:
    """Read the statements, with the verdicts that are computed."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        claims = [Claim(**row) for row in csv.DictReader(file)]
    return [settle(claim) for claim in claims]


def settle(claim: Claim) -> Claim:
    """Fill in the verdict of a statement that an experiment decides."""
    names = [name for kind, name in claim.proofs if kind == "experiment"]
    if not names:
        return claim
    from seglab.evidence import catalog, read, verdicts
    from seglab.evidence.verdicts import combine

    experiments = [catalog.get(name) for name in names]
    word = combine(
        verdict.word
        for experiment in experiments
        for verdict in verdicts(experiment, read(experiment))
        if verdict.rule.statement == claim.id
    )
    return replace(claim, verdict=OF_RULES[word])


def title_of(page: str) -> str:
    """Read a page's title."""
    notebook = nbformat.read(BOOK / f"{page}.ipynb", as_version=4)
    return notebook.cells[0].source.split("\n")[0].removeprefix("# ")


def anchor(heading: str) -> str:
    """Spell a heading as MyST's anchors do."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def place(claim: Claim) -> str:
    """Link to the section that settles it."""
    link = f"../{claim.page}.ipynb"
    if claim.heading:
        link += f"#{anchor(claim.heading)}"
    return f"[{claim.heading or title_of(claim.page)}]({link})"


def write_proof(kind: str, name: str) -> str:
    """Name what settles it, where that is not in the section itself."""
    if kind == "cite":
        return f"{{cite:t}}`{name}`"
    if kind in ("test", "experiment"):
        return f"{kind} `{name}`"
    return ""


def lines(claims: list[Claim]) -> Iterator[str]:
    """Give the page, line by line."""
    count = {v: sum(claim.verdict == v for claim in claims) for v in VERDICTS}
    counts = ", ".join(f"**{n}** {verdict}" for verdict, n in count.items() if n)
    yield HEAD.format(counts=f"So far: {counts}.")
    for section in dict.fromkeys(claim.section for claim in claims):
        yield f"## {TITLES[section]}\n"
        for claim in claims:
            if claim.section == section:
                yield f"- {entry(claim)}"
        yield ""
    yield f"Data of this page: `{TABLE.name}`, beside it in the project."


TITLES = {
    "1": "Section 1: background",
    "2": "Section 2: concepts",
    "3": "Section 3: formulas",
    "4": "Section 4: listings",
    "5": "Section 5: forecasts",
    "6": "Section 6: questions and answers",
}


def entry(claim: Claim) -> str:
    """Write a statement, its verdict, why, and where it was settled."""
    text = f"**{claim.id}.** *{claim.statement}* **{claim.verdict.capitalize()}.**"
    if not claim.page:
        return text
    parts = [place(claim), *(write_proof(*proof) for proof in claim.proofs)]
    return f"{text} {claim.why} →&nbsp;{', '.join(filter(None, parts))}"


if __name__ == "__main__":
    PAGE.write_text("\n".join(lines(read())) + "\n", encoding="utf-8")
