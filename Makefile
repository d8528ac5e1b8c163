# Everything a person does with this repository, each line re-runnable. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(abspath $(VENV))/bin
PYTHON ?= python3.11
# Packages are compiled when they are installed: where PYTHONDONTWRITEBYTECODE is set, every start would compile them anew.
# A network that inspects TLS has its authority in the machine's trust store.
export UV_SYSTEM_CERTS ?= true
# Guests are podman system containers, their images are made with debootstrap.
APT_PACKAGES := podman runc debootstrap debian-archive-keyring iproute2 iptables openssh-client ca-certificates curl python3-venv git make
ROLES := $(notdir $(patsubst %/molecule/default/,%,$(wildcard roles/*/molecule/default/)))
SCENARIO ?= default
# How many scenarios run at a time: one beside the other lanes of "make test", two where they have the machine to themselves.
MOLECULE_SLOTS ?= 1
# One scenario, with its output kept, and shown only where it failed. Two run at a time; the second has platforms of its own.
MOLECULE_TEST = began=$$SECONDS; log=$$PWD/build/molecule/$$0-$(SCENARIO).log; [ "$$SLOT" = 1 ] && export MOLECULE_PLATFORMS=second/inventory; \
  echo "==> molecule test: $$0, $(SCENARIO)"; \
  if (cd "roles/$$0" && molecule test --scenario-name $(SCENARIO)) >"$$log" 2>&1; then outcome=passed; else outcome=failed; cat "$$log"; fi; \
  echo "    $$0: $$outcome in $$((SECONDS - began)) s, see $${log\#$$PWD/}"; \
  printf "%s\t%s\t%s\n" "$$0" $$((SECONDS - began)) $$outcome >>build/results/molecule.tsv; [ $$outcome = passed ]
# Points Google clients in a recipe at the rehearsal.
REHEARSED := eval "$$($(BIN)/rehearsal env)"; export PATH="$(BIN):$$PATH"
# Scenarios also delete what they made, which the deployer may not.
AS_OWNER := eval "$$($(BIN)/rehearsal env --identity owner)"; export PATH="$(BIN):$$PATH"

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' Makefile

.PHONY: setup
setup: $(VENV)/.complete ## Install what is missing: system packages and the virtual environment

# $(call install,packages): install those system packages that are missing.
define install
@missing=""; for package in $(1); do \
  dpkg-query -W -f='$${Status}' "$$package" 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; done; \
if [ -n "$$missing" ]; then \
  echo "==> installing system packages:$$missing"; \
  [ "$$(id -u)" = 0 ] || { echo "make: run as root, or: sudo apt-get install$$missing" >&2; exit 1; }; \
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
endef

$(VENV)/.packages: Makefile
	$(call install,$(APT_PACKAGES))
	@mkdir -p $(VENV) && touch $@

$(VENV)/.complete: $(VENV)/.packages requirements/bootstrap.txt requirements/development.txt pyproject.toml rehearsal/pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not on PATH; name a Python 3.11 with make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@[ -x $(VENV)/bin/python ] || { echo "==> making the virtual environment with $$($(PYTHON) --version)"; $(PYTHON) -m venv $(VENV); }
	@[ -x $(VENV)/bin/uv ] || $(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@echo "==> installing the pinned Python packages"
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip sync -q --require-hashes requirements/development.txt
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install -q --no-deps --no-build-isolation -e . -e rehearsal
	@echo "==> compiling them"
	@$(BIN)/python -m compileall -q -j 0 -x '/(ansible_collections|tests|sympy|selenium)/' $(VENV)/lib >/dev/null
	@touch $@

.PHONY: up
up: setup ## Start the rehearsal cloud (builds missing guest images)
	@$(BIN)/rehearsal up

.PHONY: demo
demo: up ## From nothing to a served prediction: rehearsal cloud, site.yml, a curl line that works
	@echo "==> ansible-playbook site.yml"
	@$(REHEARSED); ansible-playbook site.yml
	@$(BIN)/rehearsal ask --data '{"zone": "VIP", "event": "Goal", "match_minute": 78, "score_diff": 1, "temperature": 31, "crowd_density": 0.95}'

# The lanes run side by side, end to end in a network of its own. A lane that fails ends no other; the table at the end shows all of them.
.PHONY: test
test: setup ## Every check, in three lanes side by side; at the end one table of what took how long
	@rm -rf build/results; mkdir -p build/results; trap '$(BIN)/python -m tests.summary' EXIT; \
	$(MAKE) --no-print-directory --keep-going --jobs=3 test-rehearsal test-molecule test-quick

.PHONY: test-quick
test-quick: setup ## Lint, unit, contract and browser tests
	@$(MAKE) --no-print-directory --keep-going --jobs=1 lint test-unit test-browser

# $(call check,name,command): run a linter, go on whatever it says, and note in the summary how it ended.
check = began=$$SECONDS; echo "==> $(1)"; if $(2); then outcome=passed; else outcome=failed; red=1; fi; \
  printf '%s\t%s\t%s\n' $(1) $$((SECONDS - began)) $$outcome >>build/results/lint.tsv

.PHONY: lint
lint: setup ## ruff, mypy, shellcheck, yamllint, ansible-lint
	@export PATH="$(BIN):$$PATH" ANSIBLE_LINT_SKIP_SCHEMA_UPDATE=1; mkdir -p build/results; rm -f build/results/lint.tsv; red=0; \
	$(call check,ruff,ruff check .); \
	$(call check,ruff-format,ruff format --check .); \
	$(call check,mypy,mypy rehearsal/src rehearsal/tests ml library plugins .config/molecule/state.py roles/*/files/*.py benchmarks tests .config/mypy/ansible/module_utils/fanops); \
	$(call check,shellcheck,shellcheck .ci/run); \
	$(call check,yamllint,yamllint --strict .); \
	$(call check,ansible-lint,ansible-lint --offline); \
	exit $$red

.PHONY: test-unit
test-unit: setup ## Unit and contract tests
	@echo "==> unit and contract tests"; $(BIN)/pytest -q --numprocesses=2 --dist=loadfile --junitxml=build/results/unit.xml tests/unit tests/contract rehearsal/tests

.PHONY: test-browser
test-browser: setup ## The page for people in headless Chromium; screenshots go to build/
	$(call install,chromium chromium-driver)
	@echo "==> browser tests"; $(BIN)/pytest -q --junitxml=build/results/browser.xml tests/browser

.PHONY: images
images: setup ## Build the images of the guests that are missing, and start the rehearsal cloud
	@$(BIN)/rehearsal up --image debian-11 --image debian-12 --image python313

.PHONY: test-molecule
test-molecule: images ## Every role on a Debian 11 and a Debian 12 guest
	@$(AS_OWNER); mkdir -p build/molecule build/results; printf '%s\n' $(ROLES) | \
	  xargs --max-procs=$(MOLECULE_SLOTS) --process-slot-var=SLOT -I{} bash -c '$(MOLECULE_TEST)' {}

.PHONY: test-rehearsal
test-rehearsal: images ## End to end on the rehearsal cloud, beginning with an empty project
	@echo "==> end-to-end tests"; $(BIN)/rehearsal isolate end-to-end \
	  $(BIN)/pytest -q -m "not long" --junitxml=build/results/end-to-end.xml tests/rehearsal

.PHONY: coverage
coverage: setup ## What of our Python unit and end-to-end tests execute: table in docs/reliability.md, lines in build/coverage/html
	@rm -rf build/coverage; mkdir -p build/coverage; export PATH="$(BIN):$$PATH"; \
	coverage run -m pytest -q tests/unit tests/contract rehearsal/tests; \
	coverage run -m pytest -q -m "not long" tests/rehearsal; \
	coverage combine -q; coverage html -q -d build/coverage/html; coverage json -q -o build/coverage/coverage.json; \
	python -m tests.coverage_table build/coverage/coverage.json

.PHONY: bench-training
bench-training: setup ## Training beside the plain way: table and benchmarks/results/training.json (about twenty minutes)
	@$(BIN)/python -m benchmarks.training

.PHONY: prove
prove: prove-roles prove-rehearsal prove-stop prove-plan prove-guard prove-identity prove-trouble prove-serving prove-training prove-broken-guards ## What takes longer than a test: whole sweeps, with their figures in docs/reliability.md

.PHONY: prove-data
prove-data: setup ## 10,000 random data files against Python's csv module: rows in = rows used + rows named
	@FANOPS_PROVE_DATA=10000 $(BIN)/pytest -q tests/unit/ml/test_ml_data_files.py -k rows_in

.PHONY: prove-roles
prove-roles: ## Every role again, with options that change what it does
	@$(MAKE) --no-print-directory test-molecule SCENARIO=alternative MOLECULE_SLOTS=2

.PHONY: prove-rehearsal
prove-rehearsal: setup ## The end-to-end tests that take too long for test
	@$(BIN)/pytest -q -m long tests/rehearsal

.PHONY: prove-stop
prove-stop: setup ## Kill the controller everywhere, take each guard away in turn: no VM outlives its run
	@$(BIN)/pytest -v tests/prove/test_stop_guarantee.py

.PHONY: prove-plan
prove-plan: setup ## From many states, what check mode predicts is what the next run does
	@$(BIN)/pytest -v tests/prove/test_plan.py

.PHONY: prove-guard
prove-guard: setup ## Every rule of the free-tier guard: refused before any mutating call, passed when allowed
	@$(BIN)/pytest -v tests/prove/test_guard.py

.PHONY: prove-identity
prove-identity: setup ## Every permission taken away in turn, and none unused (about 25 minutes)
	@$(BIN)/pytest -v tests/prove/test_identity.py

.PHONY: prove-trouble
prove-trouble: setup ## Stock-outs, slow IAM, a busy first boot …: whole runs (about 35 minutes)
	@$(BIN)/pytest -v tests/prove/test_trouble.py

.PHONY: prove-serving
prove-serving: setup ## Every fault at every call of a publish, damaged files, load, odd input: nothing torn, nothing failed
	@$(BIN)/pytest -v tests/prove/test_publishing.py tests/prove/test_serving.py

.PHONY: bench-serving
bench-serving: setup ## Serving beside a no-op handler and the plain way: table and benchmarks/results/serving.json (ten minutes)
	$(call install,wrk)
	@$(BIN)/python -m benchmarks.serving $(BENCH_ARGUMENTS)

.PHONY: prove-training
prove-training: setup ## A million rows in 1 GiB; three guests train three million under Dask, one is killed
	@$(BIN)/pytest -v tests/prove/test_training.py

.PHONY: prove-broken-guards
prove-broken-guards: setup ## Break every guard in a copy of the repository: the tests that watch it turn red
	@$(BIN)/pytest -v tests/prove/test_broken_guards.py

.PHONY: lock
lock: ## Resolve the requirement files anew (pinned and hashed)
	@for name in bootstrap development; do \
	  $(BIN)/uv pip compile -q --no-emit-index-url --generate-hashes --python-version 3.11 requirements/$$name.in -o requirements/$$name.txt; done
	@for name in controller rehearsal; do \
	  $(BIN)/uv pip compile -q --no-emit-index-url --generate-hashes --python-version 3.11 -c requirements/development.txt requirements/$$name.in -o requirements/$$name.txt; done

.PHONY: clean
clean: ## Remove every container, process and file that this repository made
	@if [ -x $(BIN)/rehearsal ]; then $(BIN)/rehearsal down --purge --images; fi
	@rm -rf .cache .ansible .pytest_cache .mypy_cache .ruff_cache build *.egg-info $(VENV)
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
