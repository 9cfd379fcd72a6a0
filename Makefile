# Two commands: `make run` (the whole chain on real weights and text) and `make test`.
# Each creates .venv on first use and needs nothing but Python >= 3.11. To use an environment
# of your own (conda, for example): make run PY=python
SHELL := bash
CONFIG ?= quick
PROFILE ?= local
# The reading path; what only papermill executes is in notebooks/jobs.
ANALYSIS := $(wildcard notebooks/*.ipynb)

# A value of a variable as one word for the shell, whatever it holds.
quoted = '$(subst ','\'',$(1))'
ifndef PY
PY := .venv/bin/python
READY := .venv/.ready
endif
override PY := $(call quoted,$(PY))
# Notebooks import this checkout, whichever PY has installed; text is UTF-8 in every locale.
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
export PYTHONUTF8 := 1
# Snakemake and Jupyter write into the home folder, which on some clusters nobody can.
export HOME := $(shell if test -w "$$HOME"; then echo "$$HOME"; \
  else mkdir -p build/home && echo "$$PWD/build/home"; fi)
# One BLAS thread a process: the engine runs several processes instead, and the number of
# threads is part of what makes a run bit-reproducible.
export OMP_NUM_THREADS ?= 1
# A profile is a folder here; the engine would look for it in places that nobody has.
profile = $(if $(wildcard profiles/$(PROFILE)/config.yaml),profiles/$(PROFILE),$(error \
  PROFILE=$(PROFILE): there is no such profile; valid: $(notdir $(wildcard profiles/*))))
# Its Slurm plugin starts Python unquoted on a node.
ifneq (,$(filter slurm%,$(PROFILE)))
ifneq (1,$(words $(CURDIR)))
$(error PROFILE=$(PROFILE): Slurm jobs cannot start in a folder with a space in its name: $(CURDIR). Move the checkout)
endif
endif
# Snakemake loads its Slurm plugin in any case, and that asks Slurm for its settings: where Slurm is
# installed but does not answer, nine seconds go by. An empty file ends that at once.
NO_SLURM = $(if $(filter slurm%,$(PROFILE)),,SLURM_CONF=/dev/null)
SNAKEMAKE = $(NO_SLURM) $(PY) -m snakemake --profile $(call quoted,$(profile))
# `make run -n` plans and shows, as `make -n` does, but through the engine, which knows what is done.
DRY = $(if $(findstring n,$(firstword -$(MAKEFLAGS))),--dry-run)
# The engine with a bar of progress and a table at the end; where it only plans, itself.
ENGINE = $(if $(DRY),$(SNAKEMAKE),$(NO_SLURM) $(PY) -m lib.workflow run $(2) $(call quoted,$(1)) -- --profile $(call quoted,$(profile)))
SHARDS = $(if $(SEEDS_PER_JOB),$(call quoted,seeds_per_job=$(SEEDS_PER_JOB)))
# `make campaign` is about config/campaign.yaml unless CONFIG is given.
CAMPAIGN = $(if $(filter command environment,$(firstword $(origin CONFIG))),$(CONFIG),campaign)
CAMPAIGN_DEVICE ?= auto
ARCHIVE = finetuning-instability-$(shell sed -n 's/^version: //p' CITATION.cff)

.DEFAULT_GOAL := help
.PHONY: run status test figures help campaign verify unlock test-slurm site student slides format lock archive clean

##@ everyday

run: $(READY)  ## train, measure, analyse, draw: make run [CONFIG=quick|theory|path.yaml|paper/STUDY] [PROFILE=local]
	@+$(call ENGINE,$(CONFIG)) --config $(call quoted,grid=$(CONFIG)) $(SHARDS) $(ARGS) $(DRY)

status: $(READY)  ## what is done, failed and missing, and the time left: make status [CONFIG=…]
	$(PY) -m lib.workflow status $(call quoted,$(CAMPAIGN)) $(ARGS)

test: $(READY)  ## unit, property, oracle, notebook, engine and end-to-end tests
	$(PY) -m ruff check . && $(PY) -m ruff format --check .
	$(PY) -m pytest -n 2 --dist loadscope --no-loadscope-reorder --nbval --nbval-current-env \
	  --nbval-sanitize-with tests/nbval_sanitize.cfg tests $(ANALYSIS) $(ARGS)

figures: $(READY)  ## re-execute the analysis notebooks on the reference; redraw figures/
	$(PY) -m nbconvert --config notebooks/nbconvert_config.py --to notebook --execute --inplace $(ANALYSIS)

help:  ## show this list
	@sed -nE 's/^##@ (.*)/\n\1/p; s/^([a-z-]+):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 16

##@ many runs

campaign: $(READY)  ## make what the reference lacks, promoting each group and job, then packing: [CONFIG=campaign] [CAMPAIGN_DEVICE=cuda] [COMMIT=1]
	@+$(call ENGINE,$(CAMPAIGN),--campaign) --config $(call quoted,grid=$(CAMPAIGN)) campaign=1 $(call quoted,device=$(CAMPAIGN_DEVICE)) $(if $(COMMIT),commit=1) $(SHARDS) $(ARGS) $(DRY)
	$(PY) -m lib.workflow pack $(call quoted,$(CAMPAIGN)) $(if $(COMMIT),--commit)

verify: $(READY)  ## train a random sample of the committed runs again and compare: make verify [ARGS="--sample 5"]
	$(PY) -m benchmarks.verify $(ARGS)

unlock: $(READY)  ## free the engine's lock after a killed `make run`
	$(SNAKEMAKE) --config $(call quoted,grid=$(CONFIG)) --unlock

test-slurm: $(READY)  ## the engine on a real Slurm on this machine, about 5 minutes; needs root and Debian
	type slurmctld slurmd sbatch munged >/dev/null 2>&1 || (apt-get update && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge slurm-wlm-basic-plugins)
	$(PY) -m pytest -m slurm -rs tests/workflow/test_slurm.py $(ARGS)

##@ teaching

site: $(READY)  ## the course as pages that need no network, into build/site/html
	$(PY) -m docs.site site

student: $(READY)  ## the notebooks without solutions and what they need, into build/student
	$(PY) -m docs.site student

slides: $(READY)  ## a deck of slides for each unit, into build/slides
	$(PY) -m docs.site slides

##@ development

format: $(READY)  ## apply the code style
	$(PY) -m ruff check --fix . && $(PY) -m ruff format .

lock:  ## rewrite constraints.txt from a fresh environment (torch keeps its pin: change it there first)
	rm -rf build/lock && python3 -m venv build/lock && build/lock/bin/pip install -q -r requirements.txt \
	  "$$(grep '^torch==' constraints.txt)"
	build/lock/bin/pip freeze --all | grep -v '^setuptools==' | sed 's/+cpu$$//' | sort -f > constraints.txt

archive:  ## the last commit as build/finetuning-instability-VERSION.zip, for a DOI; it runs without git
	@test -e .git || { echo "make archive: $(CURDIR) is no git checkout, so no commit to archive" >&2; exit 1; }
	@git diff --quiet HEAD || echo "make archive: uncommitted changes are left out" >&2
	mkdir -p build
	TZ=UTC git -c core.autocrlf=false archive --prefix=$(ARCHIVE)/ --output=build/$(ARCHIVE).zip HEAD
	@git log -1 --format='commit %H' && du -h build/$(ARCHIVE).zip && sha256sum build/$(ARCHIVE).zip

clean:  ## delete runs, results and figures of all configurations but the reference
	rm -rf data/runs build .snakemake && find data/results figures -mindepth 1 -maxdepth 1 -type d \
	  ! -name 'reference*' -exec rm -rf {} +

.venv/.ready: requirements.txt constraints.txt pyproject.toml setup.py
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed; found " + sys.version.split()[0] + ". Put a newer python3 first on PATH, or use conda (see README).")'
	python3 -m venv .venv
	if command -v uv >/dev/null; then uv pip install -q --python $(PY) -r requirements.txt -c constraints.txt -e .; \
	  else $(PY) -m pip install -q --disable-pip-version-check -r requirements.txt -c constraints.txt -e .; fi
	touch $@
