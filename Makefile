PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PACKAGE := $(VENV)/.package-installed
TOOLS := $(VENV)/.tools-installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format fixtures fuzz bench profile clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(TOOLS) ## Make the local virtual environment with everything for use and development

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pcapeda needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)

$(PACKAGE): pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $(PACKAGE)

$(TOOLS): pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[metrics,zstd,test,dev]'
	@touch $(TOOLS) $(PACKAGE)

demo: $(PACKAGE) ## Show the events of a small capture: offline, no credentials, no root
	$(BIN)/pcapeda replay fixtures/mixed.pcap --dry-run -o pretty

test: $(TOOLS) ## Run the whole test suite
	$(BIN)/python -m pytest -n auto -m 'not machine'
	$(BIN)/python -m pytest -m machine

check: $(TOOLS) ## Format, lint, types, floors: what a change must pass
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(TOOLS) ## Put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fixtures: $(TOOLS) ## Make the captures in fixtures/ anew: the same bytes every time
	$(BIN)/python fixtures/make.py

FUZZ_SECONDS ?= 60
FUZZ := $(VENV)/fuzz

fuzz: $(TOOLS) ## Look for inputs that break readers and decoders, FUZZ_SECONDS (60) each
	$(BIN)/python -m pip install --quiet atheris
	@mkdir -p $(FUZZ)/read
	$(BIN)/python -m tests.fuzz.seeds $(FUZZ)/decode
	$(BIN)/python -m tests.fuzz.fuzz_decode -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -timeout=10 $(FUZZ)/decode
	$(BIN)/python -m tests.fuzz.fuzz_read -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -timeout=10 $(FUZZ)/read fixtures

BENCH_TOOLS := $(VENV)/.bench-installed

# ministack alone, without what it depends on: that would replace the AWS SDK by an older one.
$(BENCH_TOOLS): pyproject.toml | $(TOOLS)
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	-$(BIN)/python -m pip install --quiet --no-deps ministack
	@touch $(BENCH_TOOLS)

bench: $(BENCH_TOOLS) ## Run the benchmarks (ONLY="replay start" for some) and write docs/benchmarks.md
	$(BIN)/python -m benchmarks $(ONLY)

profile: $(TOOLS) ## Show what each stage costs per packet, and the profile's top rows
	$(BIN)/python -m benchmarks.stages
	$(BIN)/python -m benchmarks.stages --profile

clean: ## Remove what was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
