# Everything a checkout can do. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

# The first that runs and is new enough; asked only when the environment is made.
PYTHON ?= $(shell for name in python3.11 python3 python3.12 python3.13 python; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done || true)
VENV := .venv
BIN := $(VENV)/bin
DATA ?= data
EVENTS ?= 1000000
SEED ?= 1
ROUNDS ?= 3
MINUTES ?= 0
KINDS ?=
PAUSE ?=
# Tests wait for servers while others compute: three processes keep two cores busy. Each has servers of its own, and
# takes whole files, in the order in which they are named: what takes longest comes first.
WORKERS ?= 3
SPREAD := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip --disable-pip-version-check

MADE := $(VENV)/.made
LOCKED := $(VENV)/.locked
INSTALLED := $(VENV)/.installed
FETCHED := $(VENV)/.fetched

# How todoke ends where somebody has to change what it was told.
MISUSED := 2

.DEFAULT_GOAL := help
.PHONY: help setup run test lint format types layers unit integration acceptance bench flood soak chaos seeds mutations disasters wheel clean

help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) $(FETCHED) ## Make the environment and fetch what is needed, once

# Job control (set -m) lets the terminal's Ctrl-C reach todoke alone, so that make ends as todoke does.
run: setup ## Run the whole pipeline here, with sample payloads, until Ctrl-C (DATA= folder, ARGS= flags of todoke up)
	@! [ -t 0 ] || set -m; $(BIN)/todoke up --demo --data $(DATA) $(ARGS) || { code=$$?; [ $$code -ne $(MISUSED) ] || \
	echo "make run takes the folder as DATA=DIR, and other flags as ARGS='--http-port 0'" >&2; exit $$code; }

test: lint types layers setup ## Everything that must be green
	$(BIN)/pytest $(SPREAD) tests/chaos/test_short.py tests/acceptance tests/integration tests/contract tests/unit tests/chaos/test_judge.py

lint: $(INSTALLED) ## Rules and form of the code
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(INSTALLED) ## Put the code into its one form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(INSTALLED) ## Types of code and tests
	$(BIN)/mypy

layers: $(INSTALLED) ## Which folder may know which
	$(BIN)/lint-imports

unit: $(INSTALLED) ## Tests without servers
	$(BIN)/pytest tests/unit tests/contract

integration: setup ## Tests with real Kafka and the real ClickHouse engine
	$(BIN)/pytest $(SPREAD) tests/integration

acceptance: setup ## Tests of the installed command, from outside
	$(BIN)/pytest $(SPREAD) tests/acceptance

bench: setup ## Measure the whole pipeline: a million events with resends (EVENTS=…)
	$(BIN)/python -m tests.benchmarks.pipeline --events $(EVENTS)

flood: setup ## Measure the memory of ingest while many large posts come at once
	$(BIN)/python -m tests.benchmarks.flood

soak: MINUTES = 10
soak: setup ## Flood the whole pipeline for MINUTES, and show the memory of each part
	$(BIN)/python -m tests.benchmarks.soak --minutes $(MINUTES)

chaos: EVENTS = 10000
chaos: setup ## Break it in every way and judge (SEED= ROUNDS= MINUTES= EVENTS= of a round, KINDS= PAUSE=)
	$(BIN)/python -m tests.chaos --seed $(SEED) --rounds $(ROUNDS) --minutes $(MINUTES) --events $(EVENTS) \
		$(if $(KINDS),--kinds $(KINDS)) $(if $(PAUSE),--pause $(PAUSE))

seeds: setup ## Run the seeds of `make chaos` again that once failed
	$(BIN)/pytest tests/chaos/seeds

mutations: setup ## Take each guard out of a copy, and see that the judge of `make chaos` notices
	$(BIN)/pytest tests/chaos/mutations

disasters: setup ## Lose what cannot be kept: it must be told, and a resend must count once
	$(BIN)/pytest tests/chaos/disasters

wheel: $(INSTALLED) ## Build dist/todoke-*.whl
	$(PIP) wheel --quiet --no-build-isolation --no-deps --wheel-dir dist .

clean: ## Remove the environment and what tools leave; keeps data
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# Stamps, so that what has been done is not done again and later calls need no network.

$(MADE):
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "todoke needs Python 3.11 or later; name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@touch $@

$(LOCKED): requirements.lock $(MADE)
	@echo "fetching and installing the packages of requirements.lock into $(VENV), once"
	@$(PIP) install --progress-bar off --require-hashes -r requirements.lock | awk \
		-v all="$$(grep -c '^[a-zA-Z]' requirements.lock)" \
		'/^(Collecting|Ignoring)/ { printf "\r  %d of %d", ++n, all; fflush() } /^Installing/ { printf "\n  installing\n"; fflush() }'
	@touch $@

$(INSTALLED): pyproject.toml $(LOCKED)
	@$(PIP) install --quiet --no-build-isolation --no-deps -e .
	@touch $@

$(FETCHED): deploy/embedded/kafka/jgo.lock.toml $(INSTALLED)
	@$(BIN)/todoke fetch
	@touch $@
