#!/usr/bin/env bash
# Installs one tool if it is missing: setup.sh libpcap|node|chromium|deny|nextest|net
# Debian packages need root (or sudo); the Rust tools go to cargo's own folder.
set -euo pipefail

# Versions of the tools that cargo installs; `cargo install --locked` takes their own lock files.
DENY=0.20.2
NEXTEST=0.9.143

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
    # Vite needs Node 20 or later; Debian 13 has it, a machine may bring its own.
    node)
        has node && has npm || apt nodejs npm
        major=$(node -p 'process.versions.node.split(".")[0]')
        [ "$major" -ge 20 ] || { echo "setup: node $major is too old for the dashboard build, 20 or later is needed" >&2; exit 4; }
        ;;
    chromium) has chromium || apt chromium ;;
    deny) has cargo-deny || cargo install --quiet --locked "cargo-deny@$DENY" ;;
    nextest) has cargo-nextest || cargo install --quiet --locked "cargo-nextest@$NEXTEST" ;;
    net)
        has ip || apt iproute2
        has setcap || apt libcap2-bin
        ;;
    *) echo "usage: setup.sh libpcap|node|chromium|deny|nextest|net" >&2; exit 2 ;;
esac
