#!/bin/sh
# Make a Debian package of this checkout: deb.sh FOLDER PYTHON
#
# For the release and the architecture of this machine, whose interpreter PYTHON it is bound to. Times, and
# the version, are those of $SOURCE_DATE_EPOCH, or else of the last commit: the same commit and the same
# releases of what it depends on make the same bytes.
set -eu
umask 022
export LC_ALL=C
cd "$(dirname "$0")/.."
out=$1 python=$2

for program in dpkg-deb dpkg md5sum; do
    command -v "$program" >/dev/null || {
        echo "there is no $program, by which packages for Debian are made" >&2
        exit 1
    }
done
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct || date +%s)}"
export SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root/DEBIAN"

packaging/stage.sh "$root" /usr "$python"
version=$("$root/opt/tcpdl/bin/python" -B -c 'import tcpdl; print(tcpdl.__version__)')
# What comes after the last release is later than it, in the order of commits.
version=$version+$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S)
of() { "$python" -c "import sys; print(*sys.version_info[:1], sys.version_info[1] + $1, sep='.')"; }

doc=$root/usr/share/doc/tcpdl
mkdir -p "$doc"
sed "s/^/ /; s/^ \$/ ./" LICENSE >"$work/licence"
sed -e "/@LICENSE@/{r $work/licence" -e 'd}' packaging/debian/copyright.in >"$doc/copyright"
cp README.md SECURITY.md PROTOCOL.md "$doc/"
mkdir -p "$root/usr/share/lintian/overrides"
cp packaging/debian/lintian-overrides "$root/usr/share/lintian/overrides/tcpdl"
mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"
{
    printf 'tcpdl (%s) unstable; urgency=medium\n\n  * See /usr/share/doc/tcpdl/CHANGELOG.md.gz.\n\n' \
        "$version"
    printf ' -- The tcpdl developers <tcpdl@localhost>  %s\n' \
        "$(date -R -u -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$doc/changelog.gz"
gzip -9nc CHANGELOG.md >"$doc/CHANGELOG.md.gz"
gzip -9n "$root"/usr/share/man/man*/*

# As dpkg's own tools reckon it: what files take depends on the file system.
size=$(find "$root" -printf '%y %s\n' \
    | awk '{ sum += $1 == "f" ? int(($2 + 1023) / 1024) : 1 } END { print sum }')
sed -e "s/@VERSION@/$version/; s/@ARCHITECTURE@/$(dpkg --print-architecture)/; s/@SIZE@/$size/" \
    -e "s/@PYTHON@/$(of 0)/; s/@PYTHON_NEXT@/$(of 1)/; s/@LIBRARIES@/, libc6 (>= 2.28)/" \
    packaging/debian/control.in >"$root/DEBIAN/control"
for script in postinst prerm postrm; do
    install -m 755 "packaging/debian/$script" "$root/DEBIAN/$script"
done
(cd "$root" && find etc -type f | sort | sed 's|^|/|') >"$root/DEBIAN/conffiles"
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -print | sort | sed 's|^\./||' \
    | xargs -d '\n' md5sum) >"$root/DEBIAN/md5sums"
find "$root" -exec touch --no-dereference -d "@$SOURCE_DATE_EPOCH" {} +
# Twisted's notes on its plugins hold for those that are older.
touch -d "@$((SOURCE_DATE_EPOCH - 1))" "$root"/opt/tcpdl/lib/python3*/site-packages/twisted/plugins/*.py

mkdir -p "$out"
dpkg-deb --root-owner-group -Zxz -z1 --build "$root" "$out/tcpdl_${version}_$(dpkg --print-architecture).deb"
