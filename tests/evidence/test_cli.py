"""`seglab evidence`: what it prints, and what it says to each mistake."""

import pytest
from typer.testing import CliRunner

from seglab.cli import app
from seglab.evidence import Comparison, Experiment, catalog, run
from seglab.evidence.results import path_of


def measure(width, *, seed):
    return {"iou": 0.5 + width / 100 + seed / 1000}


TOY = Experiment(
    name="toy",
    question="Are wide networks better?",
    measure=measure,
    factors={"width": (4, 8)},
    metrics={"iou": "mean IoU"},
    seeds=(0, 1, 2),
    rules=[
        Comparison(
            claim="Wide is better.",
            metric="iou",
            more={"width": 8},
            less={"width": 4},
            effect=0.01,
        )
    ],
    tolerance={"iou": 1e-4},
    full={"width": (4, 8, 16), "seed": range(4)},
)


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """Let the catalog hold a toy alone."""
    monkeypatch.setattr(catalog, "names", lambda: ("toy",))
    real = catalog.get
    monkeypatch.setattr(catalog, "get", lambda n: TOY if n == "toy" else real(n))


def evidence(*arguments, code=0):
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"})
    result = runner.invoke(app, ["evidence", *map(str, arguments)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


def test_from_nothing_to_a_verdict(tmp_path):
    where = ("--folder", tmp_path)
    assert "toy Are wide networks better? 0 of 6" in evidence("list", *where)
    assert "0 of 6 cells are measured; 6 are missing." in evidence(
        "status", "toy", *where
    )
    said = evidence("run", "toy", *where, "--only", "seed=0", "--lines")
    assert "1 of 2 cells" in said and "2 of 6 cells are measured." in said
    assert "4 are missing, about 0 s in one process" in evidence(
        "status", "toy", *where
    )
    assert "Wide is better. UNDECIDED" in evidence("verdict", "toy", *where)
    assert "6 of 6 cells are measured." in evidence("run", "toy", *where, "--jobs", 2)
    assert "Wide is better. SUPPORTED all rows: +0.04" in (
        evidence("verdict", "toy", *where)
    )
    assert evidence("check", "toy", *where, "--count", 2).count("as before") == 2


def test_the_full_grid_goes_on_from_the_rows_of_the_small_one(tmp_path):
    where = ("--folder", tmp_path)
    evidence("run", "toy", *where)
    full = ("--scale", "full")
    said = evidence("status", "toy", *where, *full)
    assert "width: 4, 8, 16" in said and "seeds: 0, 1, 2, 3" in said
    assert "6 of 12 cells are measured; 6 are missing" in said
    assert "12 of 12 cells" in evidence("run", "toy", *where, *full)
    assert "+0.04 (+0.04 to +0.04, 4 seeds)" in evidence(
        "verdict", "toy", *where, *full
    )
    all_rows = ("check", "toy", *where, "--count", 12)
    assert evidence(*all_rows, *full).count("as before") == 12
    assert evidence(*all_rows).count("as before") == 6
    # and the small grid is as it was
    assert "6 of 6 cells are measured; 0" in evidence("status", "toy", *where)
    assert "3 seeds" in evidence("verdict", "toy", *where)


def test_a_row_that_does_not_repeat_is_exit_code_1(tmp_path):
    run(TOY, tmp_path, progress=False)
    path = path_of(TOY, tmp_path)
    path.write_text(path.read_text().replace("0.54,", "0.64,"))
    said = evidence("check", "toy", "--folder", tmp_path, "--count", 6, code=1)
    assert "too far: iou" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("run", "comparisons"),
            "no experiment is called 'comparisons'; there",
        ),
        (("run", "toy", "--only", "width"), "it has the form NAME=VALUE"),
        (("run", "toy", "--only", "depth=1"), "there is width, seed"),
        (("run", "toy", "--only", "width=5"), "width is one of 4, 8"),
        (("status", "toy", "--scale", "huge"), "'huge'; it is book or full"),
        (("check", "toy"), "no row; measure some first"),
    ],
)
def test_a_mistake_is_a_sentence(tmp_path, arguments, words):
    assert words in evidence(*arguments, "--folder", tmp_path, code=2)
