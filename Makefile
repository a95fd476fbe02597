# Two commands set everything up on a fresh machine: `make demo`, `make test`.
# PYTHON picks the interpreter (3.11 or newer), VENV where the environment goes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# A screen where there is none, so that the real napari viewer runs.
SCREEN := $(shell [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || [ "$$(uname)" != Linux ] || echo 'xvfb-run -a -s "-screen 0 1600x1000x24"')

.PHONY: demo test lint types contracts manifest check wheel pictures starter synthetic-head benchmarks clean

demo: $(BIN)/.installed  ## the main job on the built-in smear: napari, or files where there is no screen
	$(BIN)/napari-cytosae demo

test: $(BIN)/.installed $(BIN)/.system  ## the whole suite, with a real napari viewer
	$(SCREEN) $(BIN)/python -m pytest

lint: $(BIN)/.developer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(BIN)/.developer
	$(BIN)/mypy

contracts: $(BIN)/.developer
	$(BIN)/lint-imports

manifest: $(BIN)/.installed
	$(BIN)/npe2 validate napari_cytosae
	$(BIN)/npe2 validate napari.yaml

check: lint types contracts manifest

pictures: $(BIN)/.installed $(BIN)/.system  ## README pictures, from the real program
	$(SCREEN) $(BIN)/python scripts/screenshots.py docs/images

# Folder with bccd/, chula_rbc/ and wbc_segmentation/, see scripts/starter and benchmarks.
DATA ?= data

starter: $(BIN)/.installed  ## trains the built-in model; goes on where it was killed
	$(BIN)/python scripts/starter/build.py --data $(DATA)

synthetic-head: $(BIN)/.installed  ## trains the built-in head; needed when the starter changes
	rm -rf runs/synthetic-head
	$(BIN)/python scripts/synthetic_head.py

benchmarks: $(BIN)/.installed  ## what the README quotes
	$(BIN)/python benchmarks/segmentation.py --data $(DATA)
	$(BIN)/python benchmarks/starter.py --data $(DATA)
	$(BIN)/python benchmarks/encode.py --bfloat16
	$(BIN)/python benchmarks/loading.py
	$(BIN)/python benchmarks/cohort.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(BIN)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[all,test]"
	touch $@

$(BIN)/.developer: pyproject.toml | $(BIN)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  build import-linter mypy pandas-stubs scipy-stubs pre-commit ruff
	touch $@

$(BIN)/.system: scripts/system-libraries.sh | $(BIN)/python
	sh scripts/system-libraries.sh
	touch $@

wheel: $(BIN)/.developer  ## builds the package and looks into it
	rm -rf dist
	$(BIN)/python -m build --quiet --wheel
	$(BIN)/python scripts/check_wheel.py dist/*.whl

clean:
	rm -rf $(VENV) build dist cytosae-demo .mypy_cache .ruff_cache .pytest_cache
