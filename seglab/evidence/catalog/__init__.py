"""The book's experiments, by name.

Each is a module here that declares one `Experiment` under ``EXPERIMENT``; it is loaded
when it is asked for, so that a list of names costs nothing.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

from seglab.evidence.experiment import Experiment, ExperimentError

_NAMES = (
    *("comparison", "comparison-rates", "real-images"),
    # The tuning questions, which vary one recipe:
    *("optimizers", "losses", "activations"),
    *("batches", "initializers", "regularizers", "regression"),
    *("choosing", "knobs", "carry-over", "rare-classes"),
)


def names() -> tuple[str, ...]:
    """Name the experiments of the book.

    Examples
    --------
    >>> "comparison" in names()
    True
    """
    return _NAMES


def get(name: str) -> Experiment:
    """Load an experiment of the book.

    Raises
    ------
    ExperimentError
        When there is none of that name.

    Examples
    --------
    >>> get("comparison").question
    'Which family of models segments best, at equal training?'
    """
    if name not in _NAMES:
        near = get_close_matches(name, _NAMES) or _NAMES
        raise ExperimentError(
            f"no experiment is called {name!r}; there is {', '.join(near)}."
        )
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    experiment: Experiment = module.EXPERIMENT
    return experiment
