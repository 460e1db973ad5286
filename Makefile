# Needs git, make and Python 3.11 or later; everything else goes into .venv.
# Each target works in a new clone, and installs only what has changed.

.PHONY: help train test test-campaign test-cluster lint format doctor clean setup setup-dev
unexport PYTHONPATH # hide the packages of other programs

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

train: setup  ## train LeNet-5 on 5,000 real digits and test it: 2 minutes
	@.venv/bin/python train.py --config=configs/lenet5.py

test: setup-dev  ## run the fast tests
	@.venv/bin/python -m pytest -q -n logical --maxprocesses 8 --dist loadfile \
		--no-loadscope-reorder

test-campaign: setup-dev  ## kill and disturb the commands for one minute
	@.venv/bin/python -m tests.campaign --short --new

test-cluster: setup-dev  ## start a Slurm cluster here and run its tests (as root)
	@.venv/bin/python -m pytest -q -m slurm -rs tests/cluster

lint: setup-dev  ## check style, formatting and types
	@.venv/bin/python -m ruff check
	@.venv/bin/python -m ruff format --check
	@.venv/bin/python -m pyright --pythonpath .venv/bin/python

format: setup-dev  ## format the code, and fix what ruff can fix
	@.venv/bin/python -m ruff format
	@.venv/bin/python -m ruff check --fix

doctor:  ## check Python, packages, device, disk and data
	@python=$$(sh setup.sh find) && "$$python" -m cnn_arch.doctor

clean:  ## remove .venv and caches; runs/ stays
	@rm -rf .venv .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup:
	@sh setup.sh

setup-dev:
	@sh setup.sh dev
