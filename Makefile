# `make test` does it all; `make help` lists the rest.

PYTHON ?= python3
ARGS ?=
# Extras to install beside those that all tests need: EXTRAS=parity compares with PyTorch.
EXTRAS ?=

VENV := .venv
PIP := $(VENV)/bin/python -m pip
INSTALL := $(PIP) install --quiet --constraint constraints.txt
# What the wheel is made of. Folders too: their time changes when a file in them goes.
SOURCES := pyproject.toml README.md $(shell find core models adapters experiments \
	\( -name __pycache__ -prune \) -o -print)

# Tests run from here: `core` can only be the installed one, `tests` is a link to the folder.
RUN := $(VENV)/run
TEST_ENV := SELFREG_INSTALLED=1 JAX_PLATFORMS=cpu

.PHONY: test run reproduce smoke killed lint format bench clean help

test: lint ## Everything: environment, install, lint, tests, doctests. ARGS="-k dp -x" go to pytest.
	cd $(RUN) && $(TEST_ENV) ../bin/python -m pytest --config-file=../../pyproject.toml --rootdir=. \
		-n auto --maxprocesses=4 --dist=loadfile \
		--doctest-modules --pyargs tests core adapters models $(ARGS)

run: $(VENV)/.installed ## What budgets buy on a synthetic table, into results/. ARGS go to the script.
	PYTHONSAFEPATH=1 $(VENV)/bin/python -m experiments.solve --synthetic=1000 --budget=0.5,1,2 \
		--out=results/solve $(ARGS)

reproduce: $(VENV)/.installed ## The main job, a page in results/reproduce. ARGS="--scale=smoke --actors=scripted".
	PYTHONSAFEPATH=1 $(VENV)/bin/python -m experiments.reproduce --out=results/reproduce $(ARGS)

smoke: $(VENV)/.installed ## The main job at its smallest, by scripts, compared with a golden file.
	rm -rf results/smoke
	PYTHONSAFEPATH=1 $(VENV)/bin/python -m experiments.reproduce --out=results/smoke \
		--scale=smoke --actors=scripted
	PYTHONSAFEPATH=1 $(VENV)/bin/python -m experiments.compare_results --success=0.15 --calls=0.7 \
		--results=results/smoke/results.json --golden=tests/data/results/smoke.json

killed: smoke ## The same, each stage killed once; what it finds must be equal to the last digit.
	rm -rf results/killed
	PYTHONSAFEPATH=1 $(VENV)/bin/python tests/experiments/kill_stages.py 2 --out=results/killed \
		--scale=smoke --actors=scripted
	PYTHONSAFEPATH=1 $(VENV)/bin/python -m experiments.compare_results --success=0 --calls=0 \
		--results=results/killed/results.json --golden=results/smoke/results.json

lint: $(VENV)/.installed ## Ruff: formatting and rules.
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

format: $(VENV)/.installed ## Put the sources into ruff's format and mend what it can.
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

bench: $(VENV)/.installed ## Time core.dp against other solvers. ARGS go to the script.
	PYTHONSAFEPATH=1 $(VENV)/bin/python -m experiments.bench_dp --out=results/bench $(ARGS)

clean: ## Remove all that make has made.
	rm -rf $(VENV) build dist selfreg.egg-info

help: ## This list.
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1	\2/p' Makefile | expand -t 16

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; $(PYTHON) is " \
		+ sys.version.split()[0] + ". Try: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# The wheel, not the source tree, is what gets installed. A wheel of the same version counts as
# installed already, so the old one goes first. setuptools keeps deleted modules in build/.
$(VENV)/.installed: $(SOURCES) constraints.txt | $(VENV)/bin/python
	@echo "Installing selfreg and what its tests need into $(VENV); the first time takes minutes."
	$(INSTALL) setuptools
	rm -rf build selfreg.egg-info $(VENV)/wheel
	$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir $(VENV)/wheel .
	rm -rf build selfreg.egg-info
	$(PIP) uninstall --quiet --yes selfreg
	$(INSTALL) "$$(echo $(VENV)/wheel/selfreg-*.whl)[lint,plot,test]"
	@$(INSTALL) --only-binary=mdpsolver,stormpy --no-build-isolation \
		"$$(echo $(VENV)/wheel/selfreg-*.whl)[bench]" \
		|| echo "Not all of the extra bench is to be had here: tests that need what is missing are skipped."
	@test -z "$(EXTRAS)" || $(INSTALL) "$$(echo $(VENV)/wheel/selfreg-*.whl)[$(EXTRAS)]" \
		|| echo "Not all of $(EXTRAS) is to be had here: tests that need what is missing are skipped."
	mkdir -p $(RUN)
	ln -sfn ../../tests $(RUN)/tests
	touch $@
