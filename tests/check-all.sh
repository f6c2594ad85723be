#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is too long for every push: TSan, both compilers with warnings as errors, the tarball,
# a fresh machine, and the guests.  Runs in the build directory; make check-all calls it.
set -u
: "${top_srcdir:?}"
work=${1:-check-all}
mkdir -p "$work"
work=$(cd "$work" && pwd)
failed=''

step() { # NAME COMMAND...
	local name=$1 status
	shift
	echo "== $name"
	"$@" >"$work/$name.log" 2>&1
	status=$?
	case $status in
	0) echo "   passed" ;;
	77) echo "   skipped: $(tail -n 1 "$work/$name.log")" ;;
	*)
		echo "   FAILED ($status), $work/$name.log ends:"
		tail -n 40 "$work/$name.log"
		failed="$failed $name"
		;;
	esac
}

build() ( # NAME CONFIGURE-ARGUMENT...; in a shell of its own, which may change directory
	dir=$work/$1
	shift
	mkdir -p "$dir" && cd "$dir" && "$top_srcdir/configure" -q "$@" && make -s -j"$(nproc)" check
)

with_clang() {
	command -v clang >/dev/null || { echo "no clang here"; return 77; }
	build clang CC=clang --enable-werror
}

step gcc build gcc CC=gcc --enable-werror
step clang with_clang
step tsan build tsan --enable-sanitizers=thread CFLAGS='-O1 -g'
step asan build asan --enable-sanitizers=address,undefined CFLAGS='-O1 -g'
step distcheck make -s distcheck
step differential make -s check-differential
step fresh "$top_srcdir/tests/fresh/check-fresh.sh"
step vsock make -s check-vsock
step nitro make -s check-nitro
[ -z "$failed" ] || { echo "check-all: failed:$failed"; exit 1; }
echo "check-all: all passed"
