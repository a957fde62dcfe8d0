"""Run the tests marked ``backends`` on other Keras backends than TensorFlow.

``make backends`` calls it with ``jax torch``. Each backend has an environment of its
own, without TensorFlow; see ``tests/environments.py``.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from environments import run

BACKENDS = ("jax", "torch")
# The book's own tests need the book's tools, and those of the peers the peers.
PYTEST = [
    *("-m", "pytest", "-m", "backends"),
    *("--ignore=tests/book", "--ignore=tests/peers", "tests"),
]


def main(backends: list[str]) -> None:
    """Run the marked tests once on each backend; exit non-zero if any fails."""
    failed = []
    for backend in backends:
        print(f"==> Tests on the {backend} backend", flush=True)
        if run(backend, *PYTEST, KERAS_BACKEND=backend):
            failed.append(backend)
    if failed:
        sys.exit(f"The tests failed on: {', '.join(failed)}.")


if __name__ == "__main__":
    main(sys.argv[1:] or list(BACKENDS))
