#!/bin/sh
# Remove what stage.sh has laid out: unstage.sh DESTDIR PREFIX
#
# In a live system, the service is stopped first. What is served, the configuration, digests and logs
# stay: /srv/tcpdl, /etc/tcpdl, /var/lib/tcpdl*, /var/log/tcpdl*; and so does the user tcpdl.
set -eu
cd "$(dirname "$0")/.."
dest=$1 prefix=$2

if [ -z "$dest" ]; then
    for unit in tcpdl.socket tcpdl-tls.socket tcpdl-echo.socket tcpdl.service $(systemctl \
        list-units --all --plain --no-legend 'tcpdl@*.service' | cut -d ' ' -f 1); do
        ! systemctl cat "$unit" >/dev/null 2>&1 || systemctl disable --quiet --now "$unit"
    done
fi
for unit in etc/systemd/*; do
    rm -f "$dest$prefix/lib/systemd/system/${unit##*/}"
done
rm -f "$dest$prefix/lib/sysusers.d/tcpdl.conf" "$dest$prefix/lib/tmpfiles.d/tcpdl.conf" \
    "$dest$prefix"/share/man/man*/tcpdl.* "$dest$prefix"/share/man/man*/tcpdld.* \
    "$dest$prefix/share/bash-completion/completions/tcpdl" \
    "$dest$prefix/share/zsh/site-functions/_tcpdl" \
    "$dest$prefix/share/fish/vendor_completions.d/tcpdl.fish" \
    "$dest/etc/fish/completions/tcpdl.fish" \
    "$dest$prefix/bin/tcpdl" "$dest/etc/logrotate.d/tcpdl"
rm -rf "$dest/opt/tcpdl"
[ -n "$dest" ] || systemctl daemon-reload
