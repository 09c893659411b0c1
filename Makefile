# make demo     shows what the agent does, on real containers; does all set-up
# make test     does all set-up and runs every test; fails if one cannot run and CI=true
# make bench    measures the agent against lxcfs and writes docs/benchmarks.md, and the webhook as below
# make bench-webhook measures the webhook, beside the webhook PEER if given, and writes docs/benchmarks-webhook.md
# make fidelity measures against the kernel's counters and writes docs/fidelity.md
# make fidelity-v2 does so on cgroup v2 and writes docs/fidelity-v2.md
# make deploy   renders charts/procview to deploy/procview.yaml, of images in REGISTRY if given
# make images   builds the container images into target/images; with REGISTRY pushes them there
# make cluster  starts a Kubernetes cluster of two nodes with agent and webhook; it lives until `make cluster-down`
# make lint     formatting and clippy
# make fuzz     fuzzes each parser for FUZZ_SECONDS (default 600)

SHELL := /bin/bash
TARGET := $(shell rustc -vV | sed -n 's/^host: //p')
TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
export PROCVIEW_AGENT := $(TARGET_DIR)/$(TARGET)/release/procview-agent
export PROCVIEW_WEBHOOK := $(TARGET_DIR)/$(TARGET)/release/procview-webhook
IMAGES := $(TARGET_DIR)/images
FUZZ_SECONDS ?= 600

.PHONY: build agent setup demo test bench bench-webhook fidelity fidelity-v2 deploy images lint fuzz cluster cluster-down

build:
	cargo build --release -p procview-agent -p procview-webhook

# What does not need the webhook need not wait for it.
agent:
	cargo build --release -p procview-agent

setup:
	tests/rig/install.sh

demo: agent
	tests/demo/demo.sh

# The programs under test are those of the images.
test: setup lint images
	PROCVIEW_IMAGES=$(IMAGES) PROCVIEW_AGENT=$(IMAGES)/procview-agent PROCVIEW_WEBHOOK=$(IMAGES)/procview-webhook \
	  tests/run.sh

bench: bench-webhook
	cargo run --release -p procview-tests --bin bench -- --check --write docs/benchmarks.md

bench-webhook: setup build
	cargo run --release -p procview-tests --bin bench_webhook -- --check $(if $(PEER),--peer $(PEER)) --write docs/benchmarks-webhook.md

fidelity: setup agent
	cargo run --release -p procview-tests --bin fidelity -- --write docs/fidelity.md

# In a guest kernel, emulated: minutes.
fidelity-v2: setup agent
	cargo build --release -p procview-tests --bin fidelity
	dir=$$(mktemp -d) && mkdir $$dir/payload $$dir/out && \
	cp $(TARGET_DIR)/$(TARGET)/release/{fidelity,procview-agent} $$dir/payload && \
	tests/rig/guest.sh -k 6.12 -t 900 -o $$dir/out -p $$dir/payload -- \
	  './fidelity --quick --reads 10000 --agent ./procview-agent --write /out/fidelity.md' && \
	cp $$dir/out/fidelity.md docs/fidelity-v2.md && rm -r $$dir

deploy:
	tests/rig/render.sh $(REGISTRY) > deploy/procview.yaml.new
	mv deploy/procview.yaml.new deploy/procview.yaml

images: setup
	tests/rig/images.sh $(IMAGES) $(REGISTRY)

cluster: images
	tests/rig/cluster.sh up
	tests/rig/cluster.sh load $(IMAGES)/procview-agent.tar $(IMAGES)/procview-webhook.tar
	tests/rig/cluster.sh kubectl apply -f deploy/
	tests/rig/cluster.sh kubectl rollout status -n procview --timeout 5m daemonset/procview-agent
	tests/rig/cluster.sh kubectl rollout status -n procview --timeout 5m deployment/procview-webhook
	@sed "s,KUBECTL,$(CURDIR)/tests/rig/cluster.sh kubectl," tests/rig/cluster/next.txt

cluster-down:
	tests/rig/cluster.sh down

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

fuzz: setup
	tests/fuzz/run.sh $(FUZZ_SECONDS)
