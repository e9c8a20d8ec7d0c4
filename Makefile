# Two commands: `make run` shows arje at work, `make test` runs every check. Both do all set-up first.
PYTHON ?= $(shell tools/find-python)
VENV := .venv
STAMP := $(VENV)/.ready
NATIVE := $(wildcard arje/native/*.c arje/native/*.h) arje/native/build.py

.PHONY: run test setup clean
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): pyproject.toml setup.py tools/packages $(NATIVE)
	@tools/packages
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[test]' setuptools
	@touch $@

run: $(STAMP)
	@tools/run-examples

test: $(STAMP)
	@$(VENV)/bin/python -m pytest

clean:
	rm -rf $(VENV) build *.egg-info arje/native/_native.*
