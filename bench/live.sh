#!/usr/bin/env bash
# The agent at the end of a veth pair: what it loses and what it costs. Root, tcpreplay and iperf3 are needed.
#   bench/live.sh replay FILE PPS [agent options]     a capture sent at so many packets a second, five times, each under other addresses
#   bench/live.sh iperf SECONDS [agent options]       one TCP connection as fast as it goes, in super-packets
# IPERF="-Z -P 4" gives iperf3 more options (then several connections). AGENT=path names the program (target/release/wireproof-agent), PEER=1 measures tcpdump instead.
set -euo pipefail

mode=${1:?replay or iperf}; what=${2:?a file, or seconds}; shift 2
pps=
if [ "$mode" = replay ]; then pps=${1:?packets a second}; shift; fi
agent=${AGENT:-${CARGO_TARGET_DIR:-target}/release/wireproof-agent}
work=$(mktemp -d)
left=wl$$ right=wr$$
trap 'ip netns del $left; ip netns del $right; rm -rf "$work"' EXIT

ip netns add $left
ip netns add $right
ip link add eth0 netns $left type veth peer name eth0 netns $right
for side in $left:198.18.0.1 $right:198.18.0.2; do
    ip -n "${side%:*}" addr add "${side#*:}/24" dev eth0
    ip -n "${side%:*}" link set eth0 up mtu "$([ "$mode" = replay ] && echo 65535 || echo 1500)"
done

if [ -n "${PEER:-}" ]; then
    ip netns exec $right tcpdump -i eth0 -n -w /dev/null "$@" 2>"$work/said" &
else
    ip netns exec $right "$agent" -i eth0 --coverage "$work/coverage" "$@" >/dev/null 2>"$work/said" &
fi
id=$!
until grep -q -e watching -e 'listening on' "$work/said"; do kill -0 $id; sleep 0.1; done

ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$id/stat"; }
before=$(ticks)
if [ "$mode" = replay ]; then
    ip netns exec $left tcpreplay -q -K --loop=5 --unique-ip --pps="$pps" -i eth0 "$what" 2>&1 | grep -E '^(Actual|Rated)' || true
else
    ip netns exec $right iperf3 -s -1 >/dev/null &
    sleep 1
    ip netns exec $left iperf3 -c 198.18.0.2 -t "$what" -f g ${IPERF:-} | grep -E 'receiver'
fi
sleep 1
after=$(ticks)
kill -INT $id
wait $id || true
cat "$work/said"
[ ! -e "$work/coverage" ] || cat "$work/coverage"
echo "CPU: $(( (after - before) * 1000 / $(getconf CLK_TCK) )) ms of the receiver, user and system"
