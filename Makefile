# make demo      set up all it needs, and show the main job on the embedded distribution
# make test      set up all it needs, and pass the quick tests: each promise once
# make test-all  all tests: these, and what is tried at greater length, on both versions of Nix
# make cover     all tests, and what of the program they do not reach; that takes half as long again
# make check     all tests and every other check: what has to pass before a change goes in
# make man       prefetch.1, the manual page
# make setup     the Python environment alone, in .venv
# make format    let the formatter and the linter mend what they can
# make fuzz      every parser, SECONDS=60 each, or some of them: make fuzz TARGETS="nar narinfo"
# make lock      locks/ anew after a change of pyproject.toml; all versions anew: make lock UPGRADE=1
# make audit     whether what is locked is known to be vulnerable; asks PyPI

# The first of these that runs and is recent enough; or name one: make PYTHON=/path/to/python
PYTHONS ?= python3 python3.13 python3.12 python3.11
# How the tests run; one worker a core. Name a part: make test TESTS=tests/formats
WORKERS ?= auto
TESTS ?= tests
SECONDS ?= 60
TARGETS ?=
UPGRADE ?=
QUICK :=
COVERAGE :=

BIN := .venv/bin
INSTALLED := .venv/.installed
# What locks and audits is not among what is developed with: its dependencies are its own.
RELEASE := .venv-release/bin
RELEASE_INSTALLED := .venv-release/.installed
# Of exactly these bytes, whatever the index says; what builds a package is locked, too. Without
# looking for dependencies, which are all in the lock: an older pip would want newer ones.
PIP_INSTALL := -m pip install --quiet --require-hashes --no-deps
LOCKS := run development fuzz release

.PHONY: demo test test-all cover check man setup format lint fuzz lock audit nix test-tools \
  newest-nix clean

demo: $(INSTALLED) nix
	$(BIN)/prefetch demo

test: QUICK := -m "not thorough"
cover: COVERAGE := --cov --cov-report=term:skip-covered

test test-all cover: $(INSTALLED) test-tools newest-nix
	$(BIN)/pytest -n $(WORKERS) --dist worksteal $(QUICK) $(COVERAGE) $(TESTS)

check: lint test-all

lint: $(INSTALLED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

man: $(INSTALLED)
	$(BIN)/prefetch man >prefetch.1

format: $(INSTALLED)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml locks/development.txt
	@for python in $(or $(PYTHON),$(PYTHONS)); do \
	  $$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    && exec $$python -m venv .venv; \
	done; \
	echo "prefetch needs Python 3.11 or later with its venv module (on Debian: python3-venv);" \
	  "name one: make PYTHON=/path/to/python3.11" >&2; exit 3
	$(BIN)/python $(PIP_INSTALL) --requirement locks/development.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(RELEASE_INSTALLED): $(INSTALLED) locks/release.txt
	$(BIN)/python -m venv .venv-release
	$(RELEASE)/python $(PIP_INSTALL) --requirement locks/release.txt
	@touch $@

fuzz: $(INSTALLED)
	$(BIN)/python $(PIP_INSTALL) --requirement locks/fuzz.txt
	PYTHONPATH=tests nice $(BIN)/python -m fuzz --seconds $(SECONDS) $(TARGETS)

lock: $(RELEASE_INSTALLED)
	for lock in $(LOCKS); do \
	  case $$lock in run) extra=;; development) extra="--extra dev";; *) extra="--extra $$lock";; esac; \
	  $(RELEASE)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) $$extra \
	    --output-file locks/$$lock.txt pyproject.toml || exit; \
	done

audit: $(RELEASE_INSTALLED)
	for lock in $(LOCKS); do \
	  $(RELEASE)/pip-audit --strict --disable-pip --require-hashes \
	    --requirement locks/$$lock.txt || exit; \
	done

nix:
	@tools/install-nix

test-tools:
	@tools/install-nix tests

# Where it cannot be (status 3: no root, no debootstrap), its tests say that they were skipped.
newest-nix:
	@tools/install-newest-nix || test $$? -eq 3

clean:
	rm -rf .venv .venv-release .fuzz .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
