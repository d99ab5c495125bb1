# Two commands on a fresh clone do everything: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := demo
# The dashboard's title shows this path in the pictures.
SCENES ?= /tmp/street-scenes

# A program that is installed keeps what Python has compiled; told not to, each of a thousand starts compiles anew.
unexport PYTHONDONTWRITEBYTECODE

# Of the machine without internet: its Python, torch (the oldest that will do) and processor.
PYTHON_VERSION ?=
TORCH_VERSION  ?=
ARCH           ?= x86_64

.PHONY: help demo test lint types walls tests benchmarks dist docs wheels picture clean

help:
	@echo "make demo    set up, make a small data set, train on it, show the result"
	@echo "make test    set up, then lint, types, import walls and tests: everything that CI runs"
	@echo "make docs    build the documentation as a site in site/"
	@echo "make dist    build the wheel and the source archive in dist/"
	@echo "make benchmarks    repeat all measurements and write docs/benchmarks.md"
	@echo "make wheels PYTHON_VERSION=3.12    gather what a machine without internet needs beside its own torch"
	@echo "make picture    train small networks and redraw the pictures in docs/images"
	@echo "make clean   remove the environment and the demo"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps are made anew when the list of packages changes.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "installing (PyTorch with CUDA is about 5 GB; this happens once)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

# Python compiles a module when it first imports it, so that most need not be compiled here.
$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "installing (PyTorch with CUDA is about 5 GB; this happens once)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e ".[dev]"
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed
	@test -d $(DEMO)/data/leftImg8bit || $(BIN)/seg-engine data synthesize $(DEMO)/data --images 120 --size 96x192 --seed 1
	@echo "One run in the workspace $(DEMO)/. What it tells you to type works with the commands on your path:"
	@echo "    export PATH=\$$PWD/$(BIN):\$$PATH SEG_WORKSPACE=\$$PWD/$(DEMO)"
	@echo
	$(BIN)/seg-engine --workspace $(DEMO) run quick --data $(DEMO)/data --name demo --experiment demo
	@echo
	@echo "Now look around: seg-engine runs, seg-tui, seg-engine --help"

test: lint types walls tests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

walls: $(VENV)/.installed-dev
	$(BIN)/lint-imports

# Three on two cores, as many a test waits for a process, a terminal or a server.
tests: $(VENV)/.installed-dev
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

# Half an hour on two quiet cores; writes docs/benchmarks.md.
benchmarks: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[peers]"
	$(BIN)/python -m benchmarks.all

# The warning is of the successor of the theme, which reads the same mkdocs.yml.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "open site/index.html, or look at the site while you write: $(BIN)/python -m mkdocs serve"

# docs/installing.md says what to do with them.
dist: $(VENV)/.installed-dev
	$(BIN)/python -m build --no-isolation

# docs/clusters.md says what to do with the folder.
wheels: | $(BIN)/python
	$(BIN)/python -m offline.gather wheels --arch $(ARCH) \
		$(if $(PYTHON_VERSION),--python $(PYTHON_VERSION)) $(if $(TORCH_VERSION),--torch $(TORCH_VERSION))

# Five minutes on two idle cores: the moving picture in README films a run while it trains.
picture: $(VENV)/.installed
	$(BIN)/python docs/make_moving_picture.py $(SCENES)
	$(BIN)/python docs/make_screenshots.py $(SCENES)

clean:
	rm -rf $(VENV) $(DEMO)
