#!/usr/bin/env bash
# The chart, the alert rules, the units and what Prometheus reads, with real tools: run.sh WIREPROOF AGENT
# Without arguments it takes the debug build. `scripts/setup.sh deploy` installs what it needs.
set -euo pipefail
cd "$(dirname "$0")"
build=${CARGO_TARGET_DIR:-../../target}/debug
wireproof=${1:-$build/wireproof}
agent=${2:-$build/wireproof-agent}
PYTHONPATH=$(bash ../../scripts/setup.sh deploy-path)
export PYTHONPATH PYTHONDONTWRITEBYTECODE=1

promtool check rules --lint=all --lint-fatal ../chart/rules/alerts.yaml >/dev/null
promtool test rules alerts_test.yaml >/dev/null
python3 chart.py "$wireproof" "$agent"
python3 scrape.py "$wireproof" "$agent"

# The units name programs under /usr/local/bin; verified is a copy that names the ones just built.
units=$(mktemp -d)
trap 'rm -rf "$units"' EXIT
cp -r ../systemd/. "$units"
find "$units" -type f -exec sed -i \
    -e "s|/usr/local/bin/wireproof-agent|$(realpath "$agent")|; s|/usr/local/bin/wireproof |$(realpath "$wireproof") |" {} +
verify() {
    for unit in "$units"/*.service; do
        # It also complains of the machine's own units: only what it says of these counts.
        said=$(systemd-analyze verify --man=no "$unit" 2>&1 | grep -E "$(basename "$unit")|$units" || true)
        [ -z "$said" ] || { echo "$said" >&2; return 1; }
    done
}
verify
echo "Bogus=yes" >>"$units/wireproof-agent.service.d/collector.conf"
! verify 2>/dev/null || { echo "systemd-analyze verifies nothing" >&2; exit 1; }

bash systemd.sh "$wireproof" "$agent"

# Images are built where there is an engine; elsewhere their files are only read.
if docker info >/dev/null 2>&1; then
    for image in agent wireproof; do
        docker build --quiet --file "../docker/$image.Dockerfile" ../.. >/dev/null
    done
    echo "images: built"
else
    echo "images: not built, for want of a container engine"
fi
echo "deploy: passed"
