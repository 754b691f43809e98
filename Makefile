# make book    build the book into _build/html          make serve   look at it on http://localhost:8000
# make student the book without solutions, in _build/student
# make test    every test and every chapter             make clean   remove what was built (not .venv)
# make check-pages   the built pages in a browser       make links   links to other sites (needs a network)
# make slides  each chapter's figures as slides, in _build/html/slides
# make alone   each notebook in a fresh environment, from its own first cell (an hour)
# make pdf     the built book as _build/symmetry-and-variational-inference.pdf; needs Chromium
# make stan    the reference posteriors' Stan programs against Stan itself (20 minutes the first time; needs g++)
# make architectures   public networks of torchvision and timm, read by from_torch (less than an hour)
# make reproduce   compute the committed tables and reference draws again (hours; goes on where it was interrupted)
#
# On Linux the default torch wheel brings gigabytes of CUDA. To take PyTorch's CPU build instead:
#     make book TORCH_INDEX=https://download.pytorch.org/whl/cpu
PYTHON ?= python3
TORCH_INDEX ?=
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
HTML := _build/html
STAN := _build/stan
ARCHITECTURES := _build/architectures
FRESH_CLAIMS := _build/claims-fresh
# Most of the time is compilation. Light optimisation compiles these small programs in a third of the
# time and runs them as fast; the plain emitters take a third off what is left; and compiled code is
# kept between runs. (Without any optimisation the plain emitters compute NaN.)
CACHE := JAX_COMPILATION_CACHE_DIR="$$PWD/_build/jax" JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
COMPILE := XLA_FLAGS="--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1 $$XLA_FLAGS" $(CACHE)

# Python cannot keep an environment in a folder whose path has a colon.
ifneq (,$(findstring :,$(CURDIR)))
$(error Python's environments do not work in a folder whose path has a colon: move this folder)
endif

.PHONY: book student test check-pages slides pdf alone links bench stan architectures reproduce serve clean
.DEFAULT_GOAL := book

$(READY): requirements.txt pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 or newer, or name one with make PYTHON=..."; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is too old: Python 3.11 or newer is needed; name one with make PYTHON=..."; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) lacks the venv module: install it (Debian and Ubuntu: apt-get install python3-venv)"; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet --index-url "$(TORCH_INDEX)" $$(grep -o '^torch==[^ ]*' requirements.txt))
	$(BIN)/python -m pip install --quiet --no-compile -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

# Every page is rendered anew (--all); a chapter is executed only if its cells, symvi or a pin changed.
book: $(READY)
	$(BIN)/python book/_ext/stale_cache.py
	$(COMPILE) $(BIN)/jupyter-book build . --all -W -n --keep-going
	@echo "The book is built. Open $(HTML)/index.html, or run: make serve"

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(COMPILE) $(BIN)/python -m pytest tests -n logical --dist loadfile --no-loadscope-reorder --cov=symvi --cov-fail-under=97
	rm -rf -- "$(FRESH_CLAIMS)"
	$(COMPILE) SYMVI_CLAIMS="$$PWD/$(FRESH_CLAIMS)" $(BIN)/python -m pytest book -n logical --dist loadscope --nbval-lax --nbval-current-env --nbval-cell-timeout=600
	$(BIN)/python -W ignore::RuntimeWarning:runpy -m symvi.book.ledger compare $(FRESH_CLAIMS) book/claims

# The same pages without solutions, for a course.
student: $(READY)
	$(BIN)/python -m symvi.book.student . _build/student
	$(COMPILE) sh -c 'cd _build/student && ../../$(BIN)/jupyter-book build . -W -n --keep-going'
	@echo "The book without solutions is in _build/student: its notebooks in book/, its pages in _build/html"

# The built pages in headless Chromium, with the network blocked.
check-pages: $(READY)
	$(BIN)/python -m pytest tests/browser -n logical --dist worksteal

# Slides of each chapter's figures, in the built site.
slides: $(READY)
	@test -f $(HTML)/index.html || { echo "There is no built book yet: run make book"; exit 1; }
	$(BIN)/python book/_ext/slides.py $(HTML)

# The built site as one PDF, printed by Chromium.
pdf: $(READY)
	@test -f $(HTML)/index.html || { echo "There is no built book yet: run make book"; exit 1; }
	$(BIN)/python book/_ext/pdf.py $(HTML) _build/symmetry-and-variational-inference.pdf

# Each notebook by itself in a fresh environment, as in Colab: what its own first cell installs.
alone: $(READY)
	$(BIN)/python book/_ext/alone.py _build/alone

# Links to other sites still lead somewhere. Needs a network; no chapter is executed.
links: $(READY)
	@mkdir -p _build
	sed 's/execute_notebooks: cache/execute_notebooks: "off"/' _config.yml > _build/links.yml
	$(BIN)/jupyter-book build . --all --builder linkcheck --config _build/links.yml --path-output _build/links

bench: $(READY)
	$(BIN)/python tests/benchmarks/bench_fit.py
	$(BIN)/python tests/benchmarks/bench_information.py
	$(BIN)/python tests/benchmarks/bench_truth.py
	$(BIN)/python tests/benchmarks/bench_mnist.py

# Stan's Python packages would be the only ones that need a C++ compiler: they stay in an environment of their own.
stan: $(READY)
	test -x $(STAN)/bin/python || "$(PYTHON)" -m venv $(STAN)
	$(STAN)/bin/python -m pip install --quiet pystan==3.10.0 httpstan==4.13.0 posteriordb==0.2.0
	XDG_CACHE_HOME="$$PWD/$(STAN)/compiled" $(COMPILE) $(BIN)/python book/reproduce/stan_densities.py $(STAN)/bin/python
	SYMVI_STAN="$$PWD/_build/results/stan" $(COMPILE) $(BIN)/python -m pytest tests/truth/test_stan_itself.py

# Nobody who reads the book needs torchvision and timm: they stay in a folder of their own, without what they
# would bring along, behind the packages that are pinned. huggingface_hub and safetensors are what timm imports.
architectures: $(READY)
	$(BIN)/python -m pip install --quiet --no-compile --no-deps --upgrade --target $(ARCHITECTURES) torchvision==0.28.0 timm==1.0.31 huggingface_hub==0.36.0 safetensors==0.8.0
	$(COMPILE) $(BIN)/python book/reproduce/architectures.py $(ARCHITECTURES)

# Settings that are finished are kept in _build/results; remove that folder to begin anew.
reproduce: $(READY)
	$(BIN)/python book/reproduce/two_weights.py
	$(BIN)/python book/reproduce/widths.py
	$(BIN)/python book/reproduce/training_map.py
	$(BIN)/python book/reproduce/references.py
	$(BIN)/python book/reproduce/calibration.py
	$(BIN)/python book/reproduce/evidence.py
	$(BIN)/python book/reproduce/mnist_table.py
	$(BIN)/python book/reproduce/mnist_causes.py
	$(BIN)/python book/reproduce/uci.py
	$(BIN)/python book/reproduce/width_collapse.py
	$(BIN)/python book/reproduce/channels.py

serve:
	@test -f $(HTML)/index.html || { echo "There is no built book yet: run make book"; exit 1; }
	@$(BIN)/python -c 'import socket, sys; socket.create_server(("127.0.0.1", int(sys.argv[1])))' "$(PORT)" 2>/dev/null || { echo "Port $(PORT) is taken, or no port: choose another, for example make serve PORT=8123"; exit 1; }
	@echo "http://localhost:$(PORT) (Ctrl-C ends it)"
	@$(BIN)/python -m http.server "$(PORT)" --bind 127.0.0.1 --directory $(HTML)

clean:
	rm -rf _build .pytest_cache .ruff_cache .hypothesis .coverage
