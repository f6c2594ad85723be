#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Proves that ./bootstrap needs nothing but Debian 12's base: in a minimal chroot of it, made
# anew, runs check, demo, and build once more, which must find nothing to install.
#
#   tests/fresh/check-fresh.sh [COMMAND-IN-THE-TREE]
#
# Wants root and debootstrap.  The unpacked base is kept in $TEEPROXY_FRESH (default
# /var/tmp/teeproxy-fresh) for the next time.  All mounts and processes are in name spaces of
# their own, so that nothing is left behind however this ends.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
cache=${TEEPROXY_FRESH:-/var/tmp/teeproxy-fresh}
mirror=${TEEPROXY_MIRROR:-http://deb.debian.org/debian}

[ "$(id -u)" = 0 ] || { echo "check-fresh: wants root" >&2; exit 77; }
command -v debootstrap >/dev/null || { echo "check-fresh: wants debootstrap" >&2; exit 77; }
if [ "${1:-}" != --inside ]; then
	exec unshare --mount --pid --fork --kill-child -- "$0" --inside "$@"
fi
shift

mkdir -p "$cache"
if [ ! -e "$cache/base/.complete" ]; then
	rm -rf "$cache/base"
	debootstrap --variant=minbase bookworm "$cache/base" "$mirror"
	rm -rf "$cache/base/var/cache/apt/archives"/*.deb
	touch "$cache/base/.complete"
fi
root=$(mktemp -d "$cache/run.XXXXXX")
trap 'umount -R "$root" 2>/dev/null || :; rm -rf --one-file-system "$root"' EXIT
# A mount of its own, as the root of a machine is: unshare(1) asks for one.
mount --bind "$root" "$root"
cp -a --reflink=auto "$cache/base/." "$root/"
mount -t proc proc "$root/proc"

# The network as this machine's apt has it.
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
apt-config dump 2>/dev/null | grep -iE '^Acquire::(https?|ftp)::Proxy' >"$root/etc/apt/apt.conf.d/90host" || :

# The tree as it is, without what was built in it.
mkdir "$root/src"
if git -C "$top" rev-parse --git-dir >/dev/null 2>&1; then
	(cd "$top" && git ls-files -z --cached --others --exclude-standard |
		while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done |
		tar --null -T - -cf -) | tar -xf - -C "$root/src"
else
	tar -C "$top" --exclude './build*' --exclude './.git' -cf - . | tar -xf - -C "$root/src"
fi
inside() {
	chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@" </dev/null
}
if [ $# -gt 0 ]; then
	inside sh -c "cd /src && $*"
	exit
fi
inside /src/bootstrap check
inside /src/bootstrap demo
inside /src/bootstrap build | tee "$root/again"
if grep -q '^bootstrap: installing' "$root/again"; then
	echo "check-fresh: the second run installs again" >&2
	exit 1
fi
echo "check-fresh: check, demo and build are good on nothing but Debian 12's base"
