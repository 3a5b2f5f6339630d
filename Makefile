# A menu. Every line below is one command that also works when typed by hand.

.DEFAULT_GOAL := help
.PHONY: help setup test book pdf sweep lint bench clean

BIN := .venv/bin
BOOKFLAGS ?=
TESTFLAGS ?=
GRIDS ?= grids/*.yaml
SWEEPFLAGS ?= -j 2

# A folder with data beside the checkout is used unless the reader names another.
ifeq ($(origin RLAP_DATA),undefined)
ifneq ($(wildcard ../shared/data/.),)
export RLAP_DATA := $(CURDIR)/../shared/data
endif
endif

# Keep freed memory, as `rlap run` does (rlap/runs/__init__.py says why).
export MALLOC_MMAP_MAX_ ?= 0
export MALLOC_TRIM_THRESHOLD_ ?= 17179869184

help:  ## show this menu
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 10

setup: .venv/.installed  ## create .venv and install everything into it

# Runs again only when a dependency changes, so a second `make` needs no network.
.venv/.installed: pyproject.toml constraints.txt
	"$$(command -v python3.11 || command -v python3)" -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt -e ".[book,test]"
	@touch $@

# A process a core, each with one thread: side by side they take half of the time.
test: setup  ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist worksteal $(TESTFLAGS)

book: setup  ## build the book into _build/html
	$(BIN)/jupyter-book build book/ $(BOOKFLAGS)
	@echo "Read it: $(CURDIR)/_build/html/index.html"

pdf: book  ## print the book into _build/pdf/book.pdf (needs Chromium)
	$(BIN)/python book/_ext/to_pdf.py _build/html _build/pdf/book.pdf

sweep: setup  ## run what is missing of the grids (hours: try SWEEPFLAGS=--estimate)
	$(BIN)/rlap sweep $(GRIDS) $(SWEEPFLAGS)

lint: setup  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: setup  ## time every stage: against plain code, b511a05, others, and in size
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[bench]"
	$(BIN)/python benchmarks/run.py

clean:  ## remove what builds left behind, .venv included
	rm -rf .venv _build book/notebooks book/results
