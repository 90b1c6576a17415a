# What people type. `make` alone says what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# What is checked first is checked first with `make -j` too.
.NOTPARALLEL:
.PHONY: help demo demo-shell demo-node demo-stop apply convert generate dashboards docs pictures package prepare prepare-demo test test-salt soak fuzz lint unit bench

# A file in YAML or JSON; pillar.example if not given.
PILLAR ?=

# Releases of Salt that are supported besides the one of test/requirements.txt.
SALT ?= 3006 3007

# Benchmarks to run; all of test/bench if not given.
BENCH ?=

# A Pigsty inventory, and the file to write its pillar to; standard output if not given. Its secrets
# are written to infra_secrets.sls beside that file.
INVENTORY ?= pigsty.yml
OUT ?=

# The demo's machines: default, one INFRA node; or fleet, a master, two INFRA nodes and two clients.
SUITE ?=

# 1: the demo starts from a bare machine, not from the snapshot of an earlier demo.
FRESH ?=

# distro or upstream. Without it, what the pillar says; the demo of pillar.example takes the vendor's
# packages where their repository answers, and Debian's otherwise. For the tests: upstream is the vendor's own
# repository in the place of the one that the tests make, which takes a way to it.
PACKAGING ?=

# A folder of programs under the vendor's names that the tests run in the place of Debian's and of
# stand-ins: victoria-metrics, vmalert, vmagent, vminsert, vmselect, vmstorage, victoria-logs,
# victoria-traces, alertmanager, amtool, blackbox_exporter, node_exporter, nginx_exporter, vector, and
# grafana as an unpacked tree.
PROGRAMS ?=
export INFRA_PROGRAMS = $(if $(PROGRAMS),$(abspath $(PROGRAMS)))

help:  ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: prepare-demo  ## boot a machine at 10.10.10.10, apply the formula to it, show what runs (PILLAR=FILE, PACKAGING=upstream, SUITE=fleet, FRESH=1)
	@test/lab/lab demo $(if $(PILLAR),--pillar '$(PILLAR)') $(if $(PACKAGING),--packaging '$(PACKAGING)') $(if $(SUITE),--suite '$(SUITE)') $(if $(FRESH),--fresh)

demo-shell:  ## a shell on the demo's machine
	@test/lab/lab exec --lab demo infra-1 -- bash

demo-node:  ## add a minion to the demo
	@test/lab/lab demo --add-node

demo-stop:  ## take the demo's machine down
	@test/lab/lab down demo

apply: check-host-apply  ## apply the formula to this very machine, if systemd runs it (PILLAR=FILE)
	@"$$(tools/venv)/bin/python" tools/apply $(if $(PILLAR),'$(PILLAR)')

convert:  ## turn a Pigsty inventory into pillars (INVENTORY=pigsty.yml, OUT=FILE; CHECK=1: compare)
	@"$$(tools/venv)/bin/python" tools/convert $(if $(CHECK),--check) '$(INVENTORY)' $(if $(OUT),'$(OUT)')

generate:  ## write what is generated: defaults.yaml, pillar.schema.json, docs/parameters.md, docs/reference.md …
	@"$$(tools/venv)/bin/python" tools/generate

dashboards: prepare  ## write Grafana's dashboards, and the page about them, from tools/dashboards
	@PYTHONPATH=tools "$$(tools/venv)/bin/python" -m dashboards

docs:  ## build the documents as a static site: build/docs/site/index.html
	@"$$(REQUIREMENTS=tools/requirements-docs.txt tools/venv)/bin/python" tools/docs

pictures: prepare  ## take the screenshots of docs/pictures from the demo that runs (LAB=demo)
	@"$$(tools/venv)/bin/python" test/support/screenshots.py $(LAB)

prepare:
	@tools/prepare

# Before anything is done: one sentence, if this machine cannot run it.
check-host-%:
	@tools/check-host $*

prepare-demo: check-host-demo
	@tools/prepare demo

test: export INFRA_PACKAGING = $(PACKAGING)
test: check-host-test prepare  ## everything: lint, types, unit, functional and integration tests (PROGRAMS=DIR, PACKAGING=upstream)
	@$(if $(PROGRAMS)$(PACKAGING),"$$(tools/venv)/bin/python" test/support/programs.py)
	@status=0; \
	tools/lint || status=1; \
	test/lab/lab build; \
	: one process more than processors, since those that boot machines often wait for them; \
	"$$(tools/venv)/bin/pytest" --numprocesses=$$(($$(nproc) + 1)) --dist=loadfile \
	  --no-loadscope-reorder -m 'not soak' --timeout=900 || status=1; \
	exit $$status

test-salt: prepare  ## unit and functional tests on other releases of Salt (SALT="3006 3007")
	@status=0; for release in $(SALT); do \
	  echo "== Salt $$release"; \
	  "$$(SALT=$$release tools/venv)/bin/pytest" --numprocesses=2 --dist=loadfile --timeout=900 \
	    test/unit test/functional || status=1; \
	done; exit $$status

package:  ## build/infra-VERSION-RELEASE.spm of what is committed
	@tools/package

soak: export INFRA_PACKAGING = $(PACKAGING)
soak: check-host-test prepare  ## the long runs: alerts from end to end, kills, and the table of all faults (PROGRAMS=DIR, PACKAGING=upstream)
	@test/lab/lab build; \
	: the longest modules first, so that none is left alone at the end; \
	INFRA_FAULTS=write "$$(tools/venv)/bin/pytest" --numprocesses=$$(($$(nproc) + 1)) --dist=loadfile \
	  -m 'soak or fault' --timeout=1800 test/integration test/functional

fuzz: prepare  ## try every parser with what it does not expect (MINUTES=10)
	@nice -n 19 "$$(tools/venv)/bin/python" test/fuzz/fuzz.py $(or $(MINUTES),10)

lint: prepare  ## ruff, mypy, yamllint, salt-lint, shellcheck
	@tools/lint

unit:  ## only the tests that need nothing but Python
	@"$$(tools/venv)/bin/pytest" test/unit

bench:  ## measure, and write docs/benchmarks.md (BENCH="portal register"; all of test/bench)
	@tools/prepare bench
	@"$$(tools/venv)/bin/python" tools/benchmarks $(BENCH)
