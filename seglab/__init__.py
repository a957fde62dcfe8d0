"""seglab: the companion package of a course on image segmentation.

Importing the package does no work: a submodule is loaded when it is first used,
and the deep-learning backend only by the submodules that need one.

Examples
--------
>>> import seglab
>>> data = seglab.data.load("cells", count=20, size=32)
>>> data.train.images.shape
(14, 32, 32, 1)
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_SUBMODULES = (
    *("checks", "data", "device", "diagnosis", "evidence", "geometry", "inference"),
    *("losses", "metrics", "models", "plots", "report", "scratch", "training"),
)

__all__ = ["__version__", "diagnose", *_SUBMODULES]


def __getattr__(name: str) -> Any:
    """Load a submodule on first use (PEP 562)."""
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    if name == "diagnose":
        return import_module(f"{__name__}.diagnosis").diagnose
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the submodules too, so that tab completion finds them."""
    return sorted({*globals(), *__all__})
