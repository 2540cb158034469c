# Two commands matter: `make demo` and `make test`. Each installs what it needs on a Debian machine that has only the
# Rust toolchain. Everything else here is a step of those two.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

CARGO ?= cargo
export CARGO_TARGET_DIR ?= target
BIN := $(CARGO_TARGET_DIR)/release/wireproof
DEMO_LISTEN ?= 127.0.0.1:8480
DEMO_STORE ?= $(CARGO_TARGET_DIR)/demo/wireproof.sqlite
DEMO_CASE ?= testdata/boutique

.PHONY: help
help: ## Shows this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: demo
demo: setup-node dashboard ## Audits a really captured mesh into a fresh store and serves the result
	$(CARGO) build --release --locked -p wireproof
	@rm -rf "$(dir $(DEMO_STORE))" && mkdir -p "$(dir $(DEMO_STORE))"
	@echo
	@echo "Three commands to try next (in another terminal):"
	@echo "  $(BIN) replay $(DEMO_CASE)/capture.pcap --mesh $(DEMO_CASE)/mesh.yaml"
	@echo "  $(BIN) lint --mesh $(DEMO_CASE)/mesh.yaml"
	@echo "  curl -s http://$(DEMO_LISTEN)/api/v1/violations"
	@echo
	@exec "$(BIN)" serve --mesh $(DEMO_CASE)/mesh.yaml --input $(DEMO_CASE)/capture.pcap --store "$(DEMO_STORE)" --listen $(DEMO_LISTEN)

.PHONY: test
test: setup ## Installs what is missing and runs everything, the browser test included
	bash scripts/test.sh

.PHONY: check
check: setup-libpcap ## Formatting, lints and documentation, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --features capture/agent -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items --quiet

.PHONY: fuzz
fuzz: setup-fuzz ## Runs each fuzz target for a minute; FUZZ_SECONDS=600 and TARGETS="reader engine" change that
	bash fuzz/run.sh $(TARGETS)

.PHONY: bench
bench: ## Measures the parts of capture and the whole, over generated traffic
	$(CARGO) bench --locked -p bench

.PHONY: deny
deny: setup-deny ## Licences, bans and sources of every dependency
	$(CARGO) deny --offline --log-level warn check bans licenses sources

.PHONY: dashboard
dashboard: setup-node ## Builds the page that the API embeds
	cd dashboards && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build

.PHONY: dist
dist: dashboard setup-libpcap ## Optimised binaries of both programs
	$(CARGO) build --locked --profile dist --workspace --features capture/agent

.PHONY: deploy-test
deploy-test: setup-deploy setup-libpcap ## The chart, the alert rules, the units, and what Prometheus reads
	$(CARGO) build --locked -p wireproof -p capture --features capture/agent
	bash deploy/test/run.sh

.PHONY: setup setup-libpcap setup-node setup-chromium setup-deny setup-nextest setup-net setup-clickhouse setup-envoy setup-deploy setup-sarif setup-fuzz
setup: setup-libpcap setup-node setup-chromium setup-deny setup-nextest setup-net setup-clickhouse setup-envoy setup-deploy setup-sarif
setup-libpcap:
	@bash scripts/setup.sh libpcap
setup-node:
	@bash scripts/setup.sh node
setup-chromium:
	@bash scripts/setup.sh chromium
setup-deny:
	@bash scripts/setup.sh deny
setup-nextest:
	@bash scripts/setup.sh nextest
setup-net:
	@bash scripts/setup.sh net
setup-clickhouse: setup-node
	@bash scripts/setup.sh clickhouse
setup-deploy:
	@bash scripts/setup.sh deploy
setup-sarif: setup-node setup-net setup-deploy
	@bash scripts/setup.sh sarif
setup-envoy:
	@bash scripts/setup.sh envoy
setup-fuzz:
	@bash scripts/setup.sh fuzz
