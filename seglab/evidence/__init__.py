"""Experiments: a grid of settings, each measured over seeds, and what follows from it.

An `Experiment` is declared before it runs: which factors, which seeds, one function
that trains and measures one cell of the grid, and the rules by which its rows are
judged. `run` measures the cells that have no row yet and appends each to
``<experiment>.csv`` as it finishes, so that an interrupted run goes on where it
stopped. `read` gives the rows back, `verdicts` applies the rules, and `check` measures
a random sample of the rows again.

The experiments of the book are in `seglab.evidence.catalog`; their rows come with the
package. A reader's own is declared in the same way, in a script or a notebook.

Examples
--------
How far does the mean of a few throws of a die stray from 3.5?

>>> import tempfile
>>> import numpy as np
>>> def measure(throws, *, seed):
...     die = np.random.default_rng(seed).integers(1, 7, size=throws)
...     return {"error": abs(die.mean() - 3.5)}
>>> dice = Experiment(
...     name="dice",
...     question="Do more throws bring the mean nearer to 3.5?",
...     measure=measure,
...     factors={"throws": (10, 1000)},
...     metrics={"error": "distance of the mean from 3.5"},
...     rules=[
...         Comparison(
...             claim="A thousand throws are nearer, by 0.1 or more.",
...             metric="error",
...             more={"throws": 10},
...             less={"throws": 1000},
...             effect=0.1,
...         )
...     ],
... )
>>> with tempfile.TemporaryDirectory() as folder:
...     results = run(dice, folder, progress=False)
>>> len(results)
10
>>> verdicts(dice, results)[0].word
'supported'
"""

from seglab.evidence.experiment import Experiment, ExperimentError
from seglab.evidence.rerun import Rerun, check
from seglab.evidence.results import Results, Row, read, results_folder
from seglab.evidence.runner import Status, run, status
from seglab.evidence.verdicts import (
    Comparison,
    Judgement,
    TunedComparison,
    Verdict,
    verdicts,
)

__all__ = [
    "Comparison",
    "Experiment",
    "ExperimentError",
    "Judgement",
    "Rerun",
    "Results",
    "Row",
    "Status",
    "TunedComparison",
    "Verdict",
    "check",
    "read",
    "results_folder",
    "run",
    "status",
    "verdicts",
]
