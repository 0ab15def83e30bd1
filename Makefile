# Two commands for a newcomer: `make demo` and `make test`. Each sets up all that it needs in .venv.
PYTHON ?= $(firstword $(foreach p,python3 python3.12 python3.11,$(shell $(p) -c 'import sys; print("$(p)" if (3, 11) <= sys.version_info[:2] <= (3, 13) else "")' 2>/dev/null)))
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH := $(shell cat constraints.txt)
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
SPEC ?= specs/first.yaml

.PHONY: demo test lint clean gpu-laws

demo: .venv/demo.stamp
	$(BIN)/lina run $(SPEC)
	@echo "Listen to runs/first/samples/, open runs/first/report.html, or say something:"
	@echo "  $(BIN)/lina say --run runs/first \"That is not a valid password.\" -o out.wav"

test: .venv/dev.stamp lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

gpu-laws:
	python3 -m benchmarks.gpu_laws --json benchmarks/gpu-laws.json

# PyTorch's CPU build where pip can find one: the default build brings several GB of CUDA.
.venv/torch.stamp: constraints.txt
	@test -n "$(PYTHON)" || { echo "lina needs Python 3.11, 3.12 or 3.13: make demo PYTHON=/path/to/python3.12" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import torch' 2>/dev/null \
		|| $(PIP) install -q "$(TORCH)+cpu" 2>/dev/null \
		|| $(PIP) install -q --retries 1 --timeout 15 --index-url $(TORCH_CPU_INDEX) "$(TORCH)" 2>/dev/null \
		|| { echo "no CPU build of PyTorch found; installing the default one"; $(PIP) install -q "$(TORCH)"; }
	@touch $@

.venv/demo.stamp: .venv/torch.stamp pyproject.toml
	$(PIP) install -q -c constraints.txt -e '.[demo]'
	@touch $@

.venv/dev.stamp: .venv/torch.stamp pyproject.toml
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
