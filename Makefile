# make demo   install into .venv and run experiments/quickstart.yaml from question to verdict
# make test   install into .venv, make sure of a browser, run every test
# make ui     open the comparison in a browser
# make lint   ruff and mypy
# make bench  the measurements that README.md and the docstrings quote

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo ui test test-fast test-real test-ray test-browser lint bench clean browser

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
JOBS ?= 2

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# The stamp is written last, so that an install that was interrupted is done again.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "ftlab needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/ftlab run experiments/quickstart.yaml && $(BIN)/ftlab decide quickstart

ui: $(STAMP)
	@$(BIN)/ftlab ui

browser:
	@.ci/ensure_browser.sh

test-fast: $(STAMP)
	$(BIN)/python -m pytest -q -n $(JOBS) -m "not real and not browser and not ray"

test-real: $(STAMP)
	$(BIN)/python -m pytest -q -m real

test-ray: $(STAMP)
	$(BIN)/python -m pytest -q -m ray

test-browser: $(STAMP) browser
	$(BIN)/python -m pytest -q -m browser

# One pytest run for each tier: the real one needs all cores for itself, the browser one a quiet machine, and the Ray one
# a cluster of its own.
test: $(STAMP) browser
	$(BIN)/python -m pytest -q -n $(JOBS) -m "not real and not browser and not ray"
	$(BIN)/python -m pytest -q -m ray
	$(BIN)/python -m pytest -q -m real
	$(BIN)/python -m pytest -q -m browser

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
