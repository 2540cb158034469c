#!/usr/bin/env bash
# Everything that must hold, in the order in which it fails fastest. `make test` calls it after the set-up.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

step "formatting"
cargo fmt --all --check

step "dependencies (licences, bans, sources)"
cargo deny --log-level error check bans licenses sources

step "dashboard: install, type check, unit tests, build"
(cd dashboards && npm ci --no-audit --no-fund --loglevel=error && npm run --silent check && npm run --silent test:unit && npm run --silent build)

step "lints, warnings denied"
cargo clippy --locked --workspace --all-targets --features capture/agent,wireproof/mimalloc --quiet -- -D warnings

step "documentation, warnings denied"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet

step "unit, property and end-to-end tests"
# The tests of the ClickHouse store start one server and share it.
trap 'bash scripts/clickhouse.sh down' EXIT
# Live capture makes network namespaces, which takes root; with root at hand it may not skip itself.
if [ "$(id -u)" = 0 ]; then export WIREPROOF_REQUIRE_LIVE=1; fi
cargo nextest run --locked --workspace --features capture/agent

step "documentation examples"
cargo test --locked --workspace --doc --features capture/agent --quiet

step "what lint says as SARIF, against the published schema"
cargo build --locked --workspace --features capture/agent --quiet
PYTHONPATH=$(bash scripts/setup.sh deploy-path) PYTHONDONTWRITEBYTECODE=1 \
    python3 cli/tests/sarif.py "${CARGO_TARGET_DIR:-target}/debug/wireproof" "$(bash scripts/setup.sh sarif-path)"

step "the page in a real browser"
bash dashboards/test/run.sh

step "the chart, alert rules, units, and a Prometheus that reads both programs"
bash deploy/test/run.sh
