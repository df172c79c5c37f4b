#!/bin/sh
# Lay out the service below DESTDIR: stage.sh DESTDIR PREFIX PYTHON
#
# An environment of its own in /opt/tcpdl, made with the interpreter PYTHON, and below PREFIX (/usr, or
# /usr/local) the command, the units, the manual and the completions. Nothing is started or enabled.
set -eu
# The service is another user than the one who installs it.
umask 022
# What somebody has set for an interpreter of theirs is not for this one: it might be compiled elsewhere.
for name in $(env | sed -n 's/^\(PYTHON[A-Z]*\)=.*/\1/p'); do unset "$name"; done
export PYTHONDONTWRITEBYTECODE=1 # it is compiled at the end, by what is in it and not by its times
cd "$(dirname "$0")/.."
dest=$1 prefix=$2 python=$3

home=/opt/tcpdl
env=$dest$home
lib=$prefix/lib
case $prefix in
/usr) fish=$prefix/share/fish/vendor_completions.d ;;
*) fish=/etc/fish/completions ;; # fish asks no other prefix
esac

say() { printf '%s\n' "$*" >&2; }

base=$("$python" -c 'import sys; sys.exit(sys.version_info < (3, 10)); ' && "$python" -c \
    'import os, sys; print(getattr(sys, "_base_executable", sys.executable))') || {
    say "$python is no Python 3.10 or later; choose another: PYTHON=/usr/bin/python3"
    exit 1
}
case $base in
/home/* | /root/*)
    say "$base is in a home, which the service does not see; choose another: PYTHON=/usr/bin/python3"
    exit 1
    ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Beside the old one, if there is one, whose processes load modules of theirs until they are replaced.
new=$env.new
rm -rf "$new"
mkdir -p "$(dirname "$new")"
"$base" -m venv --without-pip "$new"
if "$base" -m pip --version >/dev/null 2>&1; then
    pip="$base -m pip"
else
    "$base" -m venv "$work/pip" || {
        say "$base has neither pip nor ensurepip (Debian, Ubuntu: apt install python3-venv)"
        exit 1
    }
    pip="$work/pip/bin/python -m pip"
fi
# shellcheck disable=SC2086 # a command and its first arguments
$pip --python "$new/bin/python" install --disable-pip-version-check --no-compile -q .
# shellcheck disable=SC2086
$pip --python "$new/bin/python" freeze --disable-pip-version-check \
    | sed 's/^tcpdl @ .*//; /^$/d' >"$new/versions.txt"

# What names the place where it was made, which is not where it will be; and what nobody needs there:
# nothing runs the tests of what is installed, or takes single packages out again.
cd "$new/bin"
find . -type f ! -name tcpdl ! -name twist ! -name twistd -delete
sed -i "1s|^#!.*|#!$home/bin/python|" tcpdl twist twistd
cd - >/dev/null
sed -i '/^command = /d' "$new/pyvenv.cfg"
find "$new" \( -name direct_url.json -o -name RECORD \) -delete
rm -rf "$new/include"
find "$new/lib" -type d \( -name test -o -name tests -o -name _test -o -name newsfragments \) \
    -prune -exec rm -rf {} +

# Twisted notes its plugins beside them, which it cannot do later.
"$new/bin/python" -c 'from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))'
"$new/bin/python" -m tcpdl.manual "$work/manual"
PYTHONHASHSEED=0 "$new/bin/python" -m compileall -q -s "$new" -p "$home" \
    --invalidation-mode checked-hash "$new/lib"
find "$new/lib" -type f -exec chmod 644 {} +

rm -rf "$env.old"
if [ -e "$env" ]; then mv "$env" "$env.old"; fi
mv "$new" "$env"
rm -rf "$env.old"

put() { # put MODE FOLDER FILE...
    mode=$1 folder=$dest$2
    shift 2
    mkdir -p "$folder"
    for file; do install -m "$mode" "$file" "$folder/"; done
}

put 644 "$lib/systemd/system" etc/systemd/*.service etc/systemd/*.socket
put 644 "$lib/sysusers.d" etc/sysusers.d/*
put 644 "$lib/tmpfiles.d" etc/tmpfiles.d/*
put 644 "$prefix/share/man/man1" "$work"/manual/man/*.1
put 644 "$prefix/share/man/man5" "$work"/manual/man/*.5
put 644 "$prefix/share/man/man8" "$work"/manual/man/*.8
put 644 "$prefix/share/bash-completion/completions" "$work/manual/completions/bash/tcpdl"
put 644 "$prefix/share/zsh/site-functions" "$work/manual/completions/zsh/_tcpdl"
put 644 "$fish" "$work/manual/completions/fish/tcpdl.fish"
mkdir -p "$dest$prefix/bin"
ln -sf $home/bin/tcpdl "$dest$prefix/bin/tcpdl"
# What the administrator has changed stays.
mkdir -p "$dest/etc/tcpdl"
[ -e "$dest/etc/tcpdl/tcpdl.toml" ] || put 644 /etc/tcpdl etc/tcpdl.toml
[ -e "$dest/etc/logrotate.d/tcpdl" ] || put 644 /etc/logrotate.d etc/logrotate.d/tcpdl
