"""Build the book: python book/_ext/build.py [OUTPUT_FOLDER].

Writes OUTPUT_FOLDER/_build/html (the repository's root unless a folder is named), with
warnings as errors. With SEGLAB_REPO set to the repository's URL it also writes
_build/colab, the tree that Colab opens: see colab.py.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run Jupyter Book from the repository's root and return its exit status."""
    output = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT
    # jupyter_book.cli.main is what the command jupyter-book calls: going through this
    # interpreter needs no activated environment, on any system.
    call = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    book = ["build", "book", "--config", "_config.yml", "--path-output", str(output)]
    strict = ["-W", "-n", "--keep-going"]
    command = [sys.executable, "-c", call, *book, *strict]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    url = os.environ.get("SEGLAB_REPO", "").strip()
    if status == 0 and url:
        target = output / "_build" / "colab"
        colab = Path(__file__).with_name("colab.py")
        status = subprocess.run(
            [sys.executable, str(colab), url, str(target)], cwd=ROOT, check=False
        ).returncode
    return status


if __name__ == "__main__":
    sys.exit(main())
