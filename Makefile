# Everything a newcomer types. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
BIN := .venv/bin

.PHONY: help setup demo up down status test test-fast check fmt lint types replay bench lock docs clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.uv/bin/uv:
	$(PYTHON) -m venv .uv && .uv/bin/pip install --quiet uv

.venv/.installed: requirements.lock pyproject.toml $(if $(filter .uv/bin/uv,$(UV)),.uv/bin/uv)
	$(UV) venv --quiet --allow-existing --python $(shell command -v $(PYTHON)) .venv
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

setup: .venv/.installed ## install everything, locked, into .venv

demo: setup ## the whole thing on real parts: a stack, a stream of real changes, searches, a notice, an expiry
	$(BIN)/python -m compose.demo

up: setup ## start the local stack in the background
	$(BIN)/freshet up --detach

down: ## end what `make up` or `make demo` started; the state stays
	$(BIN)/freshet down

status: ## how the local stack stands
	$(BIN)/freshet status

test: setup ## every test, against real PostgreSQL, Kafka and Temporal
	$(BIN)/python -m pytest

test-fast: setup ## tests that need no service
	$(BIN)/python -m pytest tests/unit tests/property tests/contract tests/replay

check: setup ## formatting, lint, import contracts, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

fmt: setup ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

replay: setup ## replay the recorded workflow histories
	$(BIN)/python -m pytest tests/replay

bench: setup ## measure; writes build/bench
	$(BIN)/python -m tests.bench

lock: ## resolve the dependencies anew into requirements.lock
	$(UV) lock --quiet --upgrade
	$(UV) export --quiet --no-header --no-annotate --no-emit-project --extra all --group dev --format requirements-txt > requirements.lock

docs: setup ## make the generated pages anew: settings table, env.example
	$(BIN)/python -m workers.config.settings_table
	$(BIN)/python -m compose.env_example > compose/env.example.new && mv compose/env.example.new compose/env.example

clean: ## remove what was installed and built
	rm -rf .venv .uv build dist .pytest_cache .ruff_cache
