# Everything a person does with this repository, each line re-runnable. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The newest supported Python of the machine is taken, unless PYTHON names one. The matrix has an environment for each:
# make test-unit PYTHON=python3.13 VENV=.venv-3.13
export VENV := .venv
export PYTHON
BIN := $(abspath $(VENV))/bin
# Packages are compiled when they are installed: where PYTHONDONTWRITEBYTECODE is set, every start would compile them anew.
# A network that inspects TLS has its authority in the machine's trust store.
export UV_SYSTEM_CERTS ?= true
# Guests are podman system containers, their images are made with debootstrap.
APT_PACKAGES := podman runc debootstrap debian-archive-keyring iproute2 iptables openssh-client ca-certificates curl python3-venv git make
# The locks of the training VM, for its Python and its C library.
VM_LOCK := $(BIN)/uv pip compile -q --no-emit-index-url --generate-hashes --python-version 3.10 --python-platform x86_64-manylinux_2_31 \
  --excludes requirements/training-excludes.in
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
setup: $(VENV)/.complete ## Everything, with the rehearsal: system packages (Debian or Ubuntu, as root) and the virtual environment

.PHONY: controller
controller: $(VENV)/.controller ## Only what a real Google Cloud needs: any Linux or macOS, no root

# $(call install,packages): install those system packages that are missing.
define install
@missing=""; for package in $(1); do \
  dpkg-query -W -f='$${Status}' "$$package" 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; done; \
if [ -n "$$missing" ]; then \
  command -v apt-get >/dev/null || { echo "make: guests need Debian or Ubuntu. Elsewhere: make box; for a real Google Cloud: make controller" >&2; exit 1; }; \
  [ "$$(id -u)" = 0 ] || { echo "make: run as root, or: sudo apt-get install$$missing" >&2; exit 1; }; \
  echo "==> installing system packages:$$missing"; \
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
endef

$(VENV)/.packages: Makefile
	$(call install,$(APT_PACKAGES))
	@mkdir -p $(VENV) && touch $@

# Where a Python is named and the environment has another one, the environment is made anew.
ifneq ($(PYTHON),)
ifneq ($(shell $(PYTHON) -VV 2>&1),$(shell $(BIN)/python -VV 2>&1))
.PHONY: $(VENV)/.complete $(VENV)/.controller
endif
endif

$(VENV)/.complete: $(VENV)/.packages requirements/install requirements/bootstrap.txt requirements/development.txt pyproject.toml rehearsal/pyproject.toml
	@requirements/install requirements/development.txt 13
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install -q --no-deps --no-build-isolation -e . -e rehearsal
	@echo "==> compiling them"
	@$(BIN)/python -m compileall -q -j 0 -x '/(ansible_collections|tests|sympy|selenium)/' $(VENV)/lib >/dev/null
	@touch $(VENV)/.packages $(VENV)/.controller $@

# Runs with make 3.81 and bash 3.2 too, which macOS has.
$(VENV)/.controller: requirements/install requirements/bootstrap.txt requirements/controller.txt
	@if [ -e $(VENV)/.complete ]; then $(MAKE) --no-print-directory setup; else requirements/install requirements/controller.txt 14; fi
	@touch $@
	@echo "==> source $(VENV)/bin/activate, then: ansible-playbook site.yml --check --diff"

.PHONY: up
up: setup ## Start the rehearsal cloud (builds missing guest images)
	@$(BIN)/rehearsal up

.PHONY: demo
demo: up ## From nothing to a served prediction: rehearsal cloud, site.yml, a curl line that works
	@echo "==> ansible-playbook site.yml"
	@$(REHEARSED); ansible-playbook site.yml
	@$(BIN)/rehearsal ask --data '{"zone": "VIP", "event": "Goal", "match_minute": 78, "score_diff": 1, "temperature": 31, "crowd_density": 0.95}'

.PHONY: demo-own-table
demo-own-table: setup ## Another table altogether, by data alone: checked, trained, published, served; its files in build/own-table/
	@$(BIN)/python -m tests.own_table build/own-table

# Root's podman, or docker. BOX_BASE may be another Debian or Ubuntu; the box trusts the authorities that were added to this machine.
BOX_ENGINE ?= $(or $(shell command -v podman),$(shell command -v docker))
BOX_BASE ?= docker.io/library/debian:13-slim
BOX_COMMAND ?= .devcontainer/demo
# What the engine needs beside it, such as --ulimit=nofile=20000:20000 where root itself may not raise that limit.
BOX_OPTIONS ?=
PAGE_PORT ?= 8080
BOX_AUTHORITIES := $(wildcard /usr/local/share/ca-certificates)

.PHONY: box
box: ## The demo in a container, on machines that are no Debian; the function's page is on http://127.0.0.1:8080/ (PAGE_PORT)
	@[ -n "$(BOX_ENGINE)" ] || { echo "make: the box needs podman or docker: with apt, dnf, pacman or brew, install podman" >&2; exit 1; }
	@[ "$$($(BOX_ENGINE) info --format '{{.Host.Security.Rootless}}' 2>/dev/null)" != true ] || \
	  { echo "make: guests need root's podman: sudo make box (podman machine: podman machine set --rootful)" >&2; exit 1; }
	@$(BOX_ENGINE) build --file Containerfile --build-arg BASE=$(BOX_BASE) --tag fanops-box .
	@terminal=; [ ! -t 0 ] || terminal=--tty; $(BOX_ENGINE) run --rm --interactive $$terminal --name fanops-box --privileged --cgroupns private \
	  --publish 127.0.0.1:$(PAGE_PORT):8080 --env PAGE_PORT=$(PAGE_PORT) --volume "$(CURDIR):/repository" \
	  --volume fanops-box-environment:/repository/.venv --volume fanops-box-rehearsal:/repository/.rehearsal --volume fanops-box-cache:/repository/.cache \
	  $(addprefix --volume=,$(addsuffix :/usr/local/share/ca-certificates:ro,$(BOX_AUTHORITIES))) $(BOX_OPTIONS) fanops-box $(BOX_COMMAND)

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
	$(call check,shellcheck,shellcheck .ci/run requirements/install .devcontainer/enter .devcontainer/demo); \
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

.PHONY: docs
docs: setup ## Write docs/modules/ from what the modules document
	@$(BIN)/python -m tests.module_reference

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

.PHONY: test-google
test-google: setup ## The whole path on a real project (GCP_PROJECT=…): asks first, cleans up, says where Google answers otherwise than the rehearsal
	@[ -n "$(GCP_PROJECT)" ] || { echo "make: no project is named: make test-google GCP_PROJECT=my-project" >&2; exit 1; }
	@$(BIN)/python -m tests.google $(GCP_PROJECT)

.PHONY: record-rehearsal
record-rehearsal: setup ## Record anew what the rehearsal answers on that path, to which test-google compares
	@$(BIN)/rehearsal isolate record bash -c '$(BIN)/rehearsal up; eval "$$($(BIN)/rehearsal env --identity owner)"; \
	  trap "$(BIN)/rehearsal down --purge" EXIT; $(BIN)/python -m tests.google --record --confirm "$$GCP_PROJECT" "$$GCP_PROJECT"'

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
prove: prove-roles prove-data prove-rehearsal prove-stop prove-plan prove-guard prove-identity prove-trouble prove-two-people prove-serving prove-training prove-growing-data prove-own-data prove-year prove-google prove-broken-guards ## What takes longer than a test: whole sweeps, with their figures in docs/reliability.md

.PHONY: prove-data
prove-data: setup ## 10,000 random data files against Python's csv module: rows in = rows used + rows named; 200 refusals at once
	@FANOPS_PROVE_DATA=10000 $(BIN)/pytest -q --timeout=3600 tests/unit/ml/test_ml_data_files.py -k "rows_in or many_times"

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

.PHONY: prove-two-people
prove-two-people: setup ## Two controllers at one site, one of them paused at every stage: 20 interleavings (about 40 minutes)
	@$(BIN)/rehearsal isolate prove-two-people $(BIN)/pytest -v tests/prove/test_two_people.py

.PHONY: prove-serving
prove-serving: setup ## Every fault at every call of a publish, damaged files, load, odd input: nothing torn, nothing failed
	@$(BIN)/pytest -v tests/prove/test_publishing.py tests/prove/test_serving.py

.PHONY: bench-serving
bench-serving: setup ## Serving beside a no-op handler and the plain way: table and benchmarks/results/serving.json (ten minutes)
	$(call install,wrk)
	@$(BIN)/python -m benchmarks.serving $(BENCH_ARGUMENTS)

.PHONY: bench-shape
bench-shape: setup ## The function through the front door, with its CPUs and concurrency, under load: benchmarks/results/shape.json (eight minutes)
	$(call install,wrk)
	@$(BIN)/rehearsal isolate bench-shape $(BIN)/python -m benchmarks.function_shape

.PHONY: bench-configure
bench-configure: setup ## What a first configure writes to a VM's disk: table and benchmarks/results/configure.json (ten minutes)
	@$(BIN)/rehearsal isolate bench-configure $(BIN)/python -m benchmarks.first_configure

.PHONY: prove-training
prove-training: setup ## A million rows in 1 GiB; three guests train three million under Dask, one is killed
	@$(BIN)/pytest -v tests/prove/test_training.py

.PHONY: prove-growing-data
prove-growing-data: setup ## A year of growing data in thirty seeds: honest days pass the gate, days with 5 points less do not
	@$(BIN)/pytest -v tests/prove/test_growing_data.py

.PHONY: prove-own-data
prove-own-data: setup ## Another stadium, thirty days of files in a bucket, three million rows of quoted CSV, on guests (about half an hour)
	@$(BIN)/rehearsal isolate prove-own-data $(BIN)/pytest -v tests/prove/test_own_data.py

.PHONY: prove-google
prove-google: setup ## test-google with the rehearsal as Google: it finds nothing, and each of twelve planted differences (about 15 minutes)
	@$(BIN)/rehearsal isolate prove-google $(BIN)/pytest -v tests/prove/test_google.py

.PHONY: prove-year
prove-year: setup ## 52 weekly runs by the schedule alone, with everything that goes wrong in a year (about 50 minutes)
	$(call install,chromium chromium-driver)
	@$(BIN)/rehearsal isolate prove-year $(BIN)/pytest -v tests/prove/test_year.py

.PHONY: prove-broken-guards
prove-broken-guards: setup ## Break every guard in a copy of the repository: the tests that watch it turn red
	@$(BIN)/pytest -v tests/prove/test_broken_guards.py

.PHONY: lock
lock: ## Resolve the requirement files anew (pinned and hashed, for every supported Python)
	@for name in bootstrap development controller rehearsal; do \
	  case $$name in controller | rehearsal) within="-c requirements/development.txt";; *) within=;; esac; \
	  $(BIN)/uv pip compile -q --universal --no-emit-index-url --generate-hashes --python-version 3.11 $$within requirements/$$name.in -o requirements/$$name.txt; done
	@$(VM_LOCK) requirements/training.in -o requirements/training.txt
	@for name in data cluster; do $(VM_LOCK) -c requirements/training.txt requirements/training-$$name.in -o requirements/training-$$name.txt; done

# The archive holds what the tag holds: whoever has the tag packs the same bytes.
RELEASE = fanops-m4-$(shell cat ml/VERSION)
TAG = v$(RELEASE:fanops-m4-%=%)
.PHONY: release
release: ## Gather changelog.d/ into CHANGELOG.md, commit and tag the version in ml/VERSION; archive and checksum go to build/release/
	@refuse() { echo "make: $$*" >&2; exit 1; }; \
	[ -x $(BIN)/towncrier ] || refuse 'towncrier is not installed; run "make setup" first'; \
	[ -z "$$(git status --porcelain)" ] || refuse 'there are changes that no commit has ("git status" lists them); commit them first'; \
	if git rev-parse --quiet --verify refs/tags/$(TAG) >/dev/null; then \
	  [ "$$(git rev-parse '$(TAG)^{commit}')" = "$$(git rev-parse HEAD)" ] || \
	    refuse '$(TAG) is an earlier commit; commit the next version in ml/VERSION, or "git checkout $(TAG)" to pack that one again'; \
	else \
	  [ -n "$$(ls changelog.d/*.md 2>/dev/null)" ] || refuse 'changelog.d/ is empty: there is nothing to release'; \
	  $(BIN)/towncrier build --yes --version $(TAG:v%=%) >/dev/null; git commit --quiet --message 'chore: release $(TAG:v%=%)'; \
	  git tag --annotate $(TAG) --message '$(RELEASE)'; fi
	@mkdir -p build/release; git -c tar.tar.gz.command='gzip -9cn' archive --prefix=$(RELEASE)/ --output=build/release/$(RELEASE).tar.gz $(TAG)
	@cd build/release; $(shell command -v sha256sum || echo shasum -a 256) $(RELEASE).tar.gz | tee $(RELEASE).tar.gz.sha256

.PHONY: clean
clean: ## Remove every container, process and file that this repository made
	@if [ -x $(BIN)/rehearsal ]; then $(BIN)/rehearsal down --purge --images; fi
	@[ -z "$(BOX_ENGINE)" ] || $(BOX_ENGINE) volume rm --force fanops-box-environment fanops-box-rehearsal fanops-box-cache >/dev/null 2>&1 || true
	@rm -rf .cache .ansible .pytest_cache .mypy_cache .ruff_cache build *.egg-info .venv*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
