# Everything a developer does. `make` alone lists it. Needs make and Python >= 3.11, nothing else; PYTHON=... picks one.

VENV := .venv
PY := $(VENV)/bin/python
PYTEST_WORKERS ?= 2
CHECKED = $(wildcard core alchemy_tui tests benchmarks examples screenshots)

# The first Python that is new enough and can build an environment. A name on PATH may be a shim that does not run.
FIT := -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11; do $$p $(FIT) && { echo $$p; break; }; done)
else
ASKED := $(PYTHON)
endif

# The environment is made again when it is not ours: half made, moved with the checkout, its Python gone or another one asked for.
OURS := $(shell test "$$(cat $(VENV)/.place 2>/dev/null)" = "$(CURDIR)" && $(PY) -c '' 2>/dev/null \
	&& { test -z "$(ASKED)" || test "$$($(ASKED) -V 2>&1)" = "$$($(PY) -V)"; } && echo yes)

PIP := $(PY) -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test quick torture lint format bench screenshots lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## deploy a sample project to the local cloud and open the dashboard on it
	@$(VENV)/bin/alchemy demo .demo

test: lint ## everything that has to pass before a change is merged
	$(PY) -m pytest -n $(PYTEST_WORKERS) --dist worksteal
ifneq ($(wildcard benchmarks/__main__.py),)
	$(PY) -m benchmarks --counts
endif
	@$(MAKE) --no-print-directory conformance

# Whole processes and whole screens: half of the time of all tests. `make test` has them.
LEFT_OUT = tests/crash tests/cli $(addprefix tests/dashboard/test_,browse.py watch.py hostile.py) $(addprefix tests/store/test_,locks.py lock_accidents.py)

quick: $(VENV)/.dev ## the daily subset: all but the slow tests
	$(PY) -m pytest -n $(PYTEST_WORKERS) --dist worksteal -m "not slow" -q $(addprefix --ignore=,$(LEFT_OUT))

# Mounts of their own need root, or a namespace where we are; docs/testing.md says how to have more of each.
INSIDE = $(shell test "$$(id -u)" = 0 || { unshare -Urm true 2>/dev/null && echo unshare -Urm; })

torture: $(VENV)/.dev ## power cuts, full disks, hundreds of kills: a quarter of an hour
	ALCHEMY_TORTURE=1 $(INSIDE) $(PY) -m pytest tests/torture -n $(PYTEST_WORKERS) --dist worksteal

# Somebody else's object store; 170 MB of npm packages that only this needs.
R2 := $(CURDIR)/$(VENV)/conformance
LOCKED := tests/conformance/package-lock.json

conformance: $(VENV)/.dev ## hold the store against miniflare's R2 (where Node >= 18 and npm are found)
	@node -e 'process.exit(+(parseInt(process.versions.node) < 18))' 2>/dev/null && npm --version >/dev/null 2>&1 \
		|| { echo "conformance: skipped, there is no Node >= 18 with npm"; exit 0; }; \
	mkdir -p $(R2); \
	cmp -s $(LOCKED) $(R2)/installed || { echo "installing miniflare"; cp $(dir $(LOCKED))package*.json $(R2); \
		npm ci --prefix $(R2) --ignore-scripts --no-audit --no-fund --silent > $(R2)/npm.log 2>&1 \
		&& cp $(LOCKED) $(R2)/installed; } \
		|| { echo "conformance: skipped, npm could not install miniflare: $(R2)/npm.log"; exit 0; }; \
	CONFORMANCE_MODULES=$(R2) $(PY) -m pytest tests/conformance

lint: $(VENV)/.dev ## style, types, layers
	$(VENV)/bin/ruff check --quiet $(CHECKED)
	$(VENV)/bin/ruff format --quiet --check $(CHECKED)
	$(VENV)/bin/mypy --no-error-summary $(CHECKED)
	$(VENV)/bin/lint-imports --no-logo > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }

format: $(VENV)/.dev ## put the code into shape: imports, layout, what ruff can mend
	$(VENV)/bin/ruff check --quiet --fix $(CHECKED)
	$(VENV)/bin/ruff format --quiet $(CHECKED)

bench: $(VENV)/.dev ## measure: wall, CPU and memory
	$(PY) -m benchmarks

screenshots: $(VENV)/.dev ## draw the pictures in screenshots/ again, from the real dashboard
	$(PY) screenshots/make.py

lock: $(VENV)/.dev ## choose the newest versions again: constraints.txt, constraints-dev.txt
	$(LOCK) --upgrade --group build --output-file constraints.txt
	$(LOCK) --upgrade --group dev --constraints constraints.txt --output-file constraints-dev.txt

LOCK = $(VENV)/bin/uv pip compile pyproject.toml --quiet --universal --generate-hashes --no-annotate \
	--no-config --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

clean: ## remove what make made (never .alchemy: that is your state)
	rm -rf $(VENV) .demo dist build .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(CHECKED) -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is written last, so what was interrupted is done again.
ifneq ($(OURS),yes)
.PHONY: $(VENV)/.place
endif
$(VENV)/.place:
	@$(or $(PYTHON),false) $(FIT) || { echo "No Python >= 3.11 with venv$(if $(ASKED), at $(ASKED))." \
		"Install one (Debian: apt install python3-venv), or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "creating $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv --clear $(VENV)
	@echo "$(CURDIR)" > $@

$(VENV)/.runtime: $(VENV)/.place constraints.txt pyproject.toml
	@echo "installing what alchemy needs (constraints.txt)"
	@$(PIP) install --require-hashes -r constraints.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.place constraints.txt constraints-dev.txt pyproject.toml
	@echo "installing what developing alchemy needs (constraints-dev.txt)"
	@$(PIP) install --require-hashes -r constraints-dev.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $(VENV)/.runtime $@
