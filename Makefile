# make demo    run the small profile from simulated patterns to the page with the tables and figures
# make test    ruff, notebooks without outputs, the tests
# make test-all  what takes too long for that: the whole corpus of damaged files, thirty kills, every signal
# make lab     open the notebooks
# make test-lowest  all tests with the oldest packages that pyproject.toml admits
# make bench   measure against other programs, and write results/benchmarks/
# Each makes .venv by itself, from nothing but Python 3.11 or newer; the second time it is there.
# make test VENV=.venv-3.13 PYTHON=python3.13  the same with another Python, in another folder

PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python && break; done)
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
LOWEST = .venv-lowest
# each test process takes about 2 GiB and starts others; the tests of a file share what they make, so they stay together
TESTS_AT_ONCE = $(shell $(PYTHON) -c 'import os; print(min(4, os.cpu_count()))')
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TESTS_AT_ONCE) --dist=loadfile --no-loadscope-reorder

.PHONY: help demo test test-all test-lowest lab bench

help:
	@sed -n 's/^# //p' Makefile

demo: $(INSTALLED)
	$(BIN)/workbook run --profile demo
	@echo "Open file://$(CURDIR)/results/demo/index.html"

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify --keep-id --extra-keys "metadata.papermill cell.metadata.papermill" notebooks/*.ipynb
	$(PYTEST)

test-all: $(INSTALLED)
	$(PYTEST) -m whole
	$(BIN)/python tests/kill_harness.py --kills 30

# PINS="torch==2.13.0 torchvision==0.28.0" takes these builds instead, where older ones cannot be had
test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest -m 'whole or not whole'

lab: $(INSTALLED)
	$(BIN)/jupyter lab notebooks

# a script that needs another program says how to install it, and measures nothing without
bench: $(INSTALLED)
	for script in $$(grep -l __main__ tests/benchmarks/*.py); do $(BIN)/python $$script || exit 1; done

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or say make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch $@

$(LOWEST)/.installed: pyproject.toml tests/lowest_versions.py
	$(PYTHON) -m venv $(LOWEST)
	$(PYTHON) tests/lowest_versions.py $(PINS) > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --disable-pip-version-check -c $(LOWEST)/constraints.txt -e ".[test]"
	@touch $@
