"""What every benchmark shares: fair surroundings, interleaved timing, a table, a file.

Importing this module sets how TensorFlow and PyTorch run, so import it first.

A benchmark times *contestants*, functions that do the same work. They take turns, A B
C A B C ..., so that what slows the machine for a while slows all of them, and each is
compared with the reference *within a round*.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
RESULTS = FOLDER / "results"

THREADS = 2

# TensorFlow reads these when it is first imported. oneDNN is what TensorFlow's users
# have by default, and what PyTorch computes with too. (The book turns it off: there
# digits must be the same on every machine.)
os.environ.update(
    {
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "TF_NUM_INTRAOP_THREADS": str(THREADS),
        "TF_NUM_INTEROP_THREADS": str(THREADS),
        "OMP_NUM_THREADS": str(THREADS),
    }
)

# glibc reads these when a process starts, so it must start again. Memory of large
# arrays is then kept for the next ones: a third less time in TensorFlow.
_MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "4000000000"}
if sys.platform == "linux" and not _MALLOC.keys() <= os.environ.keys():
    os.environ.update(_MALLOC)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

PACKAGES = (
    *("seglab", "numpy", "scipy", "keras", "tensorflow-cpu", "torch", "torchvision"),
    *("monai", "segmentation-models-pytorch", "torchmetrics", "scikit-learn"),
)


def import_torch() -> Any:
    """Import PyTorch so that its libraries load beside each other, and compare fairly.

    torchvision's compiled operations do not load beside a CPU build of PyTorch. None
    is used here; but its Python refers to two, which must at least be declared.
    """
    import torch

    if hasattr(import_torch, "library"):
        return torch
    torch.set_num_threads(THREADS)
    # Numbers next to zero are a hundred times slower; TensorFlow takes them as zero.
    torch.set_flush_denormal(True)
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float threshold) -> Tensor")
    import_torch.library = library  # type: ignore[attr-defined]  # else it is undone
    return torch


@dataclass
class Row:
    """The times of one contestant, in seconds, a round each."""

    name: str
    seconds: list[float]
    note: str = ""


@dataclass
class Table:
    """Contestants that did the same work; ratios are to the reference's times."""

    title: str
    rows: list[Row]
    reference: str
    unit: str = "ms"
    note: str = ""


@dataclass
class Goal:
    """A number that was wanted, and the number that came."""

    text: str
    value: float
    limit: float
    at_most: bool = True

    @property
    def met(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit


@dataclass
class Result:
    """What a benchmark found."""

    name: str
    tables: list[Table]
    goals: list[Goal] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    quick: bool = False
    machine: dict[str, Any] = field(default_factory=dict)

    def save(self) -> None:
        """Print the tables, and write them as JSON: quick ones aside."""
        self.machine = machine()
        print("", *to_markdown(self), "", sep="\n\n")
        folder = ROOT / "build/benchmarks" if self.quick else RESULTS
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        record = asdict(self)
        _replace_seconds(record, math.inf, None)  # JSON has no infinity
        text = json.dumps(record, indent=1, allow_nan=False)
        path.write_text(text + "\n", "utf-8")
        print(f"Wrote {path.relative_to(ROOT)}.")

    @classmethod
    def load(cls, path: Path) -> Result:
        record = json.loads(path.read_text("utf-8"))
        _replace_seconds(record, None, math.inf)
        tables = [
            Table(**{**table, "rows": [Row(**row) for row in table["rows"]]})
            for table in record.pop("tables")
        ]
        goals = [Goal(**goal) for goal in record.pop("goals")]
        return cls(tables=tables, goals=goals, **record)


def _replace_seconds(record: Any, old: float | None, new: float | None) -> None:
    """Write the time of what never ended in another way."""
    for table in record["tables"]:
        for row in table["rows"]:
            row["seconds"] = [new if s == old else s for s in row["seconds"]]


def arguments(document: str, **extra: str) -> argparse.Namespace:
    """Read the options of a benchmark; `extra` are switches and what they do."""
    parser = argparse.ArgumentParser(description=document.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="only try that it runs")
    for name, text in extra.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    return parser.parse_args()


def interleave(
    contestants: dict[str, Callable[[], Any]],
    rounds: int,
    *,
    warmups: int = 1,
    at_least: float = 0.0,
) -> dict[str, list[float]]:
    """Time functions in turns.

    Parameters
    ----------
    contestants : dict of str to callable
        Each does its work once.
    rounds : int
        Times that each is timed.
    warmups : int, default 1
        Calls before that, which compile and fill caches.
    at_least : float, default 0
        Seconds that a timing lasts at least: quick functions are called several
        times in each.

    Returns
    -------
    dict of str to list of float
        Seconds of one call, a number for each round.
    """
    numbers = {}
    for name, run in contestants.items():
        for _ in range(warmups):
            run()
        numbers[name] = max(1, round(at_least / _time(run, 1))) if at_least else 1
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for turn in range(rounds):
        print(f"  round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
        shift = turn % len(names)  # nobody always follows the same one
        for name in names[shift:] + names[:shift]:
            seconds[name].append(_time(contestants[name], numbers[name]))
    return seconds


def _time(run: Callable[[], Any], number: int) -> float:
    gc.collect()
    start = time.perf_counter()
    for _ in range(number):
        run()
    return (time.perf_counter() - start) / number


def ratio(row: Sequence[float], reference: Sequence[float]) -> float:
    """Give the median over rounds of the ratios within each."""
    return statistics.median(a / b for a, b in zip(row, reference, strict=True))


def machine() -> dict[str, Any]:
    """Describe the machine and what is installed on it."""
    from seglab import device  # imports NumPy: only after the threads above are set

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "missing"
    return {
        "cpu": device.processor(),
        "cores": device.cpu_count(),
        "threads": THREADS,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions,
    }


def to_markdown(result: Result) -> list[str]:
    """Give each table, and the goals, as Markdown."""
    parts = []
    for table in result.tables:
        (reference,) = (r for r in table.rows if r.name == table.reference)
        scale = {"ms": 1e3, "s": 1.0}[table.unit]
        lines = [
            f"**{table.title}**",
            "",
            f"| | median [{table.unit}] | from | to | ratio | from | to | |",
            "|---|--:|--:|--:|--:|--:|--:|---|",
        ]
        for row in table.rows:
            times = [scale * t for t in row.seconds]
            ratios = [
                a / b for a, b in zip(row.seconds, reference.seconds, strict=True)
            ]
            cells = [_spread(times), _spread(ratios)]
            lines.append(f"| {row.name} | {' | '.join(cells)} | {row.note} |")
        if table.note:
            lines += ["", table.note]
        parts.append("\n".join(lines))
    if result.goals:
        lines = ["| goal | limit | measured | |", "|---|--:|--:|---|"]
        for goal in result.goals:
            limit = f"at {'most' if goal.at_most else 'least'} {goal.limit:g}"
            met = "met" if goal.met else "**missed**"
            lines.append(f"| {goal.text} | {limit} | {_digits(goal.value)} | {met} |")
        parts.append("\n".join(lines))
    return parts


def _spread(values: Sequence[float]) -> str:
    return " | ".join(_digits(f(values)) for f in (statistics.median, min, max))


def _digits(value: float) -> str:
    """Write a number with three digits."""
    if value == float("inf"):
        return "∞"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.{2 if value < 10 else 1}f}"
