#!/usr/bin/env bash
# Makes a case again: runs it, captures it, writes testdata/NAME/capture.pcap and testdata/NAME/mesh.yaml.
#   make-case.sh NAME          root; starts Envoy in network namespaces of its own (about 20 s)
#   make-case.sh --mesh NAME   only mesh.yaml, from the inventory and the policies; no root
#   make-case.sh --list        the names
# The working folder ($WIREPROOF_LAB, default ~/.cache/wireproof-envoy/NAME) keeps keys, logs and key logs; none of it is committed.
# A new capture has new times, ports and flow ids: write the goldens again (UPDATE=1 cargo test -p wireproof --test replay) and read the diff.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wireproof-envoy
mesh_only=
case ${1:-} in
  --list) for file in "$here"/cases/*.policy.yaml; do basename "$file" .policy.yaml; done; exit 0 ;;
  --mesh) mesh_only=1; shift ;;
  '' | -*) sed -n '2,8s/^# //p' "$0"; exit 2 ;;
esac
name=$1
[ -e "$here/cases/$name.policy.yaml" ] || { echo "no case '$name'; there are: $("$0" --list | tr '\n' ' ')" >&2; exit 2; }
work=${WIREPROOF_LAB:-$cache/lab}/$name
rm -rf "$work"; mkdir -p "$work" "$here/../$name"
if [ -n "$mesh_only" ]; then
  MESH_ONLY=1 python3 "$here/lab.py" "$name" "$work"
else
  [ "$(id -u)" = 0 ] || { echo "make-case.sh: network namespaces need root" >&2; exit 4; }
  for tool in ip iptables setpriv tcpdump openssl curl ss; do
    command -v "$tool" >/dev/null || { echo "make-case.sh: $tool is missing: apt-get install iproute2 iptables tcpdump openssl curl" >&2; exit 4; }
  done
  if [ -z "${ENVOY:-}" ]; then
    bash "$here/../../scripts/setup.sh" envoy
    export ENVOY=$cache/bin/envoy
  fi
  python3 "$here/lab.py" "$name" "$work"
  cp "$work/capture.pcap" "$here/../$name/capture.pcap"
  if command -v tshark >/dev/null; then python3 "$here/truth.py" "$work" | tee "$work/truth.txt"; fi
fi
cp "$work/mesh.yaml" "$here/../$name/mesh.yaml"
