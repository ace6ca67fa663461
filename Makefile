# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

PYTHON ?= python3
LAB ?= demo
FLEET ?= tests/lab/fleets/small.yml

ROOT := $(CURDIR)
COLLECTION := .build/collections/ansible_collections/gpufleet/sharing
RUN := .venv/bin/python tests/tools/run_checks.py

export PATH := $(ROOT)/.venv/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(ROOT)/.build/collections

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint sanity unit lab-build lab-up lab-down integration molecule clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

venv: .venv/.stamp $(COLLECTION) ## the Python environment of all other targets (PYTHON=python3)

.venv/.stamp: tests/requirements/tools.txt tests/requirements/constraints.txt
	@$(PYTHON) tests/tools/make_venv.py .venv

# The collection under its own name, without a copy: Ansible, mypy and pytest find it here.
$(COLLECTION):
	@mkdir -p $(@D) && ln -sfn ../../../.. $@

test: venv ## every check and test there is; the last line counts them
	@$(RUN)

lint sanity unit integration molecule: venv ## that part of `make test`
	@$(RUN) $@

clean: ## remove everything that make has built
	rm -rf .venv .build collections tests/output
