# Bare `make` lists the targets. Every target does its own set-up through `install`.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SECONDS ?=
HISTORY ?=
ROUNDS ?= 1
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install frameworks demo test explore lint format bench pictures lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## make the private .venv from requirements.lock

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "ninesight needs Python 3.11 or newer, found %d.%d at %s; set PYTHON=/path/to/python3.11" % (v[0], v[1], sys.executable))'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	@echo "installing packages from requirements.lock ..."
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

frameworks: install ## make the environments of frameworks that tests start apart (ARGS="torch" picks one)
	@tests/sdk/integrations/make_venvs.sh $(ARGS)

demo: install ## run everything: store, server, load, pages, an alert (SECONDS=150 stops by itself, HISTORY=24h adds a labelled past)
	@$(BIN)/ninesight demo $(if $(SECONDS),--seconds $(SECONDS)) $(if $(HISTORY),--history $(HISTORY)) $(ARGS)

test: install ## run the tests (ARGS="-k store" picks some)
	@$(BIN)/python -m pytest $(ARGS)

explore: install ## property tests with new random examples (ROUNDS=10 rounds)
	@for n in $$(seq $(ROUNDS)); do HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest -q -m hypothesis $(ARGS) || exit 1; done

lint: install ## ruff and strict types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: install ## let ruff rewrite the code in house style
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: install ## run every benchmark, one JSON line each at the end
	@for f in benchmarks/*.py; do echo "== $$f"; $(BIN)/python $$f || exit 1; done

pictures: install ## take the README's pictures from the real demo (needs chromium)
	@$(BIN)/python docs/take_pictures.py

lock: install ## renew requirements.lock (hashes for every platform, no index address)
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 --upgrade --quiet -o requirements.lock
	@cd tests/sdk/integrations/frameworks && ../../../../$(BIN)/uv pip compile ../../../../pyproject.toml bare.in --constraint ../../../../requirements.lock --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --python-version 3.11 --quiet -o bare.lock

clean: ## remove what the targets made
	@rm -rf $(VENV) .frameworks .demo .pytest_cache .mypy_cache .ruff_cache
