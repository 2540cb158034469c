#!/usr/bin/env bash
# Compares the CPU time of `wireproof flows` with tcpdump reading the same capture: compare.sh WIREPROOF CAPTURE [RUNS]
# Prints the median of user + system seconds of each and their ratio. Both read from the page cache.
set -euo pipefail
bin=$1 capture=$2 runs=${3:-5}

cpu() { # the user + system seconds of a command
    local TIMEFORMAT='%U %S'
    { time "$@" >/dev/null 2>&1; } 2>&1 | awk '{ print $1 + $2 }'
}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

cat "$capture" >/dev/null
ours=$(for _ in $(seq "$runs"); do cpu "$bin" flows "$capture" -o ndjson; done | median)
theirs=$(for _ in $(seq "$runs"); do cpu tcpdump -r "$capture" -w /dev/null; done | median)
packets=$(tcpdump -r "$capture" --count 2>/dev/null | awk '{ print $1 }')
awk -v o="$ours" -v t="$theirs" -v p="$packets" 'BEGIN {
    printf "packets %d\nwireproof flows %.2f s (%.0f ns a packet, %.2f million packets a CPU second)\n", p, o, o * 1e9 / p, p / o / 1e6
    printf "tcpdump -w /dev/null %.2f s\nratio %.2f\n", t, o / t }'
