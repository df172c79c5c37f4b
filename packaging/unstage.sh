#!/bin/sh
# Remove what stage.sh has laid out: unstage.sh DESTDIR PREFIX
#
# In a live system, the service is stopped first. What is served, the configuration, digests and logs
# stay: /srv/tcpdl, /etc/tcpdl, /var/lib/tcpdl*, /var/log/tcpdl*; and so does the user tcpdl.
set -eu
cd "$(dirname "$0")/.."
dest=$1 prefix=$2

if [ -z "$dest" ]; then
    instances=$(systemctl list-units --all --plain --no-legend 'tcpdl@*.service' | cut -d ' ' -f 1)
    # shellcheck disable=SC2086 # several units
    systemctl disable --now tcpdl.socket tcpdl-tls.socket tcpdl-echo.socket tcpdl.service \
        $instances 2>/dev/null || true
fi
for unit in etc/systemd/*; do
    rm -f "$dest$prefix/lib/systemd/system/${unit##*/}"
done
rm -f "$dest$prefix/lib/sysusers.d/tcpdl.conf" "$dest$prefix/lib/tmpfiles.d/tcpdl.conf" \
    "$dest$prefix"/share/man/man*/tcpdl.* "$dest$prefix"/share/man/man*/tcpdld.* \
    "$dest$prefix/share/bash-completion/completions/tcpdl" \
    "$dest$prefix/share/zsh/vendor-completions/_tcpdl" \
    "$dest$prefix/share/fish/vendor_completions.d/tcpdl.fish" \
    "$dest$prefix/bin/tcpdl" "$dest/etc/logrotate.d/tcpdl"
rm -rf "$dest/opt/tcpdl"
[ -n "$dest" ] || systemctl daemon-reload
