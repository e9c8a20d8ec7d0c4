# Three commands: `make run` shows arje at work, `make vm` boots a machine with arje as its first process, `make test` runs
# every check (`make test TESTS=tests/card` some). All do all set-up first; with another Python: make clean, make
# PYTHON=python3.13 run.
PYTHON ?= $(shell tools/find-python)
VENV := .venv
STAMP := $(VENV)/.ready
BUILT := $(VENV)/.built
NATIVE := $(wildcard arje/native/*.c arje/native/*.h) arje/native/build.py

.PHONY: run test vm setup clean deb wheel paper
.DELETE_ON_ERROR:

setup: $(BUILT)

$(STAMP): pyproject.toml setup.py tools/packages
	@! test -L $(VENV) || { echo "make: $(VENV) is a link to another tree's: it would be emptied" >&2; exit 1; }
	@tools/packages
	@$(PYTHON) -c 'import sys; v = sys.version_info; v < (3, 11) and sys.exit("arje needs Python 3.11, not %d.%d" % v[:2])'
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[test]' setuptools
	@touch $@ $(BUILT)

$(BUILT): $(STAMP) $(NATIVE)
	@$(VENV)/bin/python setup.py --quiet build_ext --inplace 2>/dev/null || $(VENV)/bin/python setup.py build_ext --inplace
	@touch $@

run: $(BUILT)
	@$(VENV)/bin/python tools/run-examples

vm: $(BUILT)
	@vm/build && vm/run

test: $(BUILT)
	@$(VENV)/bin/python -m pytest --numprocesses=auto $(TESTS)

# What is shipped, below build/ship: the .deb for this machine's Debian, the sdist and the wheel.
deb wheel: $(BUILT)
	@$(VENV)/bin/python -m ship $@

# What is made from the code: man pages, the card reference, pictures (docs/).
paper: $(BUILT)
	@$(VENV)/bin/python -m paper

clean:
	rm -rf $(VENV) build *.egg-info arje/native/_native.*
