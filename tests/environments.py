"""Environments beside .venv: seglab with another backend, or with its peers.

``python tests/environments.py NAME ARGUMENTS`` makes ``build/env-NAME`` if need be
and runs its Python with the arguments, in the repository's root. An environment is
kept, and made anew when its requirements or requirements.lock change.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"

# Exact versions of what requirements.lock does not have. PyTorch's Linux wheel on the
# registry carries gigabytes of CUDA libraries, and torchvision is pinned beside it, or
# pip swaps in another PyTorch.
TESTS = ["pytest", "pytest-xdist", "hypothesis", "pyyaml"]
REQUIREMENTS = {
    # Each without TensorFlow, so that a stray import of it fails here, not at a user's.
    "jax": ["jax==0.10.2", *TESTS],
    "torch": ["torch==2.13.0", *TESTS],
    # What seglab is compared with, by tests/peers and benchmarks, in one process.
    "peers": [
        *("tensorflow-cpu==2.21.0", "torch==2.13.0", "torchvision==0.28.0"),
        *("monai==1.6.1", "segmentation-models-pytorch==0.6.0", "torchmetrics==1.9.0"),
        *("medpy==0.5.2", "surface-distance==0.1", "pycocotools==2.0.11"),
        *("scikit-image", "scikit-learn"),
        *TESTS,
    ],
}
# Whose metrics are read from their files: no need of what they need to segment.
ALONE = {"peers": ["mmsegmentation==1.2.2", "nnunetv2==2.8.1"]}


def environment(name: str) -> Path:
    """Create an environment, if need be; return its Python."""
    folder = ROOT / "build" / f"env-{name}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / ".installed"
    alone = ALONE.get(name, [])
    wanted = "\n".join([*REQUIREMENTS[name], *alone, LOCK.read_text("utf-8")])
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    print(f"==> Installing {folder.relative_to(ROOT)}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    # pip, not uv: where PyTorch's CPU wheel lies in a local folder, only pip looks.
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "-c", str(LOCK)]
    subprocess.run([*pip, *REQUIREMENTS[name]], check=True)
    subprocess.run([*pip, "-e", str(ROOT)], check=True)
    if alone:
        subprocess.run([*pip, "--no-deps", *alone], check=True)
    stamp.write_text(wanted, "utf-8")
    return python


def run(name: str, *arguments: str, **variables: str) -> int:
    """Run an environment's Python in the repository's root; return its exit code."""
    command = [str(environment(name)), *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}).returncode


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in REQUIREMENTS:
        sys.exit(f"usage: environments.py {'|'.join(REQUIREMENTS)} ARGUMENTS...")
    sys.exit(run(*sys.argv[1:]))
