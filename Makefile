# Everything a user or CI calls. The AiiDA profile, scratch and results stay inside this folder.
SHELL := /bin/bash
export AIIDA_PATH := $(CURDIR)/.aiida
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# One thread a process: the ranks and worker processes are the parallel axis.
export OMP_NUM_THREADS := 1

.PHONY: help demo test test-containers test-slurm test-faults fuzz coverage mutation lint setup bench bench-scale bench-k-error docs figures cost cutoffs dopings elements spirals clean

help:
	@echo "make demo   run the main job on a small film, Co/Pt(111) 1+1 (installs what is absent)"
	@echo "            CONTAINER=podman or docker: wholly from the image of containers/Containerfile"
	@echo "make test-containers  the main job from the image against this machine's programs (CONTAINER=podman, docker)"
	@echo "make test-slurm  the main job through Slurm, on a cluster of one node made of this machine"
	@echo "make test-faults  kills, full disks, damaged files: what the user sees, and the table of docs/reliability.md"
	@echo "make fuzz   every reader on 10^5 damaged text files or 10^4 HDF5 files (an hour)"
	@echo "make coverage  the tests, and the lines of engine, parsers and workflows that they run (at least 90 %)"
	@echo "make mutation  mutation testing of the theory and of the SOI operator (docs/mutation.md; an hour)"
	@echo "make test   run the tests (installs what is absent)"
	@echo "make lint   ruff and mypy"
	@echo "make setup  install, and make the AiiDA profile, computer, codes and pseudopotentials"
	@echo "make bench  speed and memory of the engine (PEER=python with wannierberri[default]: against it; LARGE=1: 512x512, 234 orbitals)"
	@echo "make bench-scale  500 candidates through the daemon, SQLite and PostgreSQL (CANDIDATES=12: a trial)"
	@echo "make bench-k-error  the k error against the true one (twenty minutes; STEP=12: finer steps of meshes, PROCESSES=4)"
	@echo "make docs   the documentation, in docs/_build/html"
	@echo "make figures  the tables and figures of docs/validation.md, from the archive of its runs"
	@echo "make elements PSEUDOS=...  every element's file against the atom: ghosts, semicore, spin-orbit strength"
	@echo "make cutoffs  two films at one cutoff after the other: cutoffs of SG15's set and their tables (hours)"
	@echo "make dopings  the paper's dopings as virtual crystals beside the rigid shift (nights; FILM='Co/Pt(111):1+2' PSEUDOS=...)"
	@echo "make spirals  D of Co/Pt(111) 1+1 from pw.x's energies of spin spirals (an hour)"
	@echo "make cost   time and memory: coefficients, tables and figure of docs/cost.md, from the archive of its runs"
	@echo "make clean  remove what these made: .venv, .aiida, demo"

demo:
	@CONTAINER=$(CONTAINER) scripts/bootstrap.sh demo
	@mkdir -p $(AIIDA_PATH)
	@$(if $(CONTAINER),source scripts/container-environment.sh $(CONTAINER) && scripts/build-image.sh $(CONTAINER) &&) \
		aiida-dmi demo --output demo $(if $(CONTAINER),--container $(CONTAINER))

test-containers:
	@scripts/bootstrap.sh tests dev
	@scripts/test-containers.sh $(or $(CONTAINER),podman)

test-slurm:
	@scripts/bootstrap.sh tests dev
	@scripts/test-slurm.sh

test-faults:
	@scripts/bootstrap.sh tests dev
	@scripts/test-faults.sh

fuzz:
	@scripts/bootstrap.sh tests dev
	@AIIDA_DMI_FUZZ=1 python -m pytest tests/fuzz/test_readers.py -n 2 -v --disable-warnings

coverage:
	@scripts/bootstrap.sh tests dev
	@python -m coverage erase
	@python -m coverage run -m pytest tests -n 2 --dist loadfile --no-loadscope-reorder
	@python -m coverage combine -q
	@python -m coverage report --skip-covered --fail-under=90 \
		--include='aiida_dmi/engine/*,aiida_dmi/parsers/*,aiida_dmi/workflows/*'

mutation:
	@scripts/bootstrap.sh tests dev
	@scripts/mutation.sh

setup:
	@scripts/bootstrap.sh demo
	@mkdir -p $(AIIDA_PATH)
	@aiida-dmi setup

test:
	@scripts/bootstrap.sh tests dev
	@python -m pytest tests -n 2 --dist loadfile --no-loadscope-reorder

lint:
	@scripts/bootstrap.sh tests dev
	ruff check .
	ruff format --check .
	mypy

docs:
	@scripts/bootstrap.sh docs
	python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

figures:
	@scripts/bootstrap.sh demo
	@mkdir -p $(AIIDA_PATH)/figures
	@AIIDA_PATH=$(AIIDA_PATH)/figures python validation/figures.py

cost:
	@scripts/bootstrap.sh demo
	@mkdir -p $(AIIDA_PATH)/figures
	@AIIDA_PATH=$(AIIDA_PATH)/figures python benchmarks/cost.py

cutoffs:
	@scripts/bootstrap.sh demo
	@mkdir -p $(AIIDA_PATH)/cutoffs
	@AIIDA_PATH=$(AIIDA_PATH)/cutoffs nice python validation/cutoffs.py
	@python validation/cutoffs_table.py

dopings:
	@scripts/bootstrap.sh demo
	@mkdir -p $(AIIDA_PATH)/dopings
	@AIIDA_PATH=$(AIIDA_PATH)/dopings nice python validation/dopings.py $(if $(FILM),'$(FILM)') $(if $(PSEUDOS),--pseudos $(PSEUDOS))

spirals:
	@scripts/bootstrap.sh demo
	@mkdir -p $(AIIDA_PATH)
	@nice python validation/spirals.py

elements:
	@scripts/bootstrap.sh demo
	@AIIDA_DMI_PSEUDOS=$(or $(PSEUDOS),$(AIIDA_DMI_PSEUDOS)) python validation/elements.py

clean:
	rm -rf .venv .aiida demo

bench:
	@scripts/bootstrap.sh demo
	python benchmarks/engine.py $(if $(PEER),--peer $(PEER)) $(if $(LARGE),--large)
	python benchmarks/certified.py $(if $(PEER),--peer $(PEER)) $(if $(LARGE),--large)
	$(if $(PEER),python benchmarks/ahc.py --peer $(PEER))

bench-k-error:
	@scripts/bootstrap.sh demo
	python benchmarks/k_error.py $(if $(STEP),--step $(STEP)) $(if $(PROCESSES),--processes $(PROCESSES))

bench-scale:
	@scripts/bootstrap.sh demo
	@scripts/bench-scale.sh --candidates $(or $(CANDIDATES),500)
