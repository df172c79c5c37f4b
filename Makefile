# Needs Python 3.10 or later, make and a package registry; all else is installed into .venv.

PORT ?= 8080
ROOT ?= examples
# The interpreter that .venv is made with; the first that is fit for it, if left out.
PYTHON ?=
# How long `make fuzz` spends on each target.
FUZZ_SECONDS ?= 60
# How long `make soak` takes.
SOAK_SECONDS ?= 3600
# Where `make install-service` puts what the system looks for, and below which root.
DESTDIR ?=
PREFIX ?= /usr/local
# The interpreter of the service, which is the system's: it has to last, and to be seen by it.
SERVICE_PYTHON ?= /usr/bin/python3
# Recipes read these from their environment, so that no character in them means anything to make
# or to the shell.
export PORT ROOT PYTHON FUZZ_SECONDS SOAK_SECONDS DESTDIR PREFIX SERVICE_PYTHON

BIN = .venv/bin
# Written last, so that an installation which was interrupted or failed is begun anew. Holds the
# path it was made at: one that was copied or moved along with its folder starts programs of the
# old one. The same goes for one whose interpreter has been removed.
STAMP = .venv/.installed

ifneq ($(shell $(BIN)/python -c '' 2>/dev/null && cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

.PHONY: help run test fuzz soak manual docs format install-service uninstall-service deb systemd-test clean

help:
	@echo 'make run      serve the folder examples on port 8080'
	@echo '              (make run PORT=9000 ROOT=/some/folder for others)'
	@echo 'make test     check the style and the types, and run the tests: all that CI runs'
	@echo 'make fuzz     let a fuzzer look for input that breaks a promise, FUZZ_SECONDS=60 a target'
	@echo 'make soak     keep a daemon under load and faults for an hour, or for SOAK_SECONDS'
	@echo 'make manual   make the pages for man(1) and the completions for shells, below build'
	@echo 'make docs     make these, and the documentation as web pages'
	@echo 'make format   put the source into the common style'
	@echo 'make install-service   install it as a service of systemd, below DESTDIR if that is given'
	@echo 'make uninstall-service'
	@echo 'make deb      make a package for this release of Debian, below dist'
	@echo 'make systemd-test   try the service and the package in a system of its own; needs root'
	@echo 'make clean    remove all that was made here, .venv included'
	@echo ''
	@echo 'PYTHON=/path/to/python3 chooses the interpreter for .venv, which is made when missing.'

run: $(STAMP)
	@exec $(BIN)/tcpdl serve "$$ROOT" --port "$$PORT"

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@# A file of tests stays with one process, and what it has set up with it. In order: else the
	@# longest ones come last, one after the other.
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# The fuzzer has no releases for some interpreters, and nothing else needs it.
fuzz: $(STAMP)
	@$(BIN)/python -m pip install --disable-pip-version-check -q --upgrade \
	    --target .cache/atheris atheris
	PYTHONPATH="$$PWD:$$PWD/.cache/atheris" \
	    $(BIN)/python tests/fuzz/all_targets.py .cache/fuzz "$$FUZZ_SECONDS"

soak: $(STAMP)
	@$(BIN)/python -m tests.soak --seconds "$$SOAK_SECONDS"

manual: $(STAMP)
	@$(BIN)/python -m tcpdl.manual build

# Links to pages and to sections are checked; those to elsewhere are not, which takes a network.
docs: manual
	@$(BIN)/sphinx-build -q -W --keep-going docs build/html
	@echo 'The documentation is in build/html/index.html.'

# In a live system, what it has been given is taken up at once; nothing is enabled or started.
install-service:
	@packaging/stage.sh "$$DESTDIR" "$$PREFIX" "$$SERVICE_PYTHON"
	@if [ -z "$$DESTDIR" ]; then \
	    systemd-sysusers tcpdl.conf && systemd-tmpfiles --create tcpdl.conf && \
	    systemctl daemon-reload && \
	    echo 'Installed. To serve /srv/tcpdl on port 8080: systemctl enable --now tcpdl'; \
	fi

uninstall-service:
	@packaging/unstage.sh "$$DESTDIR" "$$PREFIX"

deb:
	@packaging/deb.sh dist "$$SERVICE_PYTHON"

systemd-test: $(STAMP)
	TCPDL_SYSTEMD_TEST=1 $(BIN)/python -m pytest tests/systemd

format: $(STAMP)
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	rm -f twisted/plugins/dropin.cache
	find tcpdl twisted tests bench -type d -name __pycache__ -prune -exec rm -rf {} +

# Being named and found says little about an interpreter: it may be too old, a shim with nothing
# behind it, or lack the modules that make an environment. So each is tried.
$(STAMP): pyproject.toml
	@if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; else \
	    set -- python3.13 python3.12 python3.11 python3.10 python3.14 python3 python; fi; \
	fit=; \
	for python; do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1 \
	        || continue; \
	    fit=$$python; \
	    for module in venv virtualenv; do \
	        rm -rf .venv; \
	        if "$$python" -m $$module .venv >/dev/null 2>&1 \
	            && $(BIN)/python -m pip --version >/dev/null 2>&1; then break 2; fi; \
	        rm -rf .venv; \
	    done; \
	done; \
	if [ -z "$$fit" ]; then \
	    echo "There is no Python 3.10 or later that runs, among: $$*" >&2; \
	    echo 'Install one (Debian, Ubuntu: apt install python3 python3-venv),' \
	        'or say where it is: make PYTHON=/path/to/python3' >&2; \
	    exit 1; \
	elif [ ! -d .venv ]; then \
	    echo "$$fit cannot make a virtual environment: its module venv or ensurepip is missing." >&2; \
	    echo 'Install it (Debian, Ubuntu: apt install python3-venv), or virtualenv,' \
	        'or choose another: make PYTHON=/path/to/python3' >&2; \
	    exit 1; \
	fi; \
	echo "Installing into .venv, with $$($(BIN)/python -V)"
	@# Before 21.3, which the first releases of Python 3.10 bring along, pip cannot install a
	@# project like this one in place.
	@$(BIN)/python -m pip install --disable-pip-version-check -q 'pip>=21.3'
	@$(BIN)/python -m pip install --disable-pip-version-check -q -e '.[dev]'
	@pwd -P > $@
