# Short commands. PYTHON=... chooses the interpreter; `make` alone lists them.
PYTHON ?= python
ARGS ?=

.PHONY: help install test quick long everywhere lint format types layers bench readme oclgrind docs ci clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: ## everything a contributor needs, in the current environment
	$(PYTHON) -m pip install -e '.[test,examples,intel,parity,dev]'

test: ## the tests (ARGS="-k softmax" chooses)
	$(PYTHON) -m pytest $(ARGS)

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

oclgrind: ## the kernels of tiny cases under Oclgrind: races, bounds, uninitialised memory (apt install oclgrind)
	@command -v oclgrind >/dev/null || { echo "oclgrind is not installed: apt install oclgrind"; exit 1; }
	NETCL_DEVICE=oclgrind NETCL_CACHE=0 oclgrind --check-api --uninitialized $(PYTHON) -m pytest \
	  -m "not long" --timeout 1200 tests/ops -k "tiny" $(ARGS)

docs: ## the examples in the documentation, run as tests
	$(PYTHON) -m pytest tests/test_docs.py $(ARGS)

ci: ## what runs before a change lands, in an environment of its own
	bash .ci/run

clean: ## caches and build results in this folder
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
