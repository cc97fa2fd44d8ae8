# `make` lints and tests; `make demo` shows the system with imported data.

PORT ?= 8000
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: all setup demo run test axe screenshots lint bench bench-admin chaos soak fuzz clean
.NOTPARALLEL:

all: lint test

setup: $(INSTALLED)

$(INSTALLED): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	touch $@

# A newcomer's first settings. Production has its own environment and never runs these targets.
.env:
	cp .env.example .env

demo: setup .env
	PORT=$(PORT) $(BIN)/python manage.py demo

run: setup .env
	$(BIN)/python manage.py migrate --no-input
	$(BIN)/granian --interface wsgi --no-ws --blocking-threads 16 --host 127.0.0.1 --port $(PORT) scheduler.wsgi:application

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal

# What the tests of accessibility run in the browser; without npm they are skipped.
AXE := .local/axe/node_modules/axe-core/axe.min.js

axe: $(AXE)

$(AXE):
	npm install --no-save --no-audit --no-fund --silent --prefix .local/axe axe-core@4.14.1

screenshots: setup
	DEBUG=1 $(BIN)/python -m scheduler.tests.browser.screenshots

lint: export DEBUG = 1
lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/python manage.py check
	$(BIN)/python manage.py makemigrations --check --dry-run

BENCHMARKS := import_speed pool_throughput bulk_speed async_writers llm_wait restart_under_load availability api_speed upload_speed

bench: setup
	set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name; done

# A million leads, 3 million calls and 20 million turns: a quarter of an hour for the first time, 8 GB below .local.
bench-admin: setup
	$(BIN)/python -m benchmarks.admin_speed $(SIZE)

chaos: setup
	$(BIN)/python -m pytest -m chaos -s

# What the published schema allows and forbids, 2,000 times each endpoint, and 200 chains of requests.
fuzz: setup
	$(BIN)/python -m pytest -m slow -n 2 --dist worksteal scheduler/tests/test_schema_fuzz.py

soak: setup
	$(BIN)/python -m pytest -m soak -s

# The servers go first: they must not run without their files, which as root may live outside the project.
clean:
	-[ ! -d .local ] || $(BIN)/python -c 'from database.embedded import EmbeddedServer as S; \
		[S(f".local/{name}").remove() for name in ("postgres", "test-postgres", "bench/postgres")]'
	rm -rf .local .mypy_cache .ruff_cache .pytest_cache .hypothesis
