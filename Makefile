# Everything a user or CI runs. Each target installs what it needs; all of it stays in this folder
# (target, .venv, .tools, .build), except Rust's targets, which rustup keeps.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
# What users and measurements run; the rest of the workspace would add to its dependencies' features.
RELEASE = cargo build --release --locked --package roadstead --package roadstead-controller \
	--package roadstead-bench

# What tests run: everything at once, since a smaller choice has other features and builds them again.
BUILD = cargo build --workspace --all-targets --locked

.PHONY: help demo demo-learner test test-learner test-control-plane test-node test-cluster measure-cluster image attacks fuzz bench bench-json bench-setup setup modules lint fmt deny clean

help: ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: setup modules ## The main job from end to end on a throw-away host
	$(RELEASE)
	target/release/roadstead demo

demo-learner: setup ## An actor in JAX that is killed and goes on; installs JAX (some 550 MB) into .venv-jax
	$(RELEASE)
	scripts/setup-jax.sh
	.venv-jax/bin/python modules/learner/demo.py

# Where there is no Go, nothing that needs a Kubernetes API server is tested; and nothing that needs
# namespaces or a node where this user may make none.
GO := $(shell command -v go)
NODE := $(and $(GO),$(shell command -v apt-get),$(shell unshare --net --mount --pid --fork echo yes 2>/dev/null))
# Crates whose tests ask an API server.
API = roadstead-catalog-kubernetes roadstead-controller
CLUSTER = ROADSTEAD_BIN=target/debug/roadstead .venv/bin/python -m pytest -q

test: setup modules deny lint ## Everything CI runs
	$(BUILD)
	tests/tools/install.sh
	$(if $(GO),tests/cluster/tools.sh control-plane)
	cargo test --workspace --locked $(if $(GO),,$(API:%=--exclude %))
	scripts/test-guests.sh
	ROADSTEAD_BIN=target/debug/roadstead .venv/bin/python -m pytest -q tests/python
	ROADSTEAD_BIN=target/debug/roadstead .venv/bin/python -m pytest -q tests/conformance -k processes
	scripts/test-learner.sh
	ROADSTEAD_BIN=target/debug/roadstead .venv/bin/python tests/attacks --pressure 0
	scripts/fuzz.sh
	$(if $(GO),$(MAKE) test-control-plane)
	$(if $(NODE),$(MAKE) test-node)

test-learner: setup ## The JAX actor modules/learner alone
	$(BUILD)
	scripts/test-learner.sh

test-control-plane: setup ## Image and Helm chart, against a Kubernetes API server that is built here
	$(BUILD)
	tests/cluster/tools.sh control-plane
	$(CLUSTER) tests/cluster/test_apply.py tests/cluster/test_chart.py tests/cluster/test_image.py \
		tests/cluster/test_python_image.py tests/cluster/test_rbac.py

test-node: setup modules ## The chart on a real node of this machine, called from within and without (Linux, as root)
	$(BUILD)
	tests/cluster/tools.sh control-plane
	tests/cluster/tools.sh node
	$(CLUSTER) tests/cluster/test_node.py -k "from_outside or by_its_name"

test-cluster: setup modules ## All of that, fleets that lose parts of their cluster, the autoscaler, native modules
	$(BUILD)
	tests/cluster/tools.sh all
	$(CLUSTER) tests/cluster
	$(CLUSTER) tests/conformance -k pods

measure-cluster: setup modules ## What a fleet takes to publish, to lose a host, to be installed (Linux, as root)
	$(RELEASE)
	tests/cluster/tools.sh all
	ROADSTEAD_BIN=target/release/roadstead .venv/bin/python tests/cluster/measure.py

image: setup ## The container image as .build/roadstead-image.tar, built without a daemon
	$(RELEASE)
	k8s/image/build.py --name $(or $(IMAGE),roadstead:dev) --output .build/roadstead-image.tar \
		target/release/roadstead target/release/roadstead-controller

fuzz: ## Inputs made by libFuzzer, FUZZ_SECONDS for each target (20)
	scripts/fuzz.sh

attacks: setup modules ## Hostile modules and clients against a host among neighbours (ROUNDS=10000: over and over)
	$(RELEASE)
	ROADSTEAD_BIN=target/release/roadstead .venv/bin/python tests/attacks --rounds $(or $(ROUNDS),0)

bench: bench-setup ## What is promised about speed, beside peers, as ratios
	target/release/roadstead-bench

bench-json: bench-setup ## The same, kept as a record in bench/history
	target/release/roadstead-bench --record bench/history

bench-setup: setup modules
	$(RELEASE)
	bench/build-guests.sh --javascript
	scripts/setup-ray.sh
	scripts/setup-fastapi.sh

setup:
	PYTHON=$(PYTHON) scripts/setup.sh

modules: setup
	scripts/build-modules.sh
	bench/build-guests.sh

lint: ## Format and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

fmt:
	cargo fmt --all

deny: ## Licences, bans and sources of every dependency
	scripts/deny.sh

clean:
	rm -rf target modules/target .build .venv .venv-fastapi .venv-jax .venv-ray .tools
