# Each target sets itself up: the environment in .venv is made once and renewed when
# pyproject.toml or constraints.txt change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BACKBONE ?= descriptor
WEIGHTS ?=
# Test processes, each with a Ray and an S3 server of its own: on two cores three, for much of the
# time they wait. `python -m pytest some_file.py` is one process.
WORKERS ?= 3
# Labelled images and weights for `bench`, where there are any.
SPECRAY_ASSETS ?= ../shared
TINY := $(wildcard $(SPECRAY_ASSETS)/weights/vit_tiny/*.safetensors)
REAL := $(if $(TINY),--data $(SPECRAY_ASSETS)/data --backbone vit_tiny_patch16_224 --weights $(TINY))

.PHONY: demo test lint bench clean

demo: $(VENV)/.ready
	$(BIN)/specray demo --output demo --backbone $(BACKBONE) $(if $(WEIGHTS),--weights $(WEIGHTS))

test: $(VENV)/.ready
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.ready
	$(BIN)/specray benchmark --output bench $(REAL)

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "specray needs Python >= 3.11; try: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@echo "compiling (once, a minute)"; $(BIN)/python -m specray.warm
	@touch $@

clean:
	rm -rf $(VENV) demo bench
