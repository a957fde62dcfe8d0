"""A run measures what is missing, in any number of processes, and loses nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor

from seglab.evidence import Experiment, ExperimentError, read, run, status


def measure(width, *, seed):
    log = os.environ.get("SEGLAB_TEST_LOG")
    if log:
        with Path(log).open("a") as file:
            file.write(f"{width} {seed} {os.getpid()}\n")
    return {"iou": float(width + seed)}


KEPT = []


def grow(width, *, seed):
    KEPT.append(np.ones(25_000_000))  # 200 MB
    time.sleep(1.1)  # joblib looks at the memory once a second
    return measure(width, seed=seed)


def fail_at_two(width, *, seed):
    if seed == 2:
        raise ZeroDivisionError("no such seed")
    return {"iou": float(width)}


def give_too_little(width, *, seed):
    return {}


def declare(measure=measure, **changes):
    fields = {
        "name": "processes",
        "question": "?",
        "measure": measure,
        "factors": {"width": (1, 2, 3)},
        "metrics": {"iou": ""},
        "seeds": (0, 1, 2),
    }
    return Experiment(**{**fields, **changes})


def test_only_what_is_missing_is_measured(tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("SEGLAB_TEST_LOG", str(log))
    run(declare(), tmp_path, only={"seed": 1}, progress=False)
    assert [line.split()[1] for line in log.read_text().splitlines()] == ["1"] * 3
    run(declare(), tmp_path, progress=False)
    assert len(log.read_text().splitlines()) == 9
    run(declare(), tmp_path, progress=False)
    assert len(log.read_text().splitlines()) == 9


def test_two_processes_find_what_one_finds(tmp_path, monkeypatch):
    one = run(declare(), tmp_path / "one", progress=False)
    log = tmp_path / "log"
    monkeypatch.setenv("SEGLAB_TEST_LOG", str(log))
    get_reusable_executor().shutdown()  # workers of another test have not the variable
    two = run(declare(), tmp_path / "two", jobs=2, progress=False)
    assert [(r.cell, r.metrics) for r in two] == [(r.cell, r.metrics) for r in one]
    processes = {line.split()[2] for line in log.read_text().splitlines()}
    assert str(os.getpid()) not in processes
    assert {row.provenance["jobs"] for row in two} == {"2"}


@pytest.mark.slow
def test_a_worker_that_grows_is_kept(tmp_path, monkeypatch):
    """Joblib replaces one that has grown by 300 MB; what it compiled would be lost."""
    log = tmp_path / "log"
    monkeypatch.setenv("SEGLAB_TEST_LOG", str(log))
    get_reusable_executor().shutdown()
    run(declare(grow), tmp_path, jobs=2, progress=False)
    processes = [line.split()[2] for line in log.read_text().splitlines()]
    assert len(processes) == 9
    assert len(set(processes)) == 2
    get_reusable_executor().shutdown()  # and their memory with them


@pytest.mark.slow
def test_a_dask_cluster_takes_the_same_call(tmp_path):
    distributed = pytest.importorskip("distributed")
    from joblib import parallel_config

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        parallel_config(backend="dask"),
    ):
        found = run(declare(), tmp_path, progress=False)
    assert [float(row.metrics["iou"]) for row in found] == [
        width + seed for seed in range(3) for width in (1, 2, 3)
    ]
    assert {row.provenance["jobs"] for row in found} == {"2"}


def test_a_cell_that_fails_costs_no_other_its_row(tmp_path):
    with pytest.raises(ExperimentError, match=r"3 of 9 cells.*seed 2: ZeroDivision"):
        run(declare(fail_at_two), tmp_path, progress=False)
    assert len(read(declare(fail_at_two), tmp_path)) == 6


def test_metrics_that_are_not_those_declared_are_refused(tmp_path):
    with pytest.raises(ExperimentError, match=r"measure gave \[\]; the metrics are"):
        run(declare(give_too_little), tmp_path, progress=False)


def test_levels_that_are_not_in_the_grid_are_refused(tmp_path):
    with pytest.raises(ExperimentError, match="no cell of processes has"):
        run(declare(), tmp_path, only={"width": 9}, progress=False)
    with pytest.raises(ExperimentError, match="no cell of processes has"):
        run(declare(), tmp_path, only={"depth": 1}, progress=False)


SCRIPT = """
import sys, time
from seglab.evidence import Experiment, run

def measure(width, *, seed):
    time.sleep(0.3)
    return {"iou": float(width + seed)}

experiment = Experiment(
    name="killed", question="?", measure=measure, factors={"width": (1, 2, 3)},
    metrics={"iou": ""}, seeds=(0, 1, 2),
)
run(experiment, sys.argv[1], progress="lines")
"""


def test_a_run_that_is_killed_goes_on(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(tmp_path)]
    path = tmp_path / "killed.csv"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while time.monotonic() < until and (
        not path.exists() or path.read_bytes().count(b"\n") < 3
    ):
        time.sleep(0.05)
    process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()
    before = path.read_bytes()
    assert 3 <= before.count(b"\n") < 10
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    after = path.read_bytes()
    assert after.startswith(before[: before.rfind(b"\n") + 1])
    assert after.count(b"\n") == 10
    left = 10 - before.count(b"\n")
    assert f"of {left} cells" in done.stdout


def test_status_counts_and_expects(tmp_path):
    empty = status(declare(), tmp_path)
    assert (empty.done, empty.total, empty.stale) == (0, 9, 0)
    assert empty.seconds != empty.seconds  # nothing is known yet
    run(declare(), tmp_path, only={"seed": 0}, progress=False)
    some = status(declare(), tmp_path)
    assert (some.done, some.total) == (3, 9)
    assert some.seconds >= 0
    run(declare(), tmp_path, progress=False)
    assert status(declare(), tmp_path).seconds == 0


def test_progress_says_how_much_is_left(tmp_path, capsys):
    run(declare(), tmp_path, only={"seed": 0}, progress="lines")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 of 3 cells, 0 s to go. width=1, seed 0: iou 1, 0 s")
    assert len(lines) == 3
