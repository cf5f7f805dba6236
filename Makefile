# Every target sets up .venv when it is missing or older than pyproject.toml.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench readme example concepts recipes commands torture reliability
.DEFAULT_GOAL := demo

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@

demo: .venv/installed  ## train a VAE on scikit-learn's digits and draw its latent map
	$(BIN)/lit_ae fit --config configs/vae.yaml

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: export OMP_NUM_THREADS = 1  # two workers share two cores
test: lint  ## every check: style, types, tests with coverage
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term:skip-covered --cov-fail-under=90

bench: .venv/installed  ## speed against a bare loop and against pythae
	$(BIN)/python -m pip install --quiet -e ".[bench]"
	$(BIN)/python benchmarks/throughput.py

torture: .venv/installed  ## what shared machines do to training, done on purpose; ROW=kill for one row, MINUTES=30 for a sitting, AGAIN=1 after a mend
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/reliability/torture.py $(ROW) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(AGAIN),--again)

reliability: .venv/installed  ## write the tables of docs/reliability.md from benchmarks/results/reliability
	$(BIN)/python docs/reliability.py

readme: .venv/installed  ## write the table of variants into README.md
	$(BIN)/python docs/readme.py

concepts: .venv/installed  ## draw the pictures of docs/concepts.md and of the README's table: some 40 short runs
	$(BIN)/python docs/pictures.py

example: .venv/installed  ## write docs/worked_example.md
	$(BIN)/python docs/worked_example.py

recipes: .venv/installed  ## write the tables of docs/recipes.md from benchmarks/results
	$(BIN)/python docs/recipes.py

commands: .venv/installed  ## run what docs/commands.md shows, write its outputs and pictures
	$(BIN)/python docs/commands.py
