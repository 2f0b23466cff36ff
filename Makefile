# Every target sets up .venv by itself. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SITE := $(VENV)/.site
BROWSER := $(VENV)/.browser

.PHONY: help course test lab build record bench report site slides browser schedule prefetch dist-workshop progress doctor clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

course: $(READY)  ## run every lesson (quick profile) into build/, end with the verdicts and build/report.html
	$(BIN)/kdcourse run

lab: $(READY)  ## open JupyterLab on your own copies of the lessons in work/
	$(BIN)/kdcourse lab

test: $(BROWSER)  ## everything CI runs, the cheapest first; stops at the first failure
	$(BIN)/ruff check .
	$(BIN)/kdcourse build --check
	$(BIN)/kdcourse report --readme --check
	$(BIN)/python -m pytest tests --ignore=tests/browser
	cache=$$(mktemp -d) && trap 'rm -rf "$$cache"' EXIT && \
	  KDCOURSE_PROFILE=smoke KDCOURSE_CACHE="$$cache" $(BIN)/python -m pytest -p no:cacheprovider --nbval-lax --nbval-cell-timeout=300 \
	  --nbval-current-env notebooks/*.ipynb notebooks/solutions/*.ipynb
	$(BIN)/kdcourse build --stale
	$(MAKE) browser

build: $(READY)  ## make the notebooks from notebooks/src/ and execute them into build/, quickly (smoke)
	$(BIN)/kdcourse build --profile smoke

record: $(READY)  ## execute changed lessons and update notebooks/, results/ and the README's table
	$(BIN)/kdcourse build --record
	$(BIN)/kdcourse report --readme

bench: $(READY)  ## measure the training loop against a textbook loop on this machine
	$(BIN)/python -m benchmarks

report: $(READY)  ## rebuild build/report.html from the records in results/
	$(BIN)/kdcourse report

site: $(SITE)  ## build the site from the stored notebooks into build/site, without a network
	$(BIN)/kdcourse site

slides: $(SITE)  ## slides of every lesson into build/slides, without a network
	$(BIN)/kdcourse slides

browser: $(BROWSER)  ## try JupyterLab and the site in a real browser; screenshots in build/browser
	$(BIN)/kdcourse site
	$(BIN)/python -m pytest tests/browser

schedule: $(READY)  ## timetables for a half-day, a day and three days, from measured and declared minutes
	$(BIN)/kdcourse schedule

prefetch: $(READY)  ## the evening before: run what a room without network will need, so that lessons answer at once
	$(BIN)/kdcourse prefetch

dist-workshop: $(READY)  ## one zip with everything a room without network needs, in build/
	$(BIN)/kdcourse dist-workshop

progress: $(READY)  ## which exercises pass in your copies in work/
	$(BIN)/kdcourse progress

doctor: $(READY)  ## check this machine and this installation
	$(BIN)/kdcourse doctor

clean:  ## remove build/ and caches in this folder; never work/, nor finished trials in ~/.cache/kdcourse
	rm -rf build .pytest_cache .ruff_cache .hypothesis
	find kdcourse tests benchmarks notebooks -name __pycache__ -o -name .ipynb_checkpoints | while read -r folder; do rm -rf "$$folder"; done

# uv installs in a third of the time, plain pip does where uv cannot. Compiled modules spare every worker process that work.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "kdcourse needs Python 3.11 or newer; '$(PYTHON)' is older or missing. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "no virtual environment could be made; on Debian and Ubuntu: apt install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	{ $(BIN)/python -m pip install --quiet uv && $(BIN)/python -m uv pip install --compile-bytecode --python $(BIN)/python -e '.[test]'; } || \
	  $(BIN)/python -m pip install -e '.[test]'
	@touch $@

$(SITE): $(READY)
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python -e '.[site]' || $(BIN)/python -m pip install -e '.[site]'
	@touch $@

# The browser is the system's Chromium; where there is none and we may install packages, we do.
$(BROWSER): $(SITE)
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python -e '.[browser]' || $(BIN)/python -m pip install -e '.[browser]'
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq chromium; } || \
	  { echo "no Chromium found; install it (on Debian and Ubuntu: sudo apt install chromium), then: make browser" >&2; exit 1; }
	@touch $@
