#!/bin/bash
# Boot a system of its own, and wait until it is switched off: boot.sh STATE CGROUP LOWER NSPAWN...
#
# STATE is a folder for it, CGROUP the name of a control group, LOWER the folders that its files are
# taken from, the first before the others. None of these is written to: what the system writes goes to
# memory and is gone afterwards. To be run in a mount namespace of its own, in which it hides the /run
# and the control groups of this system from systemd-nspawn.
set -eu
state=$1 group=/sys/fs/cgroup/$2 lower=$3
shift 3

umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755,size=1g tmpfs "$state"
mkdir "$state/up" "$state/work" "$state/root" "$group"
mount -t overlay -o "lowerdir=$lower,upperdir=$state/up,workdir=$state/work" overlay "$state/root"

sweep() { # ends what is left in the group, and nothing else
    echo 1 >"$group/cgroup.kill" 2>/dev/null || true
    for _ in $(seq 50); do
        find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
        [ -e "$group" ] || return 0
        sleep 0.1
    done
}
# An orderly end first; after it, the hard way.
trap 'kill -TERM $nspawn 2>/dev/null; (sleep 15; echo 1 >"$group/cgroup.kill") 2>/dev/null &' TERM
trap sweep EXIT

# No machined, no scope, no pseudo-terminal. systemd-nspawn would refuse what units limit addresses
# with, and what the daemon restricts itself with.
allowed='bpf landlock_create_ruleset landlock_add_rule landlock_restrict_self'
(
    echo "$BASHPID" >"$group/cgroup.procs"
    exec setpriv --pdeathsig TERM "$@" --quiet --boot --directory="$state/root" \
        --machine="${group##*/}" --register=no --keep-unit --private-network --link-journal=no \
        --system-call-filter="$allowed" --resolv-conf=off --timezone=off --console=pipe </dev/null
) &
nspawn=$!
echo "nspawn $nspawn"
while kill -0 $nspawn 2>/dev/null; do wait $nspawn || true; done
