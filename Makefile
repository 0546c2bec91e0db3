# What a person does with a checkout of relay. Everything it needs is put into .venv, once, and
# again when pyproject.toml changes. PYTHON=… names the Python to make it with.

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help run test check format bench bench-classify bench-limits test-container programs clean

help: ## say what there is
	@echo "make …"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

run: $(BIN)/.run ## start a relay that rehearses: nothing leaves this machine (ARGS="…" for relay run)
	@$(BIN)/relay run $(or $(ARGS),--rehearsal)

test: $(BIN)/.dev programs ## run all tests (ARGS="…" for pytest)
	@$(BIN)/python -m pytest $(ARGS)

check: $(BIN)/.dev ## format, lint, types, and which room may import which
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(BIN)/.dev ## put the code into the format that check asks for
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(BIN)/.dev programs ## measure relay beside a private Postfix (ARGS="…"), and what asking the limits costs
	@$(BIN)/python -m tests.bench $(ARGS)
	@$(BIN)/python -m tests.bench.bench_limits --cost

bench-classify: $(BIN)/.dev ## measure how fast mail is classified (ARGS="…")
	@$(BIN)/python -m tests.bench.bench_classify $(ARGS)

bench-limits: $(BIN)/.dev ## play weeks with providers in 10,000 random patterns, count what is over, lost or late (half an hour; ARGS="--patterns N --weeks N")
	@$(BIN)/python -m tests.bench.bench_limits $(ARGS)

test-container: ## build the image, run it and send a mail through it (takes minutes, needs root)
	@tests/service/container.sh

programs:
	@tools/programs

clean: ## remove all that these made
	rm -rf $(VENV) build dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find relay tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The Python in there is a link to one of the machine: when that one goes away, all is made anew.
$(BIN)/python:
	@tools/venv $(VENV)

$(BIN)/.run: pyproject.toml $(BIN)/python
	@echo "installing relay into $(VENV) (once; about half a minute)"
	@$(BIN)/pip install -qq --editable .
	@touch $@

$(BIN)/.dev: pyproject.toml $(BIN)/python
	@echo "installing relay and what its tests need into $(VENV) (once; about a minute)"
	@$(BIN)/pip install -qq --editable '.[dev]'
	@touch $@ $(BIN)/.run
