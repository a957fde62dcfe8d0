"""The files that install, build and describe the project agree with each other."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import seglab

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def locked():
    """The pinned requirements: name -> list of requirements (one a marker)."""
    found = {}
    for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(requirement.name.lower(), []).append(requirement)
    return found


def extras_of(project, *names):
    """The requirements of some extras, self-references resolved."""
    for name in names:
        for line in project["optional-dependencies"][name]:
            requirement = Requirement(line)
            if requirement.name == "seglab":
                yield from extras_of(project, *requirement.extras)
            else:
                yield requirement


# Versions and the lock


def test_version_stands_once(project):
    assert seglab.__version__ == project["version"]
    assert f"version: {project['version']}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_python_range(project):
    allowed = SpecifierSet(project["requires-python"])
    assert all(f"{version}.0" in allowed for version in PYTHONS)
    # TensorFlow 2.21 has no wheel for either.
    assert "3.10.0" not in allowed
    assert "3.14.0" not in allowed


def test_extras(project):
    assert set(project["optional-dependencies"]) == {
        *("tf", "gpu", "jax", "torch", "onnx", "cluster"),
        *("book", "lab", "test", "dev"),
    }
    core = {Requirement(line).name for line in project["dependencies"]}
    assert not core & {"tensorflow", "tensorflow-cpu", "jax", "torch"}


def test_lock_is_exact_and_satisfies_the_ranges(project, locked):
    for requirements in locked.values():
        for requirement in requirements:
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", f"{requirement} is not exact"
    direct = [Requirement(line) for line in project["dependencies"]]
    for requirement in [*direct, *extras_of(project, "dev")]:
        pins = locked.get(requirement.name.lower())
        assert pins, f"{requirement.name} is not in requirements.lock: make lock"
        for pin in pins:
            (version,) = (specifier.version for specifier in pin.specifier)
            assert version in requirement.specifier, (
                f"requirements.lock has {pin}, pyproject.toml wants {requirement}: "
                "run make lock"
            )


def test_lock_holds_one_tensorflow_for_every_machine(locked):
    pins = [pin for name in ("tensorflow", "tensorflow-cpu") for pin in locked[name]]
    for platform, machine in [
        *(("linux", "x86_64"), ("linux", "aarch64")),
        *(("darwin", "arm64"), ("win32", "AMD64")),
    ]:
        environment = {"sys_platform": platform, "platform_machine": machine}
        chosen = [pin for pin in pins if pin.marker.evaluate(environment)]
        assert len(chosen) == 1, f"{platform} {machine} gets {chosen}"


def test_conda_gets_what_the_tests_run_with(project):
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, from_pip = conda["dependencies"]
    assert conda["channels"] == ["conda-forge"]
    assert pip == "pip"
    assert python.removeprefix("python=") in PYTHONS
    constraint, package = from_pip["pip"]
    assert constraint == "-c requirements.lock"
    match = re.fullmatch(r"-e \.\[([a-z,]+)\]", package)
    assert match, f"expected an editable install with extras, got {package!r}"
    extras = match[1].split(",")
    assert set(extras) <= set(project["optional-dependencies"])
    # Binder opens JupyterLab and runs the notebooks.
    assert {"tf", "lab"} <= set(extras)


# Commands that documents and workflows name


@pytest.fixture(scope="module")
def make_targets():
    lines = (ROOT / "Makefile").read_text().splitlines()
    return {m[1] for line in lines if (m := re.match(r"([a-z-]+):(?!=)", line))}


def test_make_targets_that_are_named_exist(make_targets):
    texts = [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", ".ci/run")),
        *(ROOT / ".github/workflows").glob("*.yml"),
        *(ROOT / "book").rglob("*.md"),
    ]
    named = {}
    for path in texts:
        text = path.read_text("utf-8")
        for target in re.findall(r"(?:`|^|run: |step )make ([a-z-]+)", text, re.M):
            named.setdefault(target, path.name)
    assert {"book", "test", "lab", "notebooks"} <= set(named)
    assert set(named) <= make_targets, named
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "make book" in readme
    assert "make test" in readme


def test_ci_runs_the_commands_of_the_readme():
    script = (ROOT / ".ci/run").read_text()
    for command in ("make book", "make test", "make lint", "make wheel-test"):
        assert f"step {command}" in script
    assert subprocess.run(["bash", "-n", ROOT / ".ci/run"]).returncode == 0


@pytest.mark.parametrize("name", ["ci", "pages", "weekly"])
def test_workflow(name):
    text = (ROOT / f".github/workflows/{name}.yml").read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"], "without it every token may write"
    # YAML 1.1 reads the key `on` as true.
    assert workflow[True]
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if "uses" in step:
                assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])


def test_ci_covers_systems_and_pythons():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == list(PYTHONS)
    assert matrix["os"] == ["ubuntu-latest", "macos-latest", "windows-latest"]
    commands = [step.get("run") for step in workflow["jobs"]["test"]["steps"]]
    readme = (ROOT / "README.md").read_text("utf-8")
    windows = readme.split("```powershell")[1].split("```")[0]
    for command in ("pip install -r requirements.lock", "pip install --no-deps -e ."):
        assert any(command in str(line) for line in commands)
        assert command in windows


# Rules for the whole repository


def tracked_files():
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name]


def test_no_data_and_nothing_large_is_tracked():
    files = [path for path in tracked_files() if path.exists()]
    assert not [p for p in files if p.suffix in {".zip", ".npz", ".keras", ".h5"}]
    sizes = {path: path.stat().st_size for path in files}
    assert max(sizes.values()) < 3_000_000, max(sizes, key=sizes.get)
    assert sum(sizes.values()) < 25_000_000


def test_no_path_of_a_machine_is_tracked():
    pattern = re.compile(r"/(root|home|Users|work)/\w")
    for path in tracked_files():
        if path.suffix in {".png", ".svg", ".ico", ".webp"} or not path.exists():
            continue
        if path.parent == ROOT / "tests/book":  # has such a pattern, and examples
            continue
        match = pattern.search(path.read_text("utf-8"))
        assert not match, f"{path.relative_to(ROOT)}: {match[0]!r}"


# import seglab


def test_import_loads_nothing_heavy():
    code = (
        "import sys; import seglab; "
        "heavy = {'keras', 'tensorflow', 'jax', 'torch', 'matplotlib', 'numpy'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.strip() == "[]"


@pytest.mark.parametrize("module", ["data", "metrics", "plots", "cli", "inference"])
def test_light_modules_import_no_backend(module):
    code = f"import sys, seglab.{module}; print('keras' in sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.strip() == "False"


def test_submodules_load_on_first_use():
    assert seglab.metrics.__name__ == "seglab.metrics"
    assert "training" in dir(seglab)
    with pytest.raises(AttributeError, match="nothing_here"):
        seglab.nothing_here  # noqa: B018
