# Set-up, demo, tests and checks. Each target builds .venv when it is missing.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO_DIR ?= demo
CASES ?= 24
BENCH_DIR ?= bench_work
# Tests side by side, a file in one process; each starts trainings of one thread and some GiB.
TEST_PROCESSES ?= 2

.PHONY: install demo test soak bench check clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(INSTALLED)

demo: $(INSTALLED)
	@$(BIN)/nnunet-spine demo --output $(DEMO_DIR) --cases $(CASES) $(DEMO_ARGS)

test: $(INSTALLED)
	scripts/install_test_tools.sh
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

soak: $(INSTALLED)
	scripts/install_test_tools.sh
	NNUNET_SPINE_SOAK=1 $(BIN)/python -m pytest -s -k "killed_at or a_signal or a_damaged or preempted or walltime or stray" tests/integration/test_killed_training.py tests/cluster tests/e2e/test_stray_files.py $(PYTEST_ARGS)

bench: $(INSTALLED)
	$(BIN)/python benchmarks/bench.py $(BENCH_DIR) --write $(BENCH_ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/unit/test_architecture.py

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find nnunet_spine tests -name __pycache__ -type d -prune -exec rm -rf {} +
