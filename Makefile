# Each target sets up what it needs first. The environment is made by uv: the one on the PATH, or else one in it.
VENV ?= .venv
PYTHON ?= python3
# how many tests run at once; a number, or auto for one a core
WORKERS ?= auto
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.ready-bench
DOCS_READY := $(VENV)/.ready-docs
RUN := PATH="$(abspath $(VENV))/bin:$$PATH"
UV := PATH="$$PATH:$(abspath $(VENV))/bin" uv
SNAKEMAKE := $(RUN) snakemake
PYTEST := $(RUN) python -m pytest
# the range that pyproject.toml declares, and the tests of the library in it
TORCH_VERSIONS ?= 2.10 2.11 2.13 2.14
LIBRARY_TESTS := tests/membrane tests/neurons/test_lif.py tests/reparam/test_folding.py \
  $(patsubst %,tests/models/test_%.py,layers convolution normalise_and_fire resnet)

.PHONY: setup demo controls rivals docs test test-full test-slurm test-versions bench gpu-hour lint package lock clean help

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | column -t -s '|'

setup: $(READY)  ## the environment in .venv, from the pinned requirements

$(READY): requirements.txt
	@command -v uv > /dev/null || { $(PYTHON) -m venv $(VENV) && $(VENV)/bin/python -m pip install --quiet uv; }
	@[ -x $(VENV)/bin/python ] || $(UV) venv --quiet --python '>=3.11' $(VENV)
	$(UV) pip install --python $(VENV)/bin/python --compile-bytecode --require-hashes -r requirements.txt
	@echo '$(CURDIR)/lib' > "$$($(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ternary_spike.pth"
	@touch $@

$(BENCH_READY): $(READY) requirements-bench.txt
	$(UV) pip install --python $(VENV)/bin/python --require-hashes -r requirements-bench.txt
	@touch $@

$(DOCS_READY): $(READY) requirements-docs.txt
	$(UV) pip install --python $(VENV)/bin/python --no-deps --require-hashes -r requirements-docs.txt
	@touch $@

demo: $(READY)  ## the three neurons on handwritten digits, to a report: minutes on two cores
	@$(SNAKEMAKE) --cores all --configfile config/demo.yaml --quiet rules
	@echo "Report: $(CURDIR)/results/demo/report/index.html"

controls: $(READY)  ## the controls that the paper lacks, on the digits: half an hour on two cores
	@$(SNAKEMAKE) --cores all --configfile config/controls.yaml --quiet rules
	@echo "Report: $(CURDIR)/results/controls/report/index.html"

rivals: $(READY)  ## prior methods beside the paper's neurons, on the digits: three quarters of an hour on two cores
	@$(SNAKEMAKE) --cores all --configfile config/rivals-digits.yaml --quiet rules
	@echo "Report: $(CURDIR)/results/rivals/report/index.html"

test: $(READY)  ## the gate: all fast tests
	$(PYTEST) -n $(WORKERS) --dist worksteal -m "not full and not slurm"

test-full: $(READY)  ## the tests that take minutes
	$(PYTEST) -n $(WORKERS) --dist worksteal -m "full"

test-slurm: $(READY)  ## the demo through a SLURM of one node, where one can be started
	$(PYTEST) -m "slurm"

test-versions: $(READY)  ## the library's own tests with every torch of its range: gigabytes to download
	@failed=; for version in $(TORCH_VERSIONS); do \
	  echo "torch $$version"; \
	  PYTHONPATH=lib $(UV) run --quiet --isolated --no-project --python $(VENV)/bin/python --with "torch==$$version.*" \
	    --with pytest --with hypothesis --with numpy --with safetensors --with pyyaml \
	    python -m pytest -m "not full" $(LIBRARY_TESTS) || failed="$$failed $$version"; \
	done; [ -z "$$failed" ] || { echo "failed with torch$$failed"; exit 1; }

bench: $(BENCH_READY)  ## speed and memory of the neurons beside other libraries'
	$(RUN) python benchmarks/run.py --out results/bench
	$(RUN) python benchmarks/roofline.py --out results/bench
	$(RUN) python benchmarks/precision.py --out results/bench
	$(RUN) python benchmarks/threads.py --out results/bench
	$(RUN) python benchmarks/methods.py --out results/bench

docs: $(DOCS_READY)  ## the documentation site, its notebook executed: minutes; a warning is an error
	rm -rf docs/api/generated build/site
	$(RUN) python -m sphinx --quiet --fail-on-warning --keep-going -c docs/site -d build/doctrees docs build/site
	@echo "Site: $(CURDIR)/build/site/index.html"

gpu-hour:  ## on a machine with a GPU, without the workflow: tests, speed, then the paper's trainings, in MINUTES=25
	PYTHONPATH=lib:. $(PYTHON) benchmarks/gpu_hour.py --out results/gpu-hour --minutes $(or $(MINUTES),25) $(if $(DATA),--data $(DATA))

lint: $(READY)  ## style of code and rules, types of the public API
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) snakefmt --check --no-format-shell Snakefile workflow
	$(RUN) mypy
	$(SNAKEMAKE) --lint --quiet
	$(SNAKEMAKE) --lint --quiet --configfile config/demo.yaml

package: $(READY)  ## wheel and source distribution, in dist/
	$(UV) build --python $(VENV)/bin/python --no-build-isolation --quiet --clear
	@ls dist/*

lock:  ## requirements.txt and requirements-docs.txt anew from pyproject.toml
	{ echo '# Every package of the environment, pinned with hashes. Made from pyproject.toml by `make lock`.'; \
	  $(UV) pip compile --quiet pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra stages --extra workflow --extra dev; } > requirements.new
	mv requirements.new requirements.txt
	{ echo '# What the documentation site takes beyond requirements.txt. Made from pyproject.toml by `make lock`.'; \
	  $(UV) pip compile --quiet pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra docs --constraint requirements.txt $$(sed -n 's/^\([A-Za-z0-9_.-]*\)==.*/--no-emit-package \1/p' requirements.txt); \
	} > requirements.new
	mv requirements.new requirements-docs.txt

clean:  ## remove the environment and caches; results stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist docs/api/generated
	find lib tests -name __pycache__ -prune -exec rm -rf {} +
