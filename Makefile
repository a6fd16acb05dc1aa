# Every verb brings what it needs first and says so; `make help` lists them.
STACK ?= dev
PYTHON ?= python3
ARGS ?=
# Of tests. What shares a stack, or a file, stays with one of them: tests/turns.py.
WORKERS ?= 2

# Bytecode goes to one place outside the sources, so that it is warm and never litters.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.crm/cache/pycache

CRM := .venv/bin/crm
BOOTSTRAP := $(PYTHON) -m stacks.bootstrap

.DEFAULT_GOAL := help
.PHONY: help up down preview outputs test lint render golden bench cluster cluster-down clean \
  python base dev

help: ## Show this list
	@echo "Usage: make <verb> [STACK=dev]   (stacks: stacks/config/Pulumi.<stack>.yaml)"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s  %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "YES=1 asks nothing; PYTHON=python3.12 names the Python to begin with."

up: python ## From nothing to a running CRM; prints its URL
	@$(BOOTSTRAP) up $(STACK)
	@$(CRM) up $(STACK) --yes

down: base ## Take the stack down; data volumes and their credentials stay
	@$(CRM) destroy $(STACK) --yes

preview: python ## Show what `make up` would change
	@$(BOOTSTRAP) up $(STACK)
	@$(CRM) preview $(STACK)

outputs: base ## Show the stack's URL and other outputs
	@$(CRM) outputs $(STACK)

test: python ## Lint, then the whole suite, live tests included (ARGS="-k name" picks)
	@$(BOOTSTRAP) test
	@status=0; $(MAKE) --no-print-directory lint || status=1; \
	.venv/bin/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder $(ARGS) || status=1; \
	if [ $$status != 0 ]; then echo "error: make test failed: see lint or pytest above" >&2; fi; \
	exit $$status

lint: dev ## Style, formatting and types
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

render: base ## Write the stack's files to .crm/rendered/<stack> for review
	@$(CRM) render $(STACK) -o .crm/rendered/$(STACK)

golden: base ## Refresh the reviewed trees under tests/golden
	@$(CRM) render --all -o tests/golden

bench: python ## Measure rendering, preview and a no-op up
	@$(BOOTSTRAP) test
	@.venv/bin/python -m tests.bench $(ARGS)

cluster: python ## Start a Kubernetes for tests on this machine (root; `make test` has its own)
	@$(BOOTSTRAP) cluster
	@.venv/bin/python -m tests.cluster up

cluster-down: base ## Stop it, and remove all of it
	@.venv/bin/python -m tests.cluster down

clean: ## Remove the environment and caches; state, secrets and what runs stay
	@rm -rf .venv .crm/cache .crm/rendered .mypy_cache .ruff_cache .pytest_cache *.egg-info

base dev: python
	@$(BOOTSTRAP) $@

# Without a Python nothing can ask or explain, so this one step is the Makefile's own.
python:
	@mkdir -p -m 0700 .crm
	@new_enough() { $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }; \
	if new_enough; then exit 0; fi; \
	if command -v $(PYTHON) >/dev/null || ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ]; then \
	  echo "error: $(PYTHON) is missing or older than 3.11; install Python 3.11 or later" \
	    "(Debian 12 and later: sudo apt-get install python3 python3-venv)," \
	    "or name one: make PYTHON=python3.12" >&2; exit 1; \
	fi; \
	echo "Missing: Python 3.11 or later. It would come from the Debian packages python3 and" \
	  "python3-venv (apt-get, as root)."; \
	if [ -t 0 ] && [ "$$YES" != 1 ]; then \
	  printf 'Install it? [y/N] '; read -r answer; \
	  case "$$answer" in [yY]*) ;; *) echo "Nothing was changed."; exit 1 ;; esac; \
	fi; \
	printf 'Python: apt-get install python3 python3-venv ... '; \
	export DEBIAN_FRONTEND=noninteractive; \
	{ apt-get -qq update; apt-get -qq install --yes --no-install-recommends python3 python3-venv; } \
	  >>.crm/bootstrap.log 2>&1 || { echo "failed"; tail -n 3 .crm/bootstrap.log >&2; \
	  echo "error: apt-get could not install python3; the whole output is in .crm/bootstrap.log" >&2; \
	  exit 1; }; echo "done"; \
	new_enough || { echo "error: this Debian's python3 is older than 3.11; use Debian 12 or later" >&2; exit 1; }
