#!/usr/bin/env bash
# Serves a shipped case on a free loopback port, runs the browser test on it, and stops the server again.
# run.sh [CASE]; WIREPROOF_BIN names the program, else the one of the last debug (or release) build is taken.
set -euo pipefail
cd "$(dirname "$0")/.."

case_dir=../testdata/${1:-boutique}
target=${CARGO_TARGET_DIR:-../target}
# A relative target folder is meant from the workspace, one level up.
[[ $target = /* || $target = ../* ]] || target=../$target

bin=${WIREPROOF_BIN:-}
for built in "$target/debug/wireproof" "$target/release/wireproof"; do
    [ -n "$bin" ] || { [ -x "$built" ] && bin=$built; } || true
done
[ -n "$bin" ] || { echo "run.sh: no wireproof in $target; build it, or set WIREPROOF_BIN" >&2; exit 2; }
[ -e dist/index.html ] || { echo "run.sh: the page is not built; run 'npm ci && npm run build' and build wireproof again" >&2; exit 2; }

work=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT

port=$(node -e 'const s = require("node:net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
url=http://127.0.0.1:$port/
"$bin" serve --mesh "$case_dir/mesh.yaml" --input "$case_dir/capture.pcap" --store "$work/store.sqlite" --listen "127.0.0.1:$port" >"$work/log" 2>&1 &
server=$!

# Ready when the capture is in the store and the mesh was read; the server says so itself.
ready() {
    node -e 'fetch(process.argv[1]).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))' "${url}readyz"
}
attempts=150
until ready; do
    attempts=$((attempts - 1))
    if [ "$attempts" = 0 ] || ! kill -0 "$server" 2>/dev/null; then
        echo "run.sh: the server did not become ready; it said:" >&2
        cat "$work/log" >&2
        exit 1
    fi
    sleep 0.1
done

# The ids that the case's reviewed golden names have to be on the page, whatever the API says.
expect=$(node -e '
  const golden = JSON.parse(require("node:fs").readFileSync(process.argv[1], "utf8"));
  console.log([...new Set((golden.findings ?? golden).map(({ id }) => id))].join(" "));
' "$case_dir/findings.json")
[ -n "$expect" ] || { echo "run.sh: $case_dir/findings.json names no finding" >&2; exit 1; }

WIREPROOF_URL=$url WIREPROOF_EXPECT=$expect npm run --silent test
