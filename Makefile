# Each command is enough on a fresh machine with Python 3.10 - 3.12, make and a C++ compiler: `make demo`, `make demo-dspnet`
# and `make test`.
# PYTHON=... chooses the interpreter, VENV=... the folder of the virtual environment.

VENV ?= .venv
DATA ?=
PYTEST_ARGS ?=
# Of `make faults`: its seed, and a file for what it counted, which tests/faults/table.py adds up.
SEED ?= 0
FAULTS_TABLE ?=
# Processes that share the test suite: each takes about one core and 2 GiB of memory. 0: all in one process, for debuggers.
WORKERS ?= 2
# The order in which the tests run: the same for everyone who tests this commit, another one for the next. The report
# begins with it; `make unit PYTEST_SEED=123` has the order of another run, and PYTEST_ARGS='-p no:randomly' none.
PYTEST_SEED ?= $(shell printf '%d' "0x$$(git rev-parse HEAD 2>/dev/null | cut -c1-7 | grep . || echo 0)")

# The first interpreter in range; python3 is what most people mean by "my Python".
SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.10 python; do \
	"$$python" -c '$(SUPPORTED)' >/dev/null 2>&1 && { echo "$$python"; break; }; done)

BIN := $(VENV)/bin
SETUP = "$(PYTHON)" tools/dev/setup_env.py
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo demo-dspnet test docs setup-demo setup-test lint typecheck unit faults format gpu build clean distclean check-python

help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "PYTHON=python3.11 chooses the interpreter, VENV=folder the virtual environment (now: $(VENV))."

demo: setup-demo ## set up (nothing to compile) and run the demo; DATA=/path/to/images: on a folder of your own
	@"$(BIN)/python" tools/demo.py $(if $(DATA),--data "$(DATA)")

demo-dspnet: setup-demo ## the demo of DSPNet: one training, six networks of different sizes; DATA= as above
	@"$(BIN)/python" tools/demo_dspnet.py $(if $(DATA),--data "$(DATA)")

test: setup-test lint typecheck unit ## set up everything (mmcv with operators, mmdet), lint, type check, run all tests

check-python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10, 3.11 or 3.12 found: install one, or name it with PYTHON=" >&2; exit 1; }
	@"$(PYTHON)" -c '' 2>/dev/null || { echo "error: PYTHON=$(PYTHON) does not run: name a Python 3.10, 3.11 or 3.12" >&2; exit 1; }
	@"$(PYTHON)" -c '$(SUPPORTED)' || { echo "error: $$("$(PYTHON)" --version 2>&1) is not supported: name a Python 3.10, 3.11 or 3.12 with PYTHON=" >&2; exit 1; }

setup-demo: check-python ## only the set-up of `make demo`
	@$(SETUP) demo --venv "$(VENV)"

setup-test: check-python ## only the set-up of `make test`
	@$(SETUP) test --venv "$(VENV)"

lint: ## ruff: rules and format
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .

typecheck: ## mypy
	"$(BIN)/mypy"

unit: ## the test suite alone, shuffled; PYTEST_ARGS='-k routing' and the like, WORKERS=4 for more processes
	PYTEST_SEED="$(PYTEST_SEED)" "$(BIN)/python" -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

docs: ## the pages in docs/, with the API and the commands, into site/; a dead link fails
	@test -x "$(BIN)/mkdocs" || { echo "error: $(VENV) has no mkdocs: run \`make setup-test\`, or pip install -r requirements/docs.txt there" >&2; exit 1; }
	NO_MKDOCS_2_WARNING=1 "$(BIN)/python" -m mkdocs build --strict --quiet
	@echo "open site/index.html"

faults: ## kills at moments drawn from SEED, full disks, bad and hostile files: a table of what was tried and what survived
	FAULTS_SEED="$(SEED)" FAULTS_TABLE="$(FAULTS_TABLE)" "$(BIN)/python" -m pytest -n 0 -p no:randomly \
		-m "slow or not slow" tests/faults $(PYTEST_ARGS)

format: ## let ruff mend what it can
	"$(BIN)/ruff" check --fix .
	"$(BIN)/ruff" format .

gpu: ## faiss on CUDA in the environment that is there
	@test -x "$(BIN)/python" || { echo "error: $(VENV) is no environment yet: run \`make demo\` or \`make setup-test\` first" >&2; exit 1; }
	"$(BIN)/python" -m pip install -r requirements/gpu.txt
	"$(BIN)/python" -m pip install --force-reinstall --no-deps -r requirements/gpu.txt
	@"$(BIN)/python" -c 'import faiss; print("faiss", faiss.__version__, "sees", faiss.get_num_gpus(), "GPUs")'

build: ## a wheel in dist/
	@test -x "$(BIN)/python" || { echo "error: $(VENV) is no environment yet: run \`make demo\` or \`make setup-test\` first" >&2; exit 1; }
	rm -rf build
	"$(BIN)/python" -m pip wheel --no-deps --no-build-isolation --wheel-dir dist .

clean: ## remove what builds and tools left
	rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache

distclean: clean ## remove the virtual environment too
	@test ! -e "$(VENV)" || test -f "$(VENV)/pyvenv.cfg" || { echo "error: $(VENV) is no virtual environment, so it stays" >&2; exit 1; }
	rm -rf "$(VENV)" mmssl_dynamic/.mim
