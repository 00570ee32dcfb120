# Each target sets up what it needs in .venv, once; nothing has to be activated or installed beforehand.

PYTHON ?= python3
CORES ?= $(shell nproc)

READY := .venv/.ready
PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet
DEMO := --configfile demo/config.yaml

.PHONY: demo test check lock audit clean
.DELETE_ON_ERROR:

demo: $(READY)
	.venv/bin/snakemake --cores $(CORES) $(DEMO) --report-after-run --report results/report.html

test: $(READY)
	.venv/bin/python -m pytest

check: $(READY)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/snakefmt --check Snakefile rules
	.venv/bin/snakemake $(DEMO) --lint

# Exact versions with hashes of everything but torch, which comes as a build for the CPU or for CUDA. The lock is made
# with the oldest supported Python, where torch's CPU build is offered, so that no CUDA package gets into it.
lock: $(READY)
	CUSTOM_COMPILE_COMMAND="make lock" .venv/bin/pip-compile --quiet --upgrade --upgrade-package torch==2.13.0+cpu \
		--unsafe-package torch --all-extras --all-build-deps --strip-extras --generate-hashes \
		--no-emit-find-links --no-emit-index-url --no-emit-options --no-emit-trusted-host \
		--output-file requirements.lock pyproject.toml
	sed -i '/^# WARNING/,$$d' requirements.lock

# Known vulnerabilities of what is locked. Strict: a package that the database cannot be asked about is a failure.
audit: $(READY)
	$(PYTHON) -m venv --clear .venv/audit
	.venv/audit/bin/python -m pip --disable-pip-version-check --quiet install pip-audit
	.venv/audit/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

clean:
	rm -rf .venv .snakemake .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info

# Some packages come as source: their build tools are installed first, from the lock, and used as they are.
$(READY): requirements.lock pyproject.toml | .venv/bin/python
	@echo 'Setting up .venv (once, a few minutes)'
	@awk '/^[a-z]/ { keep = /^(cython|pip|setuptools)==/ } keep' requirements.lock >.venv/build-tools.lock
	$(PIP) install --require-hashes --requirement .venv/build-tools.lock
	@# torch before the lock, in which other packages ask for it
	$(PIP) install --no-deps "$$(grep -o 'torch==[0-9.]*' pyproject.toml)"
	$(PIP) install --require-hashes --no-build-isolation --requirement requirements.lock
	@# twice quiet, since setuptools warns of every editable install
	$(PIP) install --quiet --no-build-isolation --editable .
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "cardioseg needs Python 3.11 or newer,"\
		" this is %d.%d: name another by make PYTHON=..." % sys.version_info[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo \
		'$(PYTHON) cannot make virtual environments: install the package python3-venv.' >&2; exit 1; }
	@$(PYTHON) -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null || { echo \
		'The C headers of $(PYTHON) are missing: install the package python3-dev.' >&2; exit 1; }
	@command -v c++ >/dev/null || { echo 'There is no C++ compiler: install the package build-essential.' >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv
