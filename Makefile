# make train   trains CONFIG (the embedded digits by default) and says where the report is
# make test    installs what the tests need and runs them
# make lint    checks style
# make lowest  writes lowest.txt, the lower end of every range, for PIP_CONSTRAINT
# make demo    makes the page that classifies in the browser, with pretrained/small, and serves it
# make drill   runs the fault-injection tests and writes their results into results/drills
PYTHON ?= python3
VENV ?= .venv
CONFIG ?= configs/digits.py
ARGS ?=
FITS = import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))

.PHONY: train test lint drill lowest demo

train: $(VENV)/installed
	$(VENV)/bin/python -m dsconv.main --config=$(CONFIG) $(ARGS)

test: $(VENV)/installed-dev
	$(VENV)/bin/python -m pytest -q -n 2 --dist loadfile

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

lowest:
	sed -nE 's/^([A-Za-z0-9_-]+)>=([0-9.]+).*/\1==\2/p' requirements*.txt > lowest.txt

drill: $(VENV)/installed-dev
	$(VENV)/bin/python -m tests.drills $(ARGS)

demo: $(VENV)/installed-export
	rm -rf runs/demo
	$(VENV)/bin/python -m dsconv.export --workdir=pretrained/small --format=web --licence=Apache-2.0 --output=runs/demo $(ARGS)
	@echo 'open http://localhost:8000, end with Ctrl-C'
	$(VENV)/bin/python -m http.server --directory runs/demo/web --bind 127.0.0.1 8000

# A file that is newer than its requirements, so that pip runs only when they change.
$(VENV)/installed: requirements.txt requirements-light.txt
	@# one without pip, or of a Python that is too old or too new, is made again
	@$(VENV)/bin/python -c 'import pip; $(FITS)' 2>/dev/null || $(PYTHON) -c '$(FITS)' || \
	  { echo 'dsconv needs Python 3.11, 3.12 or 3.13: give one, as in make PYTHON=python3.12'; exit 2; }
	$(VENV)/bin/python -c 'import pip; $(FITS)' 2>/dev/null || \
	  $(PYTHON) -m venv $(if $(wildcard $(VENV)/pyvenv.cfg),--clear) $(VENV)
	$(VENV)/bin/pip install -q -r requirements.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt requirements-export.txt $(VENV)/installed
	$(VENV)/bin/pip install -q -r requirements-dev.txt
	touch $@

$(VENV)/installed-export: requirements-export.txt $(VENV)/installed
	$(VENV)/bin/pip install -q -r requirements-export.txt
	touch $@
