# `make demo` and `make test` do all their own set-up in .venv; `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The first of these that is at least 3.11; PYTHON=... on the command line overrides it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEMO_ARGS ?=

.PHONY: help demo test test-unit lint format bench docs clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "streamproc needs Python 3.11 or newer with the venv module; install it, or name one: make PYTHON=/path/to/python3 ..." >&2; exit 2; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing streamproc and what the demo needs (a minute or two, once)"
	@$(PIP) install --constraint constraints.txt --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing streamproc with the test and training tools (several minutes and 6 GB, once)"
	@$(PIP) install --constraint constraints.txt --editable '.[dev,train]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo ## Watch a simulated experiment being understood (DEMO_ARGS='--points 100')
	@$(BIN)/streamproc demo $(DEMO_ARGS)

test: lint test-unit ## All checks and all tests
	@# fetched once, before two test processes want the broker at the same time
	@$(BIN)/python -c "from streamproc.transports.broker.jars import ensure_jars; ensure_jars(print)"
	@$(BIN)/python -m pytest -n 2 --dist loadfile --durations=40 --ignore=tests/unit

test-unit: $(VENV)/.dev ## Unit tests only (under a minute)
	@$(BIN)/python -m pytest -n 2 --dist worksteal tests/unit

lint: $(VENV)/.dev ## Style, types, direction of imports, generated reference
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python docs/generate.py --check

format: $(VENV)/.dev ## Put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(VENV)/.dev ## Write the generated reference pages again
	@$(BIN)/python docs/generate.py

bench: $(VENV)/.dev ## Run the benchmarks (ratios measured side by side)
	@for b in benchmarks/*.py; do echo "== $$b"; $(BIN)/python $$b; done

clean: ## Remove the virtual environment and caches
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build *.egg-info
