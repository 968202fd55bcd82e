# The front door. Settings reach the app through the environment: MUSICEVAL_PORT=8000 make app

VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
DEV := $(VENV)/.ready-dev
PIP := $(RUN) -m pip --disable-pip-version-check
TESTS := $(RUN) -m pytest -n auto --maxprocesses 4 --dist loadfile
LOCK := $(RUN) -m uv pip compile --quiet --generate-hashes --python-platform linux
MORE := browser or reference or cluster or postgresql or slow

# `make setup PYTHON=/path/to/python` names the interpreter; otherwise the first suitable one of these is taken.
PYTHON ?=
CANDIDATES := $(or $(PYTHON),python3.12 python3.11 python3)
SUITABLE := import ensurepip, sys, venv; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))

.PHONY: help setup app test proofs bench screenshots check format lint types lock audit
.DEFAULT_GOAL := help

help:              ## show this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile | expand -t 18

setup: $(READY)    ## make .venv and install requirements.txt; a second call changes nothing

app: $(READY)      ## serve the page on http://127.0.0.1:7860
	@$(RUN) app.py

test: $(DEV)       ## run the tests that need Python alone, in up to four processes
	$(TESTS) -m "not ($(MORE))"

proofs: $(DEV)     ## run all other tests: with Chromium, the reference clips, Ray or PostgreSQL, and those that take minutes
	$(TESTS) --no-loadscope-reorder -m "$(MORE)"

bench: $(READY)    ## time the official tower against laion-clap
	$(RUN) -m tools.bench

screenshots: $(DEV) ## take the README's pictures
	$(RUN) -m tools.screenshots

check: lint types test ## formatting, lint, types and tests

# 3.11, because what installs there also does on 3.12, which the second resolution shows.
lock: $(DEV)       ## write requirements.lock anew, each dependency at its newest version that is allowed
	printf '%s\n' '# Every dependency of requirements.txt and requirements-postgres.txt, at one version and with the hashes of its files,' \
	  '# for Python 3.11 and 3.12 on Linux. `make lock` writes this file; deploy/install.sh installs it.' >requirements.lock.new
	$(LOCK) --python-version 3.11 --no-header requirements.txt requirements-postgres.txt >>requirements.lock.new
	$(LOCK) --python-version 3.12 requirements.lock.new >/dev/null
	mv requirements.lock.new requirements.lock

audit: $(DEV)      ## look the locked versions up among those that are known to be vulnerable; needs a network
	$(RUN) -m tools.audit

format: $(DEV)     ## put the source in the house's format
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

lint: $(DEV)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .

types: $(DEV)
	$(RUN) -m mypy

# An environment that suits is kept, so that a changed requirement installs only what changed.
$(READY): requirements.txt
	@if ! $(RUN) -c '$(SUITABLE)' 2>/dev/null; then \
	  found=; \
	  for python in $(CANDIDATES); do \
	    if "$$python" -c '$(SUITABLE)' 2>/dev/null; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo 'MusicEval needs Python 3.11 or 3.12 with its venv module; tried: $(CANDIDATES).' \
	      'Install one (Debian: python3.11 and python3.11-venv) or name one: make setup PYTHON=/path/to/python3.11' >&2; \
	    exit 2; \
	  fi; \
	  echo "Making $(VENV) with $$("$$found" --version)"; \
	  "$$found" -m venv --clear $(VENV) || exit 2; \
	fi
	$(PIP) install -r requirements.txt
	$(PIP) check
	@touch $@

$(DEV): $(READY) requirements-dev.txt
	$(PIP) install -r requirements-dev.txt
	$(PIP) check
	@touch $@
