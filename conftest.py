"""What every test and every re-run notebook starts from, on every system."""

import json
import os
from pathlib import Path

import pytest

# Kernels that nbval starts inherit these. Sums in another order round differently, so
# the number of threads is part of a result; oneDNN changes the order too.
for name, value in {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_NUM_INTRAOP_THREADS": "2",
    "TF_NUM_INTEROP_THREADS": "2",
    "MALLOC_MMAP_MAX_": "0",  # see book/_ext/execute.py
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
}.items():
    os.environ.setdefault(name, value)


def missing_data(notebook: Path, key: str) -> list[str]:
    """Return the data sets under a key of a notebook that are not on this machine."""
    metadata = json.loads(notebook.read_text(encoding="utf-8"))["metadata"]
    named = metadata.get("seglab", {}).get(key, [])
    if not named:
        return []
    from seglab.data.registry import find

    return [name for name in named if find(name) is None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the cells of notebooks that need data which are not here, and say why.

    A notebook that uses data, and runs without them too, is run; it then prints other
    things, which are not compared.
    """
    reasons: dict[Path, str] = {}
    poorer: dict[Path, bool] = {}
    for item in items:
        if item.path.suffix != ".ipynb":
            continue
        if item.path not in reasons:
            missing = ", ".join(missing_data(item.path, "needs_data"))
            reasons[item.path] = missing and (
                f"{item.path.name} needs {missing}, which is not in SEGLAB_DATA"
                " or the cache folder"
            )
            poorer[item.path] = bool(missing_data(item.path, "uses_data"))
        if reasons[item.path]:
            item.add_marker(pytest.mark.skip(reason=reasons[item.path]))
        if poorer[item.path]:
            item.options["check"] = False  # type: ignore[attr-defined]
