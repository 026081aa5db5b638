# Two commands for a fresh machine: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo_out
TEST_PROCESSES ?= 2
EXTRAS := --extra cpu --extra dev

.PHONY: setup demo test test-slow bench check format lock clean help
.DEFAULT_GOAL := help

help:
	@echo "make demo       set up, then run the whole pipeline on a generated three-camera scene"
	@echo "make test       set up, then all tests (under 10 minutes on 2 cores)"
	@echo "make test-slow  the long tests; make bench: the benchmarks; make check: format, lint, types"

setup: $(VENV)/.installed

# uv resolves nothing here: requirements.lock pins every package with its hash.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $$($(PYTHON) --version) found. Try: make PYTHON=python3.12"; exit 1; }
	@sh tools/check_system_libraries.sh
	@if command -v uv >/dev/null; then UV=uv; else \
	  echo "installing uv into $(VENV)-uv"; $(PYTHON) -m venv $(VENV)-uv && $(VENV)-uv/bin/pip install -q "uv>=0.5,<1" && UV=$(VENV)-uv/bin/uv; fi; \
	$$UV venv -q --allow-existing --python $(PYTHON) $(VENV) && \
	echo "installing the pinned environment into $(VENV) (PyTorch is large; the first time takes a while)" && \
	$$UV pip install -q --python $(BIN)/python --require-hashes -r requirements.lock && \
	$$UV pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	@$(BIN)/python run_pipeline.py demo --out $(OUT) --overwrite

test: setup
	@$(BIN)/python -m pytest -m "not slow and not alone" -n $(TEST_PROCESSES) --dist loadfile --durations=15
	@$(BIN)/python -m pytest -m "alone and not slow" --durations=5

test-slow: setup
	@$(BIN)/python -m pytest -m slow --durations=15 --timeout=1800

bench: setup
	@failed=0; for f in benchmarks/bench_*.py; do echo "== $$f"; $(BIN)/python $$f || failed=1; done; exit $$failed

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:
	uv pip compile pyproject.toml $(EXTRAS) --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header -o requirements.lock

clean:
	rm -rf $(VENV) $(VENV)-uv demo_out
