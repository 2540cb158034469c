#!/usr/bin/env bash
# The units under a real systemd: systemd.sh WIREPROOF AGENT
#
# systemd boots as process 1 of namespaces of its own (processes, mounts, network, host name), over this machine's own files, of which it sees
# a copy that is thrown away. What it starts is what deploy/systemd says. It takes root and overlayfs; where one of them is missing it says so.
# What control groups bound (MemoryMax=, TasksMax=) is not tried: there may be no controllers inside.
set -euo pipefail

fail() { echo "units: $*" >&2; exit 1; }

# Process 1 to be: makes its files and becomes systemd.
if [ "${1:-}" = inside ]; then
    wireproof=$2 agent=$3 units=$4 mesh=$5 work=$6
    mount --make-rprivate /
    mount -t tmpfs tmpfs "$work"
    mkdir "$work/upper" "$work/work" "$work/root"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$work/root"
    root=$work/root
    mount -t proc proc "$root/proc"
    # Settings of the kernel are the machine's, whoever writes them.
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount -o remount,bind,ro "$root/proc/sys"
    mount -t sysfs -o ro sysfs "$root/sys"
    for folder in run tmp dev sys/fs/cgroup; do mount -t tmpfs -o mode=755 tmpfs "$root/$folder"; done
    chmod 1777 "$root/tmp"
    for device in null zero full random urandom tty; do
        touch "$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    mkdir "$root/dev/shm" "$root/dev/pts"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    mount -t tmpfs tmpfs "$root/dev/shm"
    # As the machine has it: one hierarchy, or the older kind, of which process 1 takes the one without controllers.
    if [ -f /sys/fs/cgroup/cgroup.controllers ] || [ -n "${UNIFIED:-}" ]; then
        mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    else
        mkdir "$root/sys/fs/cgroup/systemd"
        mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
    fi
    ip link set lo up

    # As the units' first lines say.
    for program in "$wireproof" "$agent"; do
        place=$root/usr/local/bin/$(basename "$program")
        touch "$place"
        mount --bind "$program" "$place"
    done
    install -m 644 "$units"/*.service "$root/etc/systemd/system/"
    install -d "$root/etc/wireproof/mesh"
    cp "$mesh" "$root/etc/wireproof/mesh/"
    (umask 077 && for name in api agent; do openssl rand -hex 32 >"$root/etc/wireproof/$name-token"; done)
    # Of the machine's own services none.
    rm -rf "$root"/etc/systemd/system/*.wants
    printf '[Unit]\nRequires=basic.target\nAfter=basic.target\n' >"$root/etc/systemd/system/trial.target"
    openssl rand -hex 16 >"$root/etc/machine-id"
    mkdir "$root/tmp/old"
    cd "$root"
    pivot_root . tmp/old
    umount -l /tmp/old
    # Credentials are mounted where process 1 has to see them.
    mount --make-rshared /
    container=trial exec /lib/systemd/systemd --system --unit=trial.target </dev/null >/dev/null 2>&1
fi

self=$(realpath "$0") wireproof=$(realpath "$1") agent=$(realpath "$2")
cd "$(dirname "$self")"
[ "$(id -u)" = 0 ] || { echo "units: verified and not started, for want of root"; exit 0; }
grep -qw overlay /proc/filesystems || { echo "units: verified and not started, for want of overlayfs"; exit 0; }
[ -x /lib/systemd/systemd ] || { echo "units: verified and not started, for want of systemd"; exit 0; }

work=$(mktemp -d)
unshare --mount --pid --uts --ipc --cgroup --net --fork --kill-child \
    bash "$self" inside "$wireproof" "$agent" "$(realpath ../systemd)" "$(realpath ../../testdata/boutique/mesh.yaml)" "$work" &
outer=$!
# With the one that waits for it process 1 ends, and with it all that it started.
trap 'kill -KILL $outer 2>/dev/null; wait $outer 2>/dev/null || true; rmdir "$work"' EXIT
first=
for _ in $(seq 1 100); do
    first=$(cat "/proc/$outer/task/$outer/children" 2>/dev/null | tr -d ' ')
    [ -z "$first" ] || [ "$(cat "/proc/$first/comm" 2>/dev/null)" != systemd ] || break
    kill -0 "$outer" 2>/dev/null || fail "systemd does not start"
    sleep 0.1
done
within() { nsenter -t "$first" --mount --pid --uts --ipc --net --cgroup "$@"; }
# A bound on hanging, a tenth of a second a step.
until_so() {
    local what=$1
    shift
    for _ in $(seq 1 600); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    within journalctl --no-pager -n 40 >&2 || true
    fail "$what"
}
control() { within systemctl --no-pager --quiet "$@"; }
shown() { within systemctl show --property="$2" --value "$1"; }
ask() { within sh -c "curl -fsS -H \"Authorization: Bearer \$(cat /etc/wireproof/api-token)\" http://127.0.0.1:8480$1"; }

until_so "systemd does not boot" control is-active trial.target
control start wireproof wireproof-agent || { within journalctl --no-pager -n 40 >&2; fail "they do not start"; }
until_so "the collector does not serve" ask /readyz
watches() { within journalctl --quiet --no-pager --unit=wireproof-agent | grep -q watching; }
until_so "the agent does not watch" watches

status=$(within cat "/proc/$(shown wireproof-agent MainPID)/status")
for line in 'CapEff:	0000000000000000' 'CapPrm:	0000000000000000' 'Seccomp:	2' 'NoNewPrivs:	1'; do
    grep -qx "$line" <<<"$status" || fail "the agent is not confined: no '$line'"
done
! grep -qP '^Uid:\t0\t' <<<"$status" || fail "the agent's account is root's"

# By itself: what was asked of the collector is in its file once it has ended.
ask /readyz >/dev/null
control stop wireproof-agent
[ "$(shown wireproof-agent Result)" = success ] || fail "the agent ended with $(shown wireproof-agent Result)"
within grep -q '"port":8480' /var/lib/wireproof-agent/flows.ndjson || fail "the agent kept no flow"

# With the drop-in, to the collector: it takes deliveries by the token that both were given.
within mkdir -p /etc/systemd/system/wireproof-agent.service.d
sed 's|https://wireproof.example:8480|http://127.0.0.1:8480|' ../systemd/wireproof-agent.service.d/collector.conf |
    within sh -c 'cat >/etc/systemd/system/wireproof-agent.service.d/collector.conf'
control daemon-reload
control start wireproof-agent
delivered() { ask /api/v1/coverage | grep -q '"connections":[1-9]'; }
until_so "nothing is delivered" delivered

# Killed, both come back.
for unit in wireproof wireproof-agent; do
    before=$(shown "$unit" MainPID)
    control kill --signal=KILL "$unit"
    back() { [ "$(shown "$unit" MainPID)" != "$before" ] && control is-active "$unit"; }
    until_so "$unit does not come back" back
done
until_so "the collector does not serve again" ask /readyz
until_so "what was kept is gone" delivered
control stop wireproof-agent wireproof
for unit in wireproof wireproof-agent; do
    [ "$(shown "$unit" Result)" = success ] || fail "$unit ended with $(shown "$unit" Result)"
done
echo "units: started by systemd $(within systemctl --version | sed -n '1s/systemd \([^ ]*\).*/\1/p'), delivered, killed, and stopped"
