"""Run the tests marked ``backends`` on other Keras backends than TensorFlow.

``make backends`` calls it with ``jax torch``. Each backend gets an environment of
its own under ``build/``, without TensorFlow, so that a stray import of it fails
here rather than at a user's. The environments are kept and reused.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Exact versions, as in requirements.lock, which has no backend but TensorFlow:
# PyTorch's Linux wheel on the registry carries gigabytes of CUDA libraries.
BACKENDS = {"jax": ["jax==0.10.2"], "torch": ["torch==2.13.0"]}
# The book's own tests need the book's tools.
PYTEST = ["-m", "pytest", "-m", "backends", "--ignore=tests/book", "tests"]
TOOLS = ["pytest", "pytest-xdist", "hypothesis", "pyyaml"]


def environment(backend: str) -> Path:
    """Create the backend's environment, if need be; return its Python."""
    folder = ROOT / "build" / f"env-{backend}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / ".installed"
    wanted = "\n".join([*BACKENDS[backend], (ROOT / "requirements.lock").read_text()])
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"==> Installing an environment with {backend}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    # pip, not uv: where PyTorch's CPU wheel lies in a local folder, only pip looks.
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    lock = str(ROOT / "requirements.lock")
    subprocess.run([*pip, *BACKENDS[backend], *TOOLS, "-c", lock], check=True)
    subprocess.run([*pip, "-e", str(ROOT), "-c", lock], check=True)
    stamp.write_text(wanted)
    return python


def main(backends: list[str]) -> None:
    """Run the marked tests once on each backend; exit non-zero if any fails."""
    failed = []
    for backend in backends:
        python = environment(backend)
        print(f"==> Tests on the {backend} backend", flush=True)
        status = subprocess.run(
            [str(python), *PYTEST],
            cwd=ROOT,
            env={**os.environ, "KERAS_BACKEND": backend},
        ).returncode
        if status:
            failed.append(backend)
    if failed:
        sys.exit(f"The tests failed on: {', '.join(failed)}.")


if __name__ == "__main__":
    main(sys.argv[1:] or list(BACKENDS))
