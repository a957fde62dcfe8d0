"""Run the benchmarks one after the other, and fill the tables of README.md.

``make bench`` does it in the environment with the peers, in about a quarter of an hour
on two idle cores. With names, only those; with ``--quick``, only to see that they run;
with ``--tables``, only the tables, from the results that are there.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from typing import Any

from harness import FOLDER, RESULTS, ROOT, Result, to_markdown

NAMES = (
    *("training_step", "time_to_iou", "metric_update", "tiled_inference"),
    "data_pipeline",
)
README = FOLDER / "README.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="only see that they run")
    parser.add_argument("--tables", action="store_true", help="only fill the tables")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}.")
    started = time.perf_counter()
    if not options.tables:
        for name in options.names or NAMES:
            print(f"==> {name} ({time.perf_counter() - started:.0f} s)", flush=True)
            command = [sys.executable, str(FOLDER / f"{name}.py")]
            subprocess.run(command + ["--quick"] * options.quick, cwd=ROOT, check=True)
        print(f"==> {time.perf_counter() - started:.0f} s in all", flush=True)
    if not options.quick:
        README.write_text(fill(README.read_text("utf-8")), "utf-8")


def fill(text: str) -> str:
    """Put the results between the markers of README.md."""
    machines = []
    for name in NAMES:
        path = RESULTS / f"{name}.json"
        content = "Not measured yet."
        if path.exists():
            result = Result.load(path)
            machines.append(result.machine)
            content = "\n\n".join(to_markdown(result))
        text = replace(text, name, content)
    return replace(text, "machine", describe(machines))


def replace(text: str, name: str, content: str) -> str:
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    if begin not in text or end not in text:
        raise SystemExit(f"README.md lacks {begin} or {end}.")
    between = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(end)})", re.DOTALL)
    return between.sub(lambda _: f"\n\n{content}\n\n", text)


def describe(machines: list[dict[str, Any]]) -> str:
    """Spell the machine; several, if the results are of several."""
    texts = []
    for m in machines:
        versions = ", ".join(f"{name} {v}" for name, v in m["versions"].items())
        text = (
            f"{m['cpu']}, {m['cores']} cores, {m['threads']} threads; {m['system']}; "
            f"Python {m['python']}; {versions}."
        )
        if text not in texts:
            texts.append(text)
    loads = [m["load"] for m in machines]
    if machines:
        dates = sorted({m["date"] for m in machines})
        texts.append(
            f"Measured {' and '.join(dates)}; load of the machine at the end of each "
            f"benchmark: {', '.join(map(str, loads))} (2 is the benchmark itself)."
        )
    return "\n\n".join(texts) or "Not measured yet."


if __name__ == "__main__":
    main()
