# make demo     shows what the agent does, on real containers; does all set-up
# make test     does all set-up and runs every test; fails if one cannot run and CI=true
# make bench    measures against lxcfs and writes docs/benchmarks.md
# make bench-webhook measures the webhook, beside the webhook PEER if given, and writes docs/benchmarks-webhook.md
# make fidelity measures against the kernel's counters and writes docs/fidelity.md
# make lint     formatting and clippy
# make fuzz     fuzzes each parser for FUZZ_SECONDS (default 600)

SHELL := /bin/bash
TARGET := $(shell rustc -vV | sed -n 's/^host: //p')
TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
export PROCVIEW_AGENT := $(TARGET_DIR)/$(TARGET)/release/procview-agent
export PROCVIEW_WEBHOOK := $(TARGET_DIR)/$(TARGET)/release/procview-webhook
FUZZ_SECONDS ?= 600

.PHONY: build agent setup demo test bench bench-webhook fidelity lint fuzz

build:
	cargo build --release -p procview-agent -p procview-webhook

# What does not need the webhook need not wait for it.
agent:
	cargo build --release -p procview-agent

setup:
	tests/rig/install.sh

demo: agent
	tests/demo/demo.sh

test: setup lint build
	cargo test --workspace --no-fail-fast
	tests/fuzz/run.sh 10

bench: setup agent
	cargo run --release -p procview-tests --bin bench -- --check --write docs/benchmarks.md

bench-webhook: setup build
	cargo run --release -p procview-tests --bin bench_webhook -- --check $(if $(PEER),--peer $(PEER)) --write docs/benchmarks-webhook.md

fidelity: setup agent
	cargo run --release -p procview-tests --bin fidelity -- --write docs/fidelity.md

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

fuzz: setup
	tests/fuzz/run.sh $(FUZZ_SECONDS)
