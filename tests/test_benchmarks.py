"""What the benchmarks share, without the peers: turns, ratios and tables."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

TURNS = """
from harness import interleave
calls = []
times = interleave(
    {n: lambda n=n: calls.append(n) for n in "abc"}, rounds=3, warmups=1
)
assert "".join(calls) == "abc" + "abc" + "bca" + "cab", calls
assert {n: len(t) for n, t in times.items()} == {"a": 3, "b": 3, "c": 3}
import harness
now = [0.0]
harness.time.perf_counter = lambda: now[0]
def work():
    now[0] += 0.25
(times,) = interleave({"w": work}, rounds=2, at_least=1).values()
assert times == [0.25, 0.25]  # of one call
assert now[0] == 0.25 * (2 + 2 * 4)  # warm-up, one to see how long, four a round
"""

RATIOS = """
from harness import Goal, Result, Row, Table, ratio, to_markdown
# Twice as slow in each round, though the machine was slow in the second.
assert ratio([2, 20, 4], [1, 10, 2]) == 2
table = Table("T", [Row("ours", [0.001, 0.010]), Row("b", [0.003, 0.02], "n")], "ours")
goals = [Goal("g", 1.5, 1.3), Goal("h", 7.0, 5, at_most=False)]
text = to_markdown(Result("x", [table], goals))
assert "| ours | 5.50 | 1.00 | 10.0 | 1.00 | 1.00 | 1.00 |  |" in text[0], text
assert "| b | 11.5 | 3.00 | 20.0 | 2.50 | 2.00 | 3.00 | n |" in text[0], text
assert "| g | at most 1.3 | 1.50 | **missed** |" in text[1], text
assert "| h | at least 5 | 7.00 | met |" in text[1], text
"""

INFINITE = """
import json, math, tempfile
from pathlib import Path
import harness
from harness import Result, Row, Table
harness.ROOT = Path(tempfile.mkdtemp())
harness.RESULTS = harness.ROOT / "results"
harness.machine = dict
table = Table("T", [Row("ours", [1.0]), Row("never", [math.inf])], "ours")
Result("x", [table], []).save()
path = harness.RESULTS / "x.json"
json.loads(path.read_text(), parse_constant=lambda name: 1 / 0)  # strict JSON
assert [row.seconds for row in Result.load(path).tables[0].rows] == [[1], [math.inf]]
"""

README = """
import run
text = run.README.read_text("utf-8")
assert run.fill(text) == text, "run benchmarks/run.py --tables"
"""


@pytest.mark.parametrize(
    "code",
    [TURNS, RATIOS, INFINITE, README],
    ids=["turns", "ratios", "infinite", "md"],
)
def test_harness(code):
    """In a process of its own: the harness sets how TensorFlow runs."""
    path = str(ROOT / "benchmarks")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r})\n{code}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
