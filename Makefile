# Needs Python 3.11 or newer, make and git. `make help` lists what there is.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=

BIN := $(VENV)/bin
READY := $(VENV)/.ready
OLDEST := .venv-oldest
BENCH := .venv-bench
BENCH_PIP := $(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup test test-full test-oldest lint format test-real demo notebook bench bench-quick faults simulate mutate clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## build the virtual environment (every target does it when needed)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("rag-failover needs Python 3.11 or newer; $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test,lint,bench]"
	@touch $@

test: $(READY) ## run the tests on every core; PYTEST_ARGS="-k name" narrows them down
	$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

test-full: $(READY) ## the tests that end in a figure, at full size, and the table of figures
	FAILOVER_FULL=1 $(BIN)/python -m pytest -n auto --dist worksteal -m figure $(PYTEST_ARGS)

test-oldest: $(OLDEST)/.ready ## the tests of both frameworks, with their oldest releases that work
	$(OLDEST)/bin/python -m pytest -n auto tests/langchain tests/llamaindex $(PYTEST_ARGS)

$(OLDEST)/.ready: pyproject.toml tests/oldest.txt
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint tests/oldest.txt --editable ".[test]"
	@touch $@

lint: $(READY) ## check style, types, layers, dependencies and spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/codespell

format: $(READY) ## rewrite the code in the house style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test-real: $(READY) ## kill real Infinity servers at work (installs 1.5 GB into the user's cache, once)
	$(BIN)/python scripts/real_servers.py
	$(BIN)/python -m pytest -m real tests/real $(PYTEST_ARGS)

demo: $(READY) ## watch both frameworks answer while their servers are killed
	$(BIN)/python -m demo

notebook: $(READY) ## execute every notebook from start to end, without saving it
	$(BIN)/jupyter execute notebooks/*.ipynb

bench: $(BENCH)/.ready ## measure it beside what people use otherwise, into docs/benchmarks (three quarters of an hour)
	$(BENCH)/bin/python -m benchmarks --docs docs

bench-quick: $(BENCH)/.ready ## the same in small, into build/benchmarks (3 minutes)
	$(BENCH)/bin/python -m benchmarks --quick --docs build

# Peers that cannot be had are left out, and the tables say so. One has our import name.
$(BENCH)/.ready: OURS := --editable ".[langchain,llamaindex,openai,bench]"
$(BENCH)/.ready: pyproject.toml benchmarks/peers.txt
	$(PYTHON) -m venv --clear $(BENCH)
	$(BENCH_PIP) $(OURS) -r benchmarks/peers.txt || { $(BENCH_PIP) $(OURS); grep '^[a-z]' benchmarks/peers.txt | while read peer; do $(BENCH_PIP) "$$peer" || true; done; }
	$(BENCH_PIP) --upgrade --no-deps --target $(BENCH)/other/langchain-failover langchain-failover==0.2.2 || true
	@touch $@

faults: $(BENCH)/.ready ## put this library and others through a catalogue of faults (a quarter of an hour)
	$(BENCH)/bin/python -m benchmarks.faults --docs docs

simulate: $(READY) ## play the outages of docs/simulation.md in virtual time, and draw them anew
	$(BIN)/python -m benchmarks.simulate --docs docs

mutate: $(READY) ## break the engine in thousands of ways and see which the tests notice (an hour or more)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[mutation]"
	$(BIN)/mutmut run
	$(BIN)/mutmut results

clean: ## remove the virtual environment and every cache in the checkout
	rm -rf $(VENV) $(OLDEST) $(BENCH) mutants build dist htmlcov .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
