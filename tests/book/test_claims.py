"""The ledger: all statements, links that resolve, and proofs that exist and run."""

import csv
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"

spec = importlib.util.spec_from_file_location("claims", BOOK / "_ext" / "claims.py")
ledger = importlib.util.module_from_spec(spec)
sys.modules["claims"] = ledger
spec.loader.exec_module(ledger)

CLAIMS = ledger.read()
SETTLED = [claim for claim in CLAIMS if claim.verdict != ledger.OPEN]
IDS = [
    *("B1", "B2", "C1", "C2", "C3", "M1", "M2", "M3", "M4", "M5", "M6", "M7"),
    *("K1", "K2", "K3", "K4", "T1", "T2", "T3", "T4", "T5", "Q1", "Q2", "Q3"),
    *(f"Q4{part}" for part in "abc"),
    *(f"Q{n}{part}" for n in range(5, 14) for part in "abcd"),
    *("Q14a", "Q14b"),
]


def notebook(claim):
    return nbformat.read(BOOK / f"{claim.page}.ipynb", as_version=4)


def test_all_65_statements_are_there():
    assert len(IDS) == 65
    assert [claim.id for claim in CLAIMS] == IDS
    with ledger.TABLE.open(encoding="utf-8", newline="") as file:
        stored = {row["id"]: row["verdict"] for row in csv.DictReader(file)}
    for claim in CLAIMS:
        assert claim.verdict in ledger.VERDICTS
        measured = any(kind == "experiment" for kind, _ in claim.proofs)
        assert bool(stored[claim.id]) != measured, "computed, or written: not both"


def test_the_page_is_what_the_table_says():
    text = "\n".join(ledger.lines(CLAIMS)) + "\n"
    assert ledger.PAGE.read_text("utf-8") == text, "run book/_ext/claims.py"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_verdict_has_reasons(claim):
    if claim.verdict != ledger.OPEN:
        assert claim.why and claim.page and claim.proofs
    assert "|" not in claim.statement + claim.why


@pytest.mark.parametrize("claim", SETTLED, ids=lambda claim: claim.id)
def test_its_section_exists(claim):
    headings = [
        line.lstrip("# ")
        for cell in notebook(claim).cells
        if cell.cell_type == "markdown"
        for line in cell.source.split("\n")
        if re.match(r"#{1,3} ", line)
    ]
    assert not claim.heading or headings.count(claim.heading) == 1


@pytest.mark.parametrize(
    ("claim", "kind", "name"),
    [(claim, *proof) for claim in SETTLED for proof in claim.proofs],
    ids=lambda value: getattr(value, "id", None),
)
def test_its_proof_exists_and_runs(claim, kind, name):
    if kind == "cell":
        found = [
            cell
            for cell in notebook(claim).cells
            if cell.cell_type == "code" and name in cell.source
        ]
        assert found, "no cell of the page has this line"
        for cell in found:
            line = next(line for line in cell.source.split("\n") if name in line)
            assert line.strip().startswith("assert ")
            assert "nbval-skip" not in cell.metadata.get("tags", [])
    elif kind == "check":
        # In the stub, which must fail, and in the solution, which must pass.
        checked = [
            cell.metadata.get("tags", [])
            for cell in notebook(claim).cells
            if cell.cell_type == "code" and f'check("{name}"' in cell.source
        ]
        assert any("stub" in tags for tags in checked)
        assert any("solution" in tags for tags in checked)
    elif kind == "test":
        file, _, function = name.partition("::")
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", name]
        assert (ROOT / file).is_file() and function
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    elif kind == "cite":
        assert f"{{{name}," in (BOOK / "references.bib").read_text("utf-8")
    elif kind == "experiment":
        from seglab.evidence import catalog, read

        experiment = catalog.get(name)
        assert any(rule.statement == claim.id for rule in experiment.rules)
        assert len(read(experiment))
    else:
        pytest.fail(f"{kind} is no kind of proof")
