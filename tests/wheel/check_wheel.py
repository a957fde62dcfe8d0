"""Build the wheel, install it as a user would, and use it outside the clone.

Run by ``make wheel-test``. It needs the package registry, so pytest does not
collect it. What it guards against: a module or a file missing from the wheel, a
dependency that only the development environment has, a wrong console script.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SMOKE = """
import pathlib, seglab
here = pathlib.Path(seglab.__file__).parent
assert "site-packages" in str(here), f"imported from {here}, not from the wheel"
assert (here / "py.typed").is_file(), "py.typed is not in the wheel"
data = seglab.data.load("cells", count=40, size=32)
model = seglab.models.unet(data.image_shape, data.num_classes, width=4, depth=2)
seglab.training.fit(model, data, epochs=1)
report = seglab.training.evaluate(model, data.test)
assert report.confusion.sum() == data.test.masks.size, "pixels were lost"
print(report)
"""


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a command, show it, and fail with it."""
    print("+", *command, flush=True)
    subprocess.run([str(part) for part in command], cwd=cwd, check=True)


def main() -> None:
    """Build, install and use the wheel in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="seglab wheel ") as folder:
        work = Path(folder)
        run(sys.executable, "-m", "build", "--wheel", "--outdir", work, ROOT)
        (wheel,) = work.glob("seglab-*.whl")
        venv.create(work / "env", with_pip=True)
        scripts = work / "env" / ("Scripts" if os.name == "nt" else "bin")
        python = scripts / ("python.exe" if os.name == "nt" else "python")
        # The lock keeps today's check from depending on tomorrow's releases.
        lock = ROOT / "requirements.lock"
        if uv := shutil.which("uv"):
            install = [uv, "pip", "install", "--compile-bytecode", "--python", python]
        else:
            install = [python, "-m", "pip", "install", "--quiet"]
        run(*install, f"{wheel}[tf]", "-c", lock)
        run(python, "-c", SMOKE, cwd=work)
        run(scripts / "seglab", "doctor", cwd=work)
    print("The wheel installs and works.")


if __name__ == "__main__":
    main()
