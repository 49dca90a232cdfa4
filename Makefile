PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format fixtures fuzz clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make the local virtual environment with everything for use and development

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pcapeda needs Python 3.11 or later")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[zstd,test,dev]'
	@touch $(STAMP)

demo: $(STAMP) ## Show the events of a small capture: offline, no credentials, no root
	$(BIN)/pcapeda replay fixtures/mixed.pcap --dry-run -o pretty

test: $(STAMP) ## Run the whole test suite
	$(BIN)/python -m pytest

check: $(STAMP) ## Format, lint, types, floors: what a change must pass
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fixtures: $(STAMP) ## Make the captures in fixtures/ anew: the same bytes every time
	$(BIN)/python fixtures/make.py

clean: ## Remove what was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
