# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

PYTHON ?= python3
LAB ?= demo
NODES ?= 200
BENCH ?=
FLEET ?= tests/lab/fleets/small.yml

ROOT := $(CURDIR)
COLLECTION := .build/collections/ansible_collections/gpufleet/sharing
CHECKS := .venv/bin/python tests/tools/run_checks.py

export PATH := $(ROOT)/.venv/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(ROOT)/.build/collections
# With it all packages of .venv would be compiled at each start of a program
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv demo quick test test-all lint sanity unit coverage lab integration molecule realnode \
	bench bench-plot cost-plot pictures format lab-build lab-up lab-down clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+( [a-z-]+)*:.*## / {printf "make %-16s %s\n", $$1, $$2}' Makefile

venv: .venv/.stamp $(COLLECTION) ## the Python environment of all other targets (PYTHON=python3)

.venv/.stamp: tests/requirements/tools.txt tests/requirements/constraints.txt
	@$(PYTHON) tests/tools/make_venv.py .venv

# The collection under its own name, without a copy: Ansible, mypy and pytest find it here.
$(COLLECTION):
	@mkdir -p $(@D) && ln -sfn ../../../.. $@

demo: venv lab-build ## boot a lab and let the collection share its GPUs, in about two minutes
	@.venv/bin/python tests/demo/demo.py

quick: venv ## lint and unit tests that start no Ansible, in a minute and a half
	@$(CHECKS) quick

test: venv ## the main case of everything whose inputs changed (FRESH=1: of all), in about 12 minutes
	@$(CHECKS)

test-all: export FULL := 1
test-all: export FRESH := 1
test-all: export DIFFERENTIAL_FILES := 20000
test-all: export FAULTS := all
test-all: export KILLS := 25
test-all: export REALNODE := must
test-all: venv ## every check and test, every fault, 25 kills, a real node that must run: two hours
	@$(CHECKS)

lint: export FULL := 1
lint: venv ## ruff, mypy, yamllint, ansible-lint, reuse, changelog, docs, importer
	@$(CHECKS) lint

sanity: export FULL := 1
sanity: venv ## ansible-test sanity
	@$(CHECKS) sanity

unit: venv ## tests without a cluster
	@$(CHECKS) unit

coverage: venv ## unit tests, and which lines of plugins they leave out
	@.venv/bin/python -m pytest -q tests/unit --cov --cov-report=term

lab: venv ## the tests of the lab itself (FULL=1: all of them)
	@$(CHECKS) lab

integration: venv ## tests of modules, roles and playbooks on labs (FULL=1: all of them)
	@$(CHECKS) integration

molecule: venv ## the molecule scenarios, on a lab
	@$(CHECKS) molecule

realnode: export FULL := 1
realnode: export REALNODE := must
realnode: venv ## the collection on a real kubelet and NVIDIA's plugin, with a stand-in for GPUs (root)
	@$(CHECKS) realnode

bench: lab-build ## measure it and others on a lab of NODES=200; BENCH='--sweep --strict'
	@.venv/bin/python tests/benchmark/bench.py --nodes $(NODES) $(BENCH)

bench-plot: venv .build/plot/.stamp ## docs/performance.md and its figure from .build/bench/*.json
	@PYTHONPATH=.build/plot .venv/bin/python tests/benchmark/plot.py

cost-plot: venv .build/plot/.stamp ## docs/sharing-cost.md and its figure from tests/realnode/cost/h100.json
	@PYTHONPATH=.build/plot .venv/bin/python tests/realnode/cost/plot.py

pictures: venv ## docs/pictures/report-*.png from made-up fleets (needs a Chromium)
	@PYTHONPATH=.build/collections .venv/bin/python tests/browser/screenshots.py

.build/plot/.stamp: tests/requirements/benchmark.txt
	@rm -rf $(@D) && .venv/bin/python -m pip --disable-pip-version-check install --quiet \
		--target $(@D) -r $< && touch $@

format: venv ## let ruff put the Python files in order
	@ruff check --quiet --fix-only . && ruff format .

lab-build: venv ## the lab's programs; minutes, once
	@tests/lab/lab build

lab-up: lab-build ## boot the lab LAB=demo with FLEET=tests/lab/fleets/small.yml
	@tests/lab/lab up --name $(LAB) --fleet $(FLEET)

lab-down: venv ## end the lab LAB=demo
	@tests/lab/lab down --name $(LAB)

clean: ## remove everything that make has built in here
	rm -rf .venv .build collections tests/output
