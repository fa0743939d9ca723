PYTHON ?= python3
VENV   := .venv
BENCH  := .venv-bench
LOOPS  := $(wildcard solvers/flow/*_loops.py solvers/adjoint/chain_*.py solvers/adjoint/*_loops.py)

.PHONY: demo test test-all checked lint bench crosscheck mutants fuzz clean

demo: $(VENV)/.compiled
	$(VENV)/bin/continuum run liu_markowich/resnet_limit --out results \
	  --workers $$($(VENV)/bin/python -c "from studies.bench.environment import cores; print(min(2, cores()))")

test: checked
	$(VENV)/bin/pytest -n 2 -m "not slow"

test-all: checked
	$(VENV)/bin/pytest -n 2
	$(VENV)/bin/continuum verify --slow

# each keeps one core busy for a minute
checked: $(VENV)/.made
	$(MAKE) -j 2 lint $(VENV)/.compiled

lint: $(VENV)/.made
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright
	$(VENV)/bin/lint-imports

mutants: $(VENV)/.made
	$(VENV)/bin/python tests/mutants.py

# public functions and command lines with bad arguments: tables of what they answer, exit code 1 if something is no answer
fuzz: $(VENV)/.compiled
	$(VENV)/bin/python tests/fuzz.py
	$(VENV)/bin/python tests/fuzz_commands.py

# peers live in an environment of their own; on Linux, PIP_EXTRA_INDEX_URL can name an index with the CPU build of PyTorch
bench: $(BENCH)/.made
	$(BENCH)/bin/continuum bench

# derivatives against PyTorch's and JAX's, in the environment of the peers
crosscheck: $(BENCH)/.made
	$(BENCH)/bin/python -m pytest -m crosscheck tests/test_crosscheck.py tests/test_crosscheck_lyapunov.py tests/test_crosscheck_nar_sastry.py tests/test_adjoint_steppers.py tests/test_onnx_files.py

$(VENV)/.made: pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python >= 3.11 is needed: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --editable '.[dev]'
	touch $@

# the loops that most studies use, so that neither the demo nor the tests compile them
$(VENV)/.compiled: $(VENV)/.made continuum/compiled.py $(LOOPS)
	$(VENV)/bin/continuum compile
	touch $@

$(BENCH)/.made: pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install --quiet --editable .
	$(BENCH)/bin/pip install --quiet --editable '.[bench,crosscheck]'
	touch $@

clean:
	rm -rf $(VENV) $(BENCH) results .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
