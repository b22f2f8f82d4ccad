# Everything a fresh clone needs is made here: a machine needs python3 (3.11 or later, with venv).
#
#   make explore          the explorer as a page      PORT=8866  HOST=127.0.0.1  OPEN=1
#   make lab              the notebooks in JupyterLab  LAB_PORT=8888  OPEN=1
#   make test             every check and every test   PYTEST_ARGS="-k decay"
#   make unit             the quick tests of Python that need no browser, each property
#                         with a quarter of its examples   PYTEST_ARGS="-k decay"
#   make js               the tests of JavaScript that need no browser
#   make check            the static checks alone
#   make docs             the architecture and the gallery, anew, and all of docs/ as pages, in site/
#   make clean            remove what make made

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8866
LAB_PORT ?= 8888
OPEN ?=
PYTEST_ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUNTIME := .venv/runtime.stamp
DEVELOPMENT := .venv/development.stamp
TYPESCRIPT := node_modules/typescript.stamp
BROWSER := $(if $(filter-out 0 no false,$(OPEN)),,--no-browser)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help explore lab test unit js check docs clean

help:
	@sed -n 's/^#   //p' Makefile

explore: $(RUNTIME)
	@exec $(BIN)/retnet-viz explore --host $(HOST) --port $(PORT) $(BROWSER)

lab: $(RUNTIME)
	@exec $(BIN)/retnet-viz lab --host $(HOST) --port $(LAB_PORT) $(BROWSER)

# The browser's tests come by themselves: Playwright leaves an event loop behind, and each of them needs
# about a core for its server and its browser. 5: PYTEST_ARGS choose none of a part.
test: check js
	@chromium="$$($(BIN)/python -m tests.support.chromium)" && export CHROMIUM="$$chromium" && \
	  { $(BIN)/python -m pytest -n auto --dist worksteal -m "not browser" $(PYTEST_ARGS) || [ $$? = 5 ]; } && \
	  { $(BIN)/python -m pytest -n 2 --dist loadfile -m browser $(PYTEST_ARGS) || [ $$? = 5 ]; }

unit: $(DEVELOPMENT)
	@RETNET_VIZ_TESTS=quick $(BIN)/python -m pytest -n auto --dist worksteal -m "not slow" --ignore tests/browser --ignore tests/docs \
	  --ignore tests/test_notebooks.py --ignore tests/test_three_modes.py $(PYTEST_ARGS)

js: $(DEVELOPMENT)
	@$(BIN)/node --test --test-reporter dot "tests/js/*.test.js"

check: $(DEVELOPMENT) $(TYPESCRIPT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/biome ci --error-on-warnings .
	@if [ -e $(TYPESCRIPT) ]; then echo tsc; $(BIN)/node node_modules/typescript/bin/tsc; \
	  else echo "NOT CHECKED: the types of the JavaScript, for want of npm's registry" >&2; fi
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: $(DEVELOPMENT)
	@$(BIN)/python -m docs.architecture
	@chromium="$$($(BIN)/python -m tests.support.chromium)" && \
	  CHROMIUM="$$chromium" $(BIN)/python -m docs.gallery
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf .venv node_modules build dist site *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or later is needed: install it, or name it with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "This Python lacks venv: install it (Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@$(PYTHON) -m venv .venv
	@touch $@

$(RUNTIME): requirements.txt pyproject.toml | .venv/python.stamp
	@echo "Installing the packages of requirements.txt into .venv (once) ..."
	@$(PIP) install --quiet -r requirements.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(DEVELOPMENT): requirements-dev.txt $(RUNTIME)
	@echo "Installing the packages of requirements-dev.txt into .venv (once) ..."
	@$(PIP) install --quiet -r requirements-dev.txt
	@touch $@

# npm comes with node, from requirements-dev.txt. Its registry is a second one beside Python's: where
# it is not reached, all but the types of the JavaScript is checked.
$(TYPESCRIPT): package.json package-lock.json $(DEVELOPMENT)
	@echo "Installing the packages of package.json into node_modules (once) ..."
	@if PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/npm ci --ignore-scripts --no-audit --no-fund \
	  --loglevel=error --fetch-retries=1 --fetch-timeout=60000; then touch $@; fi
