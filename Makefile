# make demo    extract roads from a synthetic drone flight on this CPU     make check   lint, format, types
# make test    the whole suite                                            make gpu     figures of an NVIDIA machine
# PYTHON=...   which interpreter (3.10 to 3.13)     VENV=...   where the environment lies
# ROADEDGE_DATA=...   folder of real data sets for the tests that need them; without it they are skipped and say so

VENV ?= .venv
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 && echo $$p && break; done)
RUN := $(VENV)/bin/python
INSTALL := $(RUN) -m pip install --disable-pip-version-check --quiet -c constraints.txt
# TensorRT for RTX, which builds engines without a GPU, has wheels for x86-64 Linux only.
RTX := $(if $(filter Linux-x86_64,$(shell uname -sm | tr ' ' -)),$(shell echo ,tensorrt-rtx))
TEST_EXTRAS := train,export,openvino,points,video,geo,lidar,ros,graph,dev$(RTX)

.PHONY: demo test check format gpu clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.demo
	$(VENV)/bin/roadedge demo

test: $(VENV)/.test
	$(RUN) -m pytest --durations=10 $(PYTEST_ARGS)

check: $(VENV)/.test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(VENV)/.test
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

gpu: # installs nothing: a GPU machine brings its own torch and TensorRT (benchmarks/README.md)
	PYTHON="$(if $(wildcard $(RUN)),$(RUN),$(PYTHON))" bash benchmarks/gpu.sh

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find roadedge tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# One environment that grows: the demo installs what it runs on, the suite adds the rest. A stamp is remade when the
# lists of packages change.
$(RUN):
	@test -n "$(PYTHON)" || { echo "no Python 3.10 to 3.13 was found; give one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(RUN)
	@echo "installing roadedge[openvino,video] into $(VENV)" >&2
	$(INSTALL) -e '.[openvino,video]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(RUN)
	@echo "installing roadedge[$(TEST_EXTRAS)] into $(VENV)" >&2
	$(INSTALL) -e '.[$(TEST_EXTRAS)]'
	@touch $@ $(VENV)/.demo
