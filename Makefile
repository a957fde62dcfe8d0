# The two commands are `make book` and `make test`; `make help` lists the rest.
# Everything runs in .venv, which is made from requirements.lock when that or
# pyproject.toml changes. Paths are relative, so a clone may live anywhere.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# A Python that TensorFlow has wheels for. Each candidate is run, since a name on
# the PATH may be a shim for a version that is not installed.
ifndef PYTHON
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
  "$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
  >/dev/null 2>&1 && echo "$$p" && break; done)
endif
UV := $(shell command -v uv 2>/dev/null)

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
HTML := _build/html/index.html

# What notebooks and tests run with: quiet, and the same number of threads
# everywhere, since sums in another order round differently.
export TF_CPP_MIN_LOG_LEVEL ?= 3
export TF_ENABLE_ONEDNN_OPTS ?= 0
export TF_NUM_INTRAOP_THREADS ?= 2
export TF_NUM_INTEROP_THREADS ?= 2
# Linux: memory of large arrays is kept for the next ones. A third less time.
export MALLOC_MMAP_MAX_ ?= 0
export MALLOC_TRIM_THRESHOLD_ ?= 4000000000

# URL of the repository, for launch, edit and issue buttons: make book REPO=...
REPO ?=
export SEGLAB_REPO := $(REPO)

.PHONY: help setup book test unit slow nbval lab notebooks lint wheel-test backends peers bench lock clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: $(STAMP)  ## create .venv from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "seglab needs Python 3.11, 3.12 or 3.13; none was found on the PATH. Name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12"; exit 1; }
	@echo "==> Installing requirements.lock into $(VENV) with $(if $(UV),uv: about a minute,pip: about four minutes) (only when it changes)"
ifdef UV
	@test -x $(PY) || uv venv --quiet --seed --python "$(PYTHON)" $(VENV)
	uv pip install --compile-bytecode --python $(PY) -r requirements.lock
	uv pip install --quiet --python $(PY) --no-deps -e .
else
	@test -x $(PY) || "$(PYTHON)" -m venv $(VENV)
	$(PY) -m pip install --disable-pip-version-check --progress-bar off -r requirements.lock
	$(PY) -m pip install --disable-pip-version-check --quiet --no-deps -e .
endif
	@touch $(STAMP)

book: $(STAMP)  ## build the book (REPO=URL adds launch, edit and issue buttons)
	@echo "==> Building the book (outputs are committed: no notebook runs)"
	$(PY) book/_ext/build.py
	@echo "==> Open $(CURDIR)/$(HTML)"

test: unit nbval  ## quick tests, doctests, and every notebook re-run and compared

unit: $(STAMP)
	@echo "==> Unit tests and doctests"
	$(PY) -m pytest --doctest-modules -n 2 -m "not slow and not browser" tests seglab

slow: $(STAMP)  ## the tests that take longer: whole trainings, exports, the book in a browser
	$(PY) -m pytest -n 2 -m "slow or browser" tests

nbval: $(STAMP)
	@echo "==> Notebooks: every cell is run again and its output compared (one to three minutes each)"
	$(PY) -m pytest --nbval --nbval-current-env --nbval-cell-timeout=240 -n 2 --dist loadfile book

lab: $(STAMP)  ## open the notebooks in JupyterLab
	$(PY) -m jupyterlab --notebook-dir=book

notebooks: $(STAMP)  ## run notebooks in place and save outputs (NB="a.ipynb b.ipynb" for some)
	$(PY) book/_ext/execute.py $(NB)

lint: $(STAMP)  ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

wheel-test: $(STAMP)  ## build the wheel and use it in a fresh environment
	$(PY) tests/wheel/check_wheel.py

backends: $(STAMP)  ## the backend tests on JAX and on PyTorch, each in an environment of its own
	$(PY) tests/backends/run.py jax torch

peers: $(STAMP)  ## seglab's metrics and losses beside other libraries', where they differ and why
	$(PY) tests/environments.py peers -m pytest tests/peers

bench: $(STAMP)  ## time seglab beside other libraries and fill the tables in benchmarks/README.md
	$(PY) tests/environments.py peers benchmarks/run.py

lock: $(STAMP)  ## write requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --fork-strategy fewest --no-annotate --upgrade \
	  --python-version 3.11 --extra dev pyproject.toml -o requirements.lock

clean:  ## remove .venv and all that was built
	rm -rf $(VENV) _build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
