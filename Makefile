# make run    start everything and print the address; Ctrl-C stops it
# make test   lint, then every test
# make lint | bench | soak | eval | fuzz | thorough | conformance | lock | clean

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# A stamp's name holds the checksum of what it stands for: touching a file installs nothing, changing one does.
SUM = $(firstword $(shell cat $(1) | cksum))
RUN_STAMP := $(VENV)/.installed-run-$(call SUM,requirements.txt constraints.txt)
DEV_STAMP := $(VENV)/.installed-dev-$(call SUM,requirements.txt requirements-dev.txt constraints.txt)
PYTEST_ARGS ?=
BENCH_ARGS ?=
EVAL_ARGS ?=

.PHONY: help run test lint pytest eval bench soak fuzz thorough conformance lock clean

help:
	@sed -n 's/^# make /make /p' Makefile

run: $(RUN_STAMP)
	@$(BIN)/python manage.py up

test: lint pytest

# By three processes, each with databases of its own: most tests wait for something. Then those that promise a time, alone.
# With PYTEST_ARGS only those.
pytest: $(DEV_STAMP)
ifneq ($(PYTEST_ARGS),)
	$(BIN)/python -m pytest $(PYTEST_ARGS)
else
	@status=0; \
	$(BIN)/python -m pytest tests -m "not thorough and not alone" -n 3 --no-loadscope-reorder || status=$$?; \
	$(BIN)/python -m pytest tests -m "alone and not thorough" || status=$$?; exit $$status
endif

# What takes its time: the zoo of hostile servers, hostile input and files, whole sign-ins, back-ups, graceful ends, passkeys
# and secrets in a browser.
thorough: $(DEV_STAMP)
	$(BIN)/python -m pytest tests -m thorough $(PYTEST_ARGS)

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/djlint --quiet --lint templates
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive manage.py mcpregistry registry chains chat bench 2> >(grep -v 'nosec encountered' >&2)
	$(BIN)/mypy

# How many plans of the connected model are right; it needs a model (docs/models.md) and some minutes.
eval: $(DEV_STAMP)
	$(BIN)/python -m bench.evaluation $(EVAL_ARGS)

bench: $(DEV_STAMP)
	$(BIN)/python -m bench $(BENCH_ARGS)

# Twenty users while one part after the other is killed, for SOAK_SECONDS (ten minutes).
soak: $(DEV_STAMP)
	$(BIN)/python -m bench.soak

# The API against its own document with generated input, for FUZZ_SECONDS with each of FUZZ_SEEDS (ten minutes in all).
fuzz: $(DEV_STAMP)
	FUZZ_SECONDS=$${FUZZ_SECONDS:-200} FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-50} FUZZ_SEEDS=$${FUZZ_SEEDS:-1,2,3} \
	  $(BIN)/python -m pytest tests/mcpregistry/test_fuzz.py $(PYTEST_ARGS)

# Our client against the MCP conformance suite, which npm fetches once into .conformance/ (with a Node.js 22, if need be).
conformance: $(DEV_STAMP)
	$(BIN)/python -m tests.conformance $(REVISIONS)

# Resolve the direct pins again and write down what they bring along.
lock: $(BIN)/python
	$(PIP) install --upgrade -r requirements-dev.txt
	{ echo "# What the pinned requirements bring along, as resolved together. Written by \`make lock\`."; \
	  $(BIN)/python -m pip freeze --exclude pip --exclude setuptools | sed 's/+[a-z0-9]*$$//'; } > constraints.txt

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache test-results

$(BIN)/python:
	@for name in python3.13 python3.12 python3.11 python3; do \
	  if command -v $$name > /dev/null && $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then \
	    echo "Making $(VENV) with $$name"; \
	    exec $$name -m venv $(VENV); \
	  fi; \
	done; \
	echo "Python 3.11 or newer is needed, with its venv module. Install it, then run make again." >&2; exit 1

$(RUN_STAMP): | $(BIN)/python
	@echo "Installing the pinned requirements (once, about a minute)"
	@rm -f $(VENV)/.installed-*
	@$(PIP) install -r requirements.txt -c constraints.txt
	@touch $@

$(DEV_STAMP): | $(BIN)/python
	@echo "Installing the pinned requirements for tests (once, about a minute)"
	@rm -f $(VENV)/.installed-*
	@$(PIP) install -r requirements-dev.txt -c constraints.txt
	@touch $@ $(RUN_STAMP)
