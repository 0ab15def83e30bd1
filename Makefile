# Two commands for a newcomer: `make demo` and `make test`. Each sets up all that it needs in .venv, in exact versions.
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell $(p) -c 'import sys; print("$(p)" if (3, 11) <= sys.version_info[:2] <= (3, 13) else "")' 2>/dev/null)))
VENV ?= .venv
LOCK ?= lock.txt
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH := $(shell grep '^torch==' constraints.txt)
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
UV := .venv/bin/uv
SPEC ?= specs/first.yaml

.PHONY: demo test pytest shapes lint docs lock test-latest test-lowest clean gpu-laws faults fuzz exports audit

demo: $(VENV)/demo.stamp
	$(BIN)/lina run $(SPEC)
	@echo "Listen to runs/first/samples/, open runs/first/report.html, or say something:"
	@echo "  $(BIN)/lina say --run runs/first \"That is not a valid password.\" -o out.wav"

test: lint pytest shapes

pytest: $(VENV)/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

# The tests of tensor code once more, with every shape annotation checked at run time.
shapes: $(VENV)/dev.stamp
	LINA_CHECK_SHAPES=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation site, in build/docs; a warning is an error.
docs: $(VENV)/docs.stamp
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

# 100 random kills in training, 100 in the checkpoint writer, 50 in encoding; about an hour on two cores.
faults: $(VENV)/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.faults --json benchmarks/faults.json

# Each reader of files from elsewhere, for 30 minutes in all: coverage-guided by atheris (Linux).
fuzz: $(VENV)/dev.stamp
	$(PIP) install -q -c $(LOCK) "atheris>=3.0"
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.fuzz --minutes 30 --json benchmarks/fuzz.json

# ONNX exports of all nine backbones; `make test` has one of each family.
exports: $(VENV)/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/engine/test_onnx.py -m all_exports

# Known vulnerabilities of the locked versions, by PyPI's advisories; needs a network.
# In an environment of its own, as CI tests in the other at the same time.
audit: $(VENV)/dev.stamp
	$(BIN)/python -m venv build/audit
	build/audit/bin/python -m pip install -q "pip-audit>=2.9"
	build/audit/bin/pip-audit --no-deps --disable-pip -r $(LOCK)

gpu-laws:
	python3 -m benchmarks.gpu_laws --json benchmarks/gpu-laws.json

# The lock: one file for Python 3.11 to 3.13 on Linux and macOS, used as constraints (pip -c). Its lines for CUDA are for
# machines without a CPU build of PyTorch; as requirements they would be installed beside every CPU build.
# `make lock` renews every version within the ranges of pyproject.toml; commit lock.txt once `make test` passes with it.
# The version of PyTorch is not renewed: set it in constraints.txt by hand.
RESOLVE = $(UV) pip compile -q pyproject.toml --extra demo --extra dev --extra bench --extra docs -c constraints.txt \
	--universal --python-version 3.11 --upgrade --no-annotate --custom-compile-command "make $@"

lock: $(UV)
	$(RESOLVE) -o $(LOCK)

# The same tests with the newest versions that the ranges of pyproject.toml allow, and with the lowest of what lina itself
# requires, each in a fresh environment. Nothing runs these by schedule: run them before a release, and whenever a range
# changes. PyTorch's version stays that of constraints.txt, for its CPU build.
RESOLUTION_latest := highest
RESOLUTION_lowest := lowest-direct

test-latest test-lowest: test-%: $(UV)
	rm -rf .venv-$*
	mkdir .venv-$*
	$(RESOLVE) --resolution $(RESOLUTION_$*) -o .venv-$*/lock.txt
	$(MAKE) pytest shapes VENV=.venv-$* LOCK=.venv-$*/lock.txt

# uv only resolves: it knows no pip configuration, and would install the CUDA build of PyTorch.
$(UV):
	$(PYTHON) -m venv .venv
	$(@D)/python -m pip --disable-pip-version-check install -q "uv>=0.9"

# PyTorch's CPU build where pip can find one: the default build brings several GB of CUDA.
# setuptools builds lina below: pip does not apply constraints to the environments that it makes for builds.
$(VENV)/torch.stamp: $(LOCK) constraints.txt
	@echo "installing into $(VENV): some minutes"
	@test -n "$(PYTHON)" || { echo "lina needs Python 3.11, 3.12 or 3.13: make demo PYTHON=/path/to/python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys, torch; sys.exit("torch==" + torch.__version__.split("+")[0] != "$(TORCH)")' 2>/dev/null \
		|| $(PIP) install -q -c $(LOCK) "$(TORCH)+cpu" 2>/dev/null \
		|| $(PIP) install -q -c $(LOCK) --retries 1 --timeout 15 --index-url $(TORCH_CPU_INDEX) "$(TORCH)" 2>/dev/null \
		|| { echo "no CPU build of PyTorch found; installing the default one"; $(PIP) install -q -c $(LOCK) "$(TORCH)"; }
	$(PIP) install -q -c $(LOCK) setuptools
	@touch $@

$(VENV)/%.stamp: $(VENV)/torch.stamp pyproject.toml
	$(PIP) install -q -c $(LOCK) --no-build-isolation -e '.[$*]'
	@touch $@

clean:
	rm -rf build .venv .venv-latest .venv-lowest .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
