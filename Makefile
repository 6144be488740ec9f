# make demo    set up all it needs, and show the main job on the embedded distribution
# make test    set up all it needs, and pass the tests, on both versions of Nix where that may be
# make check   the tests and every other check: what has to pass before a change goes in
# make setup   the Python environment alone, in .venv
# make format  let the formatter and the linter mend what they can

# The first of these that runs and is recent enough; or name one: make PYTHON=/path/to/python
PYTHONS ?= python3 python3.13 python3.12 python3.11
# How the tests run; one worker a core. Name a part: make test TESTS=tests/formats
WORKERS ?= auto
TESTS ?= tests

BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test check setup format lint nix test-tools newest-nix clean

demo: $(INSTALLED) nix
	$(BIN)/prefetch demo

test: $(INSTALLED) test-tools newest-nix
	$(BIN)/pytest -n $(WORKERS) --dist worksteal --cov --cov-branch --cov-report=term:skip-covered $(TESTS)

check: lint test

lint: $(INSTALLED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@for python in $(or $(PYTHON),$(PYTHONS)); do \
	  $$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    && exec $$python -m venv .venv; \
	done; \
	echo "prefetch needs Python 3.11 or later with its venv module (on Debian: python3-venv);" \
	  "name one: make PYTHON=/path/to/python3.11" >&2; exit 3
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

nix:
	@tools/install-nix

test-tools:
	@tools/install-nix tests

# Where it cannot be (status 3: no root, no debootstrap), its tests say that they were skipped.
newest-nix:
	@tools/install-newest-nix || test $$? -eq 3

clean:
	rm -rf .venv .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
