#!/usr/bin/env bash
# Compares `wireproof flows` with `tcpdump -w /dev/null` over the same captures, which both read from the page cache:
# peers.sh [-b WIREPROOF] [-n RUNS] [-i] CAPTURE...
#
# Of each capture: packets; median user + system seconds of both and their ratio; nanoseconds a packet; peak memory of
# wireproof; with -i also its instructions a packet, which no other load on the machine changes (valgrind counts them, at
# fifty times the time: on a small capture). Compare ratios of one run, and nothing with a run on another machine.
set -euo pipefail

bin=${CARGO_TARGET_DIR:-target}/release/wireproof runs=5 instructions=
while getopts b:n:i option; do
    case $option in
        b) bin=$OPTARG ;;
        n) runs=$OPTARG ;;
        i) instructions=yes ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
if [ $# = 0 ]; then
    sed -n '3p' "$0" >&2
    exit 2
fi
has() { command -v "$1" >/dev/null 2>&1; }
has tcpdump || { echo "peers.sh: tcpdump is missing (apt install tcpdump)" >&2; exit 4; }
[ -x "$bin" ] || { echo "peers.sh: $bin is missing (cargo build --release -p wireproof)" >&2; exit 4; }

# Runs a command and prints its user + system seconds and its peak memory in KiB ("-" where nothing here can tell it).
measure() {
    if has python3; then
        python3 - "$@" <<'PY'
import os, sys
child = os.fork()
if child == 0:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.execvp(sys.argv[1], sys.argv[1:])
_, _, used = os.wait4(child, 0)
print(f"{used.ru_utime + used.ru_stime:.3f} {used.ru_maxrss}")
PY
    elif [ -x /usr/bin/time ]; then
        /usr/bin/time -f '%U %S %M' -o /dev/stderr "$@" 2>&1 >/dev/null | tail -n 1 | awk '{ print $1 + $2, $3 }'
    else
        local TIMEFORMAT='%U %S'
        { time "$@" >/dev/null 2>&1; } 2>&1 | awk '{ print $1 + $2, "-" }'
    fi
}

# The median seconds and the highest memory of several runs.
several() {
    for _ in $(seq "$runs"); do measure "$@"; done | sort -n |
        awk '{ s[NR] = $1; if ($2 > m) m = $2 } END { print s[int((NR + 1) / 2)], (m == "" ? "-" : m) }'
}

counted() { # instructions of a command
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 >/dev/null | awk '/Collected/ { print $4 }'
}

printf '%-20s %10s %11s %10s %6s %9s %9s %8s\n' capture packets wireproof,s tcpdump,s ratio ns/packet peak,MiB instr/p
for capture in "$@"; do
    cat "$capture" >/dev/null
    packets=$(tcpdump -r "$capture" --count 2>/dev/null | awk '{ print $1 }')
    ours=$(several "$bin" flows "$capture" -o ndjson)
    theirs=$(several tcpdump -r "$capture" -w /dev/null)
    each=-
    if [ -n "$instructions" ] && has valgrind; then each=$(counted "$bin" flows "$capture" -o ndjson); fi
    echo "$ours $theirs" | awk -v name="$(basename "$capture")" -v p="$packets" -v i="$each" '{
        printf "%-20s %10d %11.3f %10.3f %6s %9.0f %9s %8s\n", name, p, $1, $3, ($3 > 0 ? sprintf("%.2f", $1 / $3) : "-"),
            $1 * 1e9 / p, ($2 == "-" ? "-" : sprintf("%.0f", $2 / 1024)), (i == "-" ? "-" : sprintf("%.0f", i / p)) }'
done
