# `make demo` and `make test` do everything on a fresh machine with Python >= 3.11, venv, make and git.
PY ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0
# Two cores are the smallest machine this is meant for; more threads than cores slows every solver.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-slow fuzz fuzz-files fuzz-laws soundness bench vnncomp lint types unit wheel clean

$(VENV)/.stamp: pyproject.toml constraints.txt tools/ensure_torch.py
	$(PY) -m venv $(VENV)
	$(BIN)/python tools/ensure_torch.py "$(TORCH)" -c constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

demo: $(VENV)/.stamp
	$(BIN)/python examples/demo.py

test: lint types unit wheel

lint: $(VENV)/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/specdsl format --check specs

types: $(VENV)/.stamp
	$(BIN)/basedpyright

# Many tests start a process: without compiled files, each spends 3 s on compiling the package.
unit: export PYTHONDONTWRITEBYTECODE :=
unit: $(VENV)/.stamp
	$(BIN)/python -m compileall -q specdsl benchmarks tests
	$(BIN)/python -m pytest -n 2 -m "not slow"

# The wheel, installed by itself into an empty environment, must check a spec.
wheel: $(VENV)/.stamp
	$(BIN)/python tools/check_wheel.py

test-slow: $(VENV)/.stamp
	$(BIN)/python -m pytest -m slow

# What nobody has seen yet (docs/fuzzing.md): changed files, and laws of the tests on new examples.
fuzz: fuzz-files fuzz-laws

# 100,000 changed files (`make test` runs 20,000, always the same), some 4 minutes; then as many as fit
# into FUZZ_SECONDS, chosen by what code they reach, which needs the extra `fuzz`.
FUZZ_RUNS ?= 100000
FUZZ_SECONDS ?= 600
fuzz-files: $(VENV)/.fuzz-stamp
	$(BIN)/python -m tests.fuzz --runs $(FUZZ_RUNS) --seed random
	$(BIN)/python -m tests.fuzz.coverage --seconds $(FUZZ_SECONDS)

$(VENV)/.fuzz-stamp: $(VENV)/.stamp
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,fuzz]"
	touch $@

# Laws of the tests on new examples: see docs/decisions/020-fixed-examples.md.
ROUNDS ?= 3
fuzz-laws: $(VENV)/.stamp
	for round in $$(seq $(ROUNDS)); do \
	  echo "round $$round of $(ROUNDS)"; \
	  SPECDSL_TESTS=random $(BIN)/python -m pytest -n 2 -m "hypothesis and not slow" || exit 1; \
	done

# Deciding three families of VNN-COMP; the data lies beside the project. About ten minutes.
bench: $(VENV)/.stamp
	mkdir -p build
	$(BIN)/specdsl bench ../shared/data/vnncomp/instances.csv --timeout 60 \
	  -k "acasxu or mnist_fc or oval21" -o build/bench.csv

# Adversaries against every method, counted: rewrites docs/soundness.md. An hour and a half.
soundness: $(VENV)/.stamp
	$(BIN)/python -m benchmarks.soundness --page docs/soundness.md

# All families, a process for each instance, beside other tools: rewrites docs/vnncomp.md. Hours.
VNNCOMP ?= ../shared/data/vnncomp
vnncomp: $(VENV)/.stamp
	mkdir -p build
	$(BIN)/specdsl bench $(VNNCOMP)/instances.csv --isolate --memory 16 --timeout 60 \
	  -o build/vnncomp.jsonl --witnesses build/witnesses
	$(BIN)/python -m benchmarks.vnncomp $(VNNCOMP)/reference.csv build/vnncomp.jsonl \
	  --page docs/vnncomp.md --plot docs/vnncomp.svg

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
