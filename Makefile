# Each target sets up what it needs in .venv, once; nothing has to be activated or installed beforehand.

PYTHON ?= python3
CORES ?= $(shell nproc)
# Processes that run the tests. By default there are as many as processors and memory carry (tests/conftest.py).
WORKERS ?= auto
# The package index for torch. By default it is pip's own; PyPI offers a build for CUDA (Linux, x86-64).
TORCH_INDEX ?=

READY := .venv/.ready
PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet
DEMO := --configfile demo/config.yaml
EXTRAS := dev,dicom,docs,monai,onnx,workflow
TORCH := $(shell grep -o 'torch==[0-9.]*' pyproject.toml)
WHEELS = $(PIP) install --dry-run --ignore-installed --no-deps --only-binary=:all:
PYTHONS := 3.11 3.12 3.13 3.14
# Packages without wheels, which set-up builds; the last two lack wheels only for Python 3.14.
SOURCES := connection-pool medpy pydensecrf2
SOURCES_3.14 := immutables pyjpegls

.PHONY: demo status starter-model test test-clusters check docs lock pythons audit clean
.DELETE_ON_ERROR:

define WHICH_TORCH
import torch
build = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}" if torch.version.hip else "the CPU"
gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
print(f"torch {torch.__version__}, built for {build}, sees", ", ".join(gpus) or "no GPU")
endef
export WHICH_TORCH

demo: $(READY)
	.venv/bin/snakemake --cores $(CORES) $(DEMO) --report-after-run --report results/report.html

# What the last run is at; FOLDER is the one with its results/.
status:
	@$(PYTHON) workflow_scripts/support/status.py $(FOLDER)

# The model to start with that a release offers beside the code. The phantom is drawn by this code, so that no data's terms
# bind those who use the model.
starter-model: demo
	.venv/bin/cardioseg export results --out starter-model --licence "MIT, as cardioseg itself. Trained on the digital phantom\
	 alone, on no patient: to try the command with, not for patients."

test: $(READY)
	.venv/bin/python -m pytest -n $(WORKERS)

# Slurm as large sites have it, with accounting and three nodes: needs slurmdbd and mariadb-server besides what tests need.
test-clusters: $(READY)
	CLUSTERS=1 .venv/bin/python -m pytest tests/workflow/test_clusters.py

check: $(READY) docs
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/snakefmt --check Snakefile rules
	.venv/bin/snakemake $(DEMO) --lint

# Builds the site in site/; a warning is an error.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet

# Exact versions with hashes of everything except torch, whose builds for the CPU and for CUDA differ, and packages that only
# the CUDA build needs. The lock is made with the oldest supported Python and torch's CPU build. If pip's index does not
# have that build, name another index in TORCH_INDEX.
lock: $(READY)
	CUSTOM_COMPILE_COMMAND="make lock" .venv/bin/pip-compile --quiet --upgrade --upgrade-package $(TORCH)+cpu \
		--unsafe-package torch --all-extras --all-build-deps --strip-extras --generate-hashes \
		--no-emit-find-links --no-emit-index-url --no-emit-options --no-emit-trusted-host \
		$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) --output-file requirements.lock pyproject.toml
	sed -i '/^# WARNING/,$$d' requirements.lock

# Checks that torch and everything locked have wheels for each supported Python, except packages known to have none.
pythons: $(READY)
	@$(foreach version,$(PYTHONS),\
		awk -v sources=' $(SOURCES) $(SOURCES_$(version)) ' \
			'/^[a-z]/ { split($$0, name, "="); keep = !index(sources, " " name[1] " ") } keep' \
			requirements.lock >.venv/wheels.lock && \
		$(WHEELS) --python-version $(version) --require-hashes --requirement .venv/wheels.lock && \
		$(WHEELS) --python-version $(version) $(TORCH) && \
		echo 'Python $(version): wheels of all but $(SOURCES) $(SOURCES_$(version))' && ) true

# Looks for known vulnerabilities of the locked packages. A package that the database does not cover is a failure.
audit: $(READY)
	$(PYTHON) -m venv --clear .venv/audit
	.venv/audit/bin/python -m pip --disable-pip-version-check --quiet install pip-audit
	.venv/audit/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

# Leaves .snakemake, which belongs to results/: without it they are refused.
clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build site *.egg-info

# Some packages come as source, so their build tools are installed first, from the lock. The lock is complete: pip looks for
# no other package, except that torch brings what its build needs and the lock does not have.
$(READY): requirements.lock pyproject.toml | .venv/bin/python
	@echo 'Setting up .venv (once, a few minutes)'
	@# removes packages of an interrupted set-up; INSTALLER is the last file that pip writes, before its list of files
	@for found in .venv/lib/python*/site-packages/*.dist-info; do [ -e "$$found/INSTALLER" ] || rm -rf "$$found"; done
	@.venv/bin/python -m ensurepip >.venv/ensurepip.log
	@awk '/^[a-z]/ { keep = /^(cython|pip|setuptools)==/ } keep' requirements.lock >.venv/build-tools.lock
	$(PIP) install --require-hashes --requirement .venv/build-tools.lock
	$(PIP) install --require-hashes --no-deps --no-build-isolation --requirement requirements.lock
	@sed -n 's/^\([a-z0-9.-]*==[^ ;]*\).*/\1/p' requirements.lock >.venv/constraints.txt
	@echo 'Installing torch, which for CUDA is a download of 2.7 GB'
	$(PIP) install --constraint .venv/constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@.venv/bin/python -c "$$WHICH_TORCH" || { echo \
		'torch is installed but cannot be imported, for the reason above. Take another build of it, such as that for the CPU:' \
		'make clean, then make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu' >&2; exit 1; }
	@# all extras show that nothing is missing; --quiet again, because setuptools warns of every editable install
	$(PIP) install --quiet --constraint .venv/constraints.txt --no-build-isolation --editable '.[$(EXTRAS)]'
	@touch $@

.venv/bin/python:
	@case "$$PWD" in *[[:space:]\"\'\\\$$\&\;\(\)\<\>\|\`\*\?\[\]]*) echo \
		"$$PWD: has a space or another character at which a shell splits a path, so that no job of the workflow would" \
		'start. Move the folder to a path without these, and give the same command there.' >&2; exit 1;; esac
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "cardioseg needs Python 3.11 or newer,"\
		" this is %d.%d: name another by make PYTHON=..." % sys.version_info[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo \
		'$(PYTHON) cannot make virtual environments: install the package python3-venv.' >&2; exit 1; }
	@$(PYTHON) -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null || { echo \
		'The C headers of $(PYTHON) are missing: install the package python3-dev.' >&2; exit 1; }
	@command -v c++ >/dev/null || { echo 'There is no C++ compiler: install the package build-essential.' >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv
