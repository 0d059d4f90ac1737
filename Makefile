# Everything a newcomer types. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
# Pinned by hash in tools.lock, like all that builds and checks: not the one that the machine may have.
UV := .uv/bin/uv
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

# Tests that need no service run side by side, one process per core. The others wait more than they compute: two
# processes with a set of servers each; a file stays together, since its fixtures are made once.
FAST := tests/unit tests/property tests/contract tests/replay
SERVED := tests/service tests/migrations tests/e2e
SIDE_BY_SIDE := -n logical --dist worksteal
IN_TWO := -n 2 --dist loadfile

# `make test T=tests/unit/corpus/split` runs one folder, file or test.
T ?=
# `make faults ARGS=--help` lists its options.
ARGS ?=

.PHONY: help setup demo up down status test test-fast check lint contracts types spelling fmt histories replay bench scale faults debezium shape sbom lock docs hooks clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.uv/.installed: tools.lock
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --require-hashes --requirement tools.lock
	@touch $@

.venv/.installed: requirements.lock pyproject.toml .uv/.installed
	$(UV) venv --quiet --allow-existing --python $(shell command -v $(PYTHON)) .venv
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --build-constraint tools.lock --editable .
	@touch $@

setup: .venv/.installed ## install everything, locked, into .venv

demo: setup ## the whole thing on real parts: a stack, a stream of real changes, searches, a notice, an expiry
	$(BIN)/python -m compose.demo

up: setup ## start the local stack in the background
	$(BIN)/freshet up --detach

down: ## end what `make up` or `make demo` started; the state stays
	$(BIN)/freshet down

status: ## show the parts of the local stack
	$(BIN)/freshet status

test: setup ## every test, against real PostgreSQL, Kafka and Temporal; T=PATH runs one folder, file or test
ifeq ($(T),)
	$(PYTEST) $(SIDE_BY_SIDE) $(FAST)
	$(PYTEST) $(IN_TWO) $(SERVED)
else
	$(PYTEST) $(T)
endif

test-fast: setup ## tests that need no service
	$(PYTEST) $(SIDE_BY_SIDE) $(FAST)

check: lint contracts types spelling ## all that must pass before a commit, without a test

lint: setup ## formatting and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/hadolint compose/Dockerfile

contracts: setup ## which module may import which
	$(BIN)/lint-imports

types: setup ## types, strictly
	$(BIN)/pyright

spelling: setup ## common misspellings
	$(BIN)/codespell

fmt: setup ## format, and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

histories: setup ## try many random histories of a source against its model; N=COUNT, 200 without it
	HISTORIES=$(or $(N),200) $(PYTEST) tests/service/test_histories.py

replay: setup ## replay the recorded workflow histories
	$(PYTEST) tests/replay

bench: setup ## measure; writes build/bench
	$(BIN)/python -m tests.bench

scale: setup ## search, publishing and storage of 100,000 chunks; ARGS="--chunks 20000 --baseline HEAD~1" and others
	$(BIN)/python -m tests.bench.scale $(ARGS)

faults: setup ## kill, freeze and delay everything under the PEP stream; ARGS="--seed 1 --faults 10" and others
	$(BIN)/python -m tests.bench.faults $(ARGS)

debezium: setup ## edit a table under a real Debezium, and kill it and the roles; ARGS="--seed 1 --kills 3" and others
	$(BIN)/python -m tests.bench.debezium $(ARGS)

shape: setup ## the figures of the code's shape
	$(BIN)/python -m tests.bench.shape

sbom: setup ## write build/sbom.json (CycloneDX): everything that is installed, fetched or run in a container
	@mkdir -p build
	.uv/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible | $(BIN)/python -m compose.sbom > build/sbom.json.new
	@mv build/sbom.json.new build/sbom.json

lock: .uv/.installed ## resolve the dependencies again into requirements.lock, the tools into tools.lock
	$(UV) lock --quiet --upgrade
	$(UV) export --quiet --no-header --no-annotate --no-emit-project --extra all --group dev --format requirements-txt > requirements.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes --no-header --no-annotate tools.in --output-file tools.lock

docs: setup ## regenerate the generated pages: settings table, env.example, JSON Schema, table of the code's shape
	$(BIN)/python -m workers.readme
	$(BIN)/python -m compose.env_example > compose/env.example.new && mv compose/env.example.new compose/env.example
	$(BIN)/python -m workers config schema > examples/freshet.schema.json.new && mv examples/freshet.schema.json.new examples/freshet.schema.json
	$(BIN)/python -m tests.bench.shape --write

hooks: setup ## let git run the quick checks before each commit
	$(BIN)/pre-commit install

clean: ## remove what was installed and built
	rm -rf .venv .uv build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
