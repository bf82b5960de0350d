# Every target sets up what it needs: a bare clone, python3 (3.11 or newer), pip and make are enough.
#   make demo         a custom layer trains, live, with its loss curve drawn in the terminal
#   make test         the tests that need no PyTorch
#   make test-xla     the tests of the engine on JAX's devices, on JAX's CPU, and of ONNX models, in .venv-xla
#   make test-xla-quick   some of these, in a few minutes; make test-xla-slow has the long trainings
#   make lint         ruff and mypy
#   make conformance  the comparison with PyTorch 2.13, installed by pip into .venv-conformance: tests/conformance, then
#                     PyTorch's databases of operators, modules and optimizers; writes docs/conformance.md
#   make packages     other people's packages, by their own suites, on flambeau and on PyTorch; writes docs/packages.md.
#                     ARGS="--only normflows" runs one, ARGS=--help tells the rest
#   make bench        the same programs under PyTorch and under flambeau; writes docs/benchmarks.md. JAX, and flambeau's
#                     steps compiled by XLA, join where .venv-xla has jax and optax (make peers). ARGS=--scale writes
#                     docs/scaling.md, ARGS=--growth docs/growth.md
#   make peers        JAX and optax into .venv-xla, for the bench
#   make bench-gpu    GPT-2, ResNet-50 and the tutorial's layer on a GPU; writes docs/benchmarks-gpu.md
#   make reliability  damaged and hostile files, killed writers, full disks, threads; writes docs/reliability.md
#   make docs         the API reference, into build/docs
#   make clean        removes everything the other targets made

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-xla test-xla-slow test-xla-quick lint conformance packages bench bench-gpu gpu-found peers reliability docs clean

NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	if $$p $(NEW_ENOUGH) 2>/dev/null; then echo $$p; break; fi; done)
VENV := .venv
XLA := .venv-xla
ORACLE := .venv-conformance
GPU := .venv-gpu
TORCH_GPU ?= torch==2.13.0
JAX_GPU ?= jax[cuda12]
PIP_FLAGS := --disable-pip-version-check --quiet
TESTS ?= tests
ARGS ?=
TESTED ?=

help:
	@sed -n 's/^#   //p' Makefile

# One virtual environment per folder, one stamp per set of extras in it.
%/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "flambeau needs Python 3.11 or newer: name one with make PYTHON=/path/to/python3"; exit 1; }
	@echo "making $*"
	@$(PYTHON) -m venv $*

# An install into a fresh environment may meet an old pip: then pip is brought up to date, once, and asked again.
define install
@echo "installing $(2) into $(1)"
@$(1)/bin/python -m pip install $(PIP_FLAGS) -e '$(2)' || { \
	$(1)/bin/python -m pip install $(PIP_FLAGS) --upgrade pip && \
	$(1)/bin/python -m pip install $(PIP_FLAGS) -e '$(2)'; }
@touch $@
endef

$(VENV)/.ready: pyproject.toml src/flambeau/version.py | $(VENV)/pyvenv.cfg
	$(call install,$(VENV),.)

$(VENV)/.ready-test: pyproject.toml src/flambeau/version.py | $(VENV)/pyvenv.cfg
	$(call install,$(VENV),.[test])
	@touch $(VENV)/.ready

$(VENV)/.ready-docs: pyproject.toml src/flambeau/version.py | $(VENV)/pyvenv.cfg
	$(call install,$(VENV),.[docs])

$(ORACLE)/.ready: pyproject.toml src/flambeau/version.py | $(ORACLE)/pyvenv.cfg
	$(call install,$(ORACLE),.[test$(comma)conformance$(comma)bench])

$(XLA)/.ready: pyproject.toml src/flambeau/version.py | $(XLA)/pyvenv.cfg
	$(call install,$(XLA),.[test$(comma)xla$(comma)onnx])
comma := ,

demo: $(VENV)/.ready
	@$(VENV)/bin/python -m flambeau run examples/custom_layer.py $(ARGS)

test: $(VENV)/.ready-test
	$(VENV)/bin/python -m pytest $(TESTS) --ignore=tests/conformance -m "not slow" $(ARGS)

test-slow: $(VENV)/.ready-test
	$(VENV)/bin/python -m pytest $(TESTS) --ignore=tests/conformance --ignore=tests/xla -m slow $(ARGS)

test-xla: $(XLA)/.ready
	$(XLA)/bin/python -m pytest tests/xla tests/test_onnx.py -m "not slow" $(ARGS)

test-xla-slow: $(XLA)/.ready
	$(XLA)/bin/python -m pytest tests/xla -m slow $(ARGS)

QUICK := tests/xla/test_views.py tests/xla/test_training.py tests/xla/test_compile_state.py tests/xla/test_compile_models.py
test-xla-quick: $(XLA)/.ready
	$(XLA)/bin/python -m pytest $(QUICK) -m "not slow" $(ARGS)
	$(XLA)/bin/python -m pytest tests/xla/test_op_table.py tests/xla/test_compile_ops.py --part 1/15 $(ARGS)
	$(XLA)/bin/python -m pytest tests/xla/test_distributed.py -k "data_parallel and 2" $(ARGS)

lint: $(VENV)/.ready-test
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m mypy

conformance: $(ORACLE)/.ready
	$(ORACLE)/bin/python -m pytest tests/conformance $(TESTED)
	$(ORACLE)/bin/python -m conformance $(ARGS)

packages: $(ORACLE)/.ready
	$(ORACLE)/bin/python -m conformance.packages $(ARGS)

bench: $(ORACLE)/.ready
	$(ORACLE)/bin/python -m bench $(ARGS)

peers: $(XLA)/.ready
	$(XLA)/bin/python -m pip install $(PIP_FLAGS) -e '.[peers]'

# PyTorch and JAX bring CUDA libraries of their own: an environment for each. On the CPU the other targets' serve.
$(GPU)/.ready: pyproject.toml src/flambeau/version.py
	@$(MAKE) --no-print-directory $(GPU)/torch/pyvenv.cfg $(GPU)/flambeau/pyvenv.cfg
	@echo "installing $(TORCH_GPU) and $(JAX_GPU) into $(GPU)"
	@$(GPU)/torch/bin/python -m pip install $(PIP_FLAGS) $(TORCH_GPU) numpy
	@$(GPU)/flambeau/bin/python -m pip install $(PIP_FLAGS) -e '.[xla]' '$(JAX_GPU)'
	@touch $@

gpu-found:
	@{ command -v nvidia-smi && nvidia-smi -L | grep GPU; } > /dev/null 2>&1 || { \
	echo "make bench-gpu needs an NVIDIA GPU, and nvidia-smi finds none here."; \
	echo "make bench-gpu ARGS='--tiny --device cpu' tries the whole path on the CPU."; exit 1; }

bench-gpu: $(if $(findstring --device cpu,$(ARGS)),$(ORACLE)/.ready $(XLA)/.ready,gpu-found $(GPU)/.ready)
	$(if $(findstring --device cpu,$(ARGS)),$(XLA),$(GPU)/flambeau)/bin/python -m bench.gpu $(ARGS)

reliability: $(VENV)/.ready-test
	$(VENV)/bin/python -m reliability $(ARGS)

docs: $(VENV)/.ready-docs
	$(VENV)/bin/python -m pdoc -o build/docs flambeau
	@echo "open build/docs/index.html"

clean:
	rm -rf $(VENV) $(XLA) $(ORACLE) $(GPU) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis out
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
