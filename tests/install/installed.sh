#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# make install DESTDIR= puts each thing where a distribution expects it, what it installs is
# good, an edited configuration outlives another install and an uninstall.
set -u
unset MAKEFLAGS MFLAGS MAKELEVEL
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$top_builddir" || exit 99
dest=$work/dest
make_() { # TARGET: as packagers do it
	make -s "$1" DESTDIR="$dest" >"$work/$1.log" 2>&1
}
of() { # DIRECTORY-VARIABLE: as this build was configured
	printf 'include Makefile\nprint:; @echo "$(%s)"\n' "$1" | make -s --no-print-directory -f - print | tail -n 1
}
prefix=$(of prefix) sbin=$(of sbindir) etc=$(of sysconfdir) doc=$(of docdir) man=$(of mandir) unit=$(of systemdsystemunitdir)
n=0
result() { # STATUS SENTENCE [FILE-TO-SHOW]
	n=$((n + 1))
	if [ "$1" = 0 ]; then echo "ok $n - $2"; else
		echo "not ok $n - $2"
		[ $# -lt 3 ] || sed 's/^/# /' "$3"
	fi
}
echo 1..9

make_ install
result $? "make install DESTDIR= succeeds" "$work/install.log"
(cd "$dest" && find . -type f | LC_ALL=C sort) >"$work/files"
{
	echo ".$etc/teeproxy/teeproxy.conf"
	echo ".$prefix/lib/sysusers.d/teeproxy.conf"
	echo ".$unit/teeproxy.service"
	echo ".$sbin/teeproxy"
	for f in "$top_srcdir"/conf/*.conf; do
		[ "${f##*/}" = teeproxy.conf ] || echo ".$doc/examples/${f##*/}"
	done
	for f in "$top_srcdir"/man/*.[0-9]; do
		echo ".$man/man${f##*.}/${f##*/}"
	done
} | LC_ALL=C sort >"$work/expected"
diff -u "$work/expected" "$work/files" >"$work/diff"
result $? "each file is where it is expected, and no other is" "$work/diff"
[ -x "$dest$sbin/teeproxy" ] && "$dest$sbin/teeproxy" --version >"$work/version" 2>&1 && grep -q '^teeproxy [0-9]' "$work/version"
result $? "the installed program runs" "$work/version"
"$dest$sbin/teeproxy" --check=strict -f "$dest$etc/teeproxy/teeproxy.conf" >"$work/check" 2>&1
result $? "the installed configuration checks without a warning" "$work/check"
unit=$dest$unit/teeproxy.service
grep -qx "ExecStart=$sbin/teeproxy -f $etc/teeproxy/teeproxy.conf" "$unit" && ! grep -q '@[a-z]*@' "$unit"
result $? "the unit starts the installed program with the installed configuration" "$unit"
user=$(sed -n 's/^[[:space:]]*user[[:space:]]*\([a-z]*\)$/\1/p' "$dest$etc/teeproxy/teeproxy.conf")
[ -n "$user" ] && grep -q "^u $user " "$dest$prefix/lib/sysusers.d/teeproxy.conf"
result $? "the user of the configuration is one that sysusers.d makes" "$dest$prefix/lib/sysusers.d/teeproxy.conf"
echo "# mine" >>"$dest$etc/teeproxy/teeproxy.conf"
make_ install && tail -n 1 "$dest$etc/teeproxy/teeproxy.conf" | grep -qx '# mine'
result $? "an edited configuration is not overwritten" "$work/install.log"
make_ uninstall && [ "$(cd "$dest" && find . -type f)" = ".$etc/teeproxy/teeproxy.conf" ]
result $? "uninstall leaves only the edited configuration" "$work/uninstall.log"
rm "$dest$etc/teeproxy/teeproxy.conf"
make_ install && make_ uninstall && [ -z "$(find "$dest" -type f)" ]
result $? "and removes one that nobody edited" "$work/uninstall.log"
