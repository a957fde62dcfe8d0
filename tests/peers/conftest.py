"""What the tests against other libraries share: the libraries, and a table at the end.

``make peers`` runs them, in an environment with all of them; elsewhere none of them is
collected. The versions are exact, since a library's rule may change with the next one.
"""

import importlib.metadata
import importlib.util
import warnings
from dataclasses import dataclass

import numpy as np
import pytest

VERSIONS = {
    "keras": "3.15.1",
    "medpy": "0.5.2",
    "mmsegmentation": "1.2.2",
    "monai": "1.6.1",
    "nnunetv2": "2.8.1",
    "pycocotools": "2.0.11",
    "scikit-image": "0.26.0",
    "scikit-learn": "1.9.1",
    "segmentation-models-pytorch": "0.6.0",
    "surface-distance": "0.1",
    "torch": "2.13.0",
    "torchmetrics": "1.9.0",
}
_MODULES = (
    *("medpy", "monai", "segmentation_models_pytorch", "surface_distance"),
    *("tensorflow", "torch", "torchmetrics"),
)
if any(importlib.util.find_spec(name) is None for name in _MODULES):
    collect_ignore_glob = ["test_*.py"]
else:
    import torch

    # torchvision's compiled operators do not load beside a PyTorch for the CPU, and it
    # describes these two when it is imported, which SMP does.
    for _name in ("nms", "qnms"):
        torch.library.define(
            f"torchvision::{_name}", "(Tensor dets, Tensor scores, float t) -> Tensor"
        )
    # surface-distance 0.1 was written for NumPy 1.
    vars(np).update(Inf=np.inf, NaN=np.nan)
    warnings.filterwarnings("ignore", module="timm")


@pytest.fixture(scope="session")
def versions():
    """Versions of the libraries that the rules and differences were read in."""
    return VERSIONS


@dataclass(frozen=True)
class Difference:
    """One number that another library gives, and ours, and why they are not equal."""

    case: str
    peer: str
    theirs: float
    ours: float
    why: str


_seen: dict[str, list[Difference]] = {}


@pytest.fixture
def differs(request):
    """Note that a library gives another number than seglab, and check that it does."""

    def note(case, peer, theirs, ours, why):
        theirs, ours = float(theirs), float(ours)
        assert not np.isclose(theirs, ours, rtol=1e-4, equal_nan=True), (
            f"{peer} on {case!r} gives {theirs}, as seglab does: no longer a difference"
        )
        topic = request.module.__doc__.partition(":")[0]
        _seen.setdefault(topic, []).append(Difference(case, peer, theirs, ours, why))

    return note


def pytest_report_header():
    """Say which versions are compared."""
    found = []
    for name in VERSIONS:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"no {name}")
    return "peers: " + ", ".join(found)


def pytest_terminal_summary(terminalreporter):
    """Print where the libraries differ, and why."""
    for topic, rows in _seen.items():
        terminalreporter.section(f"{topic}: where libraries differ, and why")
        for row in dict.fromkeys(rows):
            terminalreporter.write_line(
                f"{row.case:34} {row.peer:42} {row.theirs:8.4f}  seglab {row.ours:8.4f}"
            )
            terminalreporter.write_line(f"    {row.why}")
