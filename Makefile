# What people and CI run. `make help` lists it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
PORT ?= 8000
# An index to take PyTorch from, such as https://download.pytorch.org/whl/cpu. Empty: pip's own.
TORCH_INDEX ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PINS := pyproject.toml constraints.txt
# For the oldest Python that images have, and for Linux; hashes are of every platform's files.
LOCK = $(BIN)/uv pip compile --quiet --python-version 3.11 --python-platform linux --generate-hashes \
	--no-header --annotation-style line --constraint constraints.txt --excludes requirements/left-out.txt
PROTOC := -m grpc_tools.protoc --proto_path=proto proto/mesh/v1/*.proto

.DEFAULT_GOAL := help
.PHONY: help up test test-deploy bench lint coverage proto lock clean

help:  ## Show what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  with PORT=8000, PYTHON=python3.11, TORCH_INDEX=URL (where to take PyTorch from)"

up: $(VENV)/.local  ## Start the whole mesh on http://127.0.0.1:$PORT, until Ctrl-C
	@$(BIN)/sensemesh up --port $(PORT) --logs run/$(PORT)

test: $(VENV)/.dev  ## Run every test that needs no container engine and no GPU
	$(BIN)/python -m pytest

test-deploy: $(VENV)/.deploy run/checkov/.made  ## Test images, compose and manifests; needs Docker with Compose
	$(BIN)/hadolint Dockerfile tests/deploy/debian-prometheus/Dockerfile
	$(BIN)/yamllint --strict docker-compose.yml deploy tests/deploy
	$(BIN)/python -m pytest tests/deploy

coverage: $(VENV)/.dev  ## Run the tests and show which branches they miss
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

bench: $(VENV)/.bench  ## Measure the mesh beside its ceiling and other servers; needs wrk, curl and, for its profile, perf
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(SECTIONS)

lint: $(VENV)/.dev  ## Check style, types, boundaries and the contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint proto
	@generated=$$(mktemp -d) && trap 'rm -r "$$generated"' EXIT && \
	$(BIN)/python $(PROTOC) --python_out=$$generated --pyi_out=$$generated --grpc_python_out=$$generated && \
	diff -r -x __pycache__ -x __init__.py $$generated/mesh/v1 mesh/v1 && \
	echo "mesh/v1 is what proto/ says" || { echo "mesh/v1 is not what proto/ says: run make proto"; exit 1; }

proto: $(VENV)/.dev  ## Generate mesh/v1 from proto/
	$(BIN)/python $(PROTOC) --python_out=. --pyi_out=. --grpc_python_out=.

lock: $(VENV)/.deploy  ## Pin and hash what the images hold, from pyproject.toml and constraints.txt
	$(LOCK) pyproject.toml --output-file requirements/gateway.txt
	$(LOCK) --extra node pyproject.toml requirements/torch.in --output-file requirements/node.txt

clean:  ## Remove the environment and what tools left behind
	rm -rf $(VENV) run .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage*

# Each stamp is newer than the pins that it was installed from.
$(VENV)/.local: $(PINS) | $(VENV)/.torch
	$(PIP) install -e '.[node,local]' -c constraints.txt
	@touch $@

$(VENV)/.dev: $(PINS) | $(VENV)/.torch
	$(PIP) install -e '.[node,local,train,dev]' -c constraints.txt
	@touch $@ $(VENV)/.local

$(VENV)/.bench: $(PINS) | $(VENV)/.torch
	$(PIP) install -e '.[node,local,bench]' -c constraints.txt
	@touch $@ $(VENV)/.local

$(VENV)/.deploy: $(PINS) | $(VENV)/.dev
	$(PIP) install -e '.[node,local,train,dev,deploy]' -c constraints.txt
	@touch $@ $(VENV)/.dev $(VENV)/.local

# It pins much of what it stands on, and so has an environment of its own.
run/checkov/.made: requirements/checkov.txt | $(BIN)/pip
	$(BIN)/python -m venv --without-pip run/checkov
	$(PIP) --python run/checkov/bin/python install -r requirements/checkov.txt
	@touch $@

# By itself and first, so that no other package draws another build of it.
$(VENV)/.torch: constraints.txt | $(BIN)/pip
	$(PIP) install "$$(grep '^torch==' constraints.txt)" $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),-c constraints.txt)
	@touch $@

$(BIN)/pip:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "sensemesh needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
# Debian's Python makes an environment with pip only where python3-venv is installed.
	$(PYTHON) -c 'import ensurepip' 2>/dev/null && $(PYTHON) -m venv $(VENV) || \
	{ $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install pip; }
