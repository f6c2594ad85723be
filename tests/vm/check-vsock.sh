#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check-vsock.sh vsock|nitro: boots the guests and runs the tests in them.  TAP on stdout.
# Wants TEEPROXY, top_srcdir and top_builddir, as tests in make check do.
here=$(cd "$(dirname "$0")" && pwd)
skip() { echo "1..0 # SKIP $*"; exit 0; }

: "${TEEPROXY:?}" "${top_srcdir:?}" "${top_builddir:?}"
for program in qemu-system-x86_64 busybox cpio lz4 xz zstd setpriv apt-get; do
	command -v "$program" >/dev/null || skip "no $program here, so no guest to run in"
done
export PYTHONDONTWRITEBYTECODE=1
run=("$here/run.sh" --host-root --timeout 600 --memory 1536)
guest="env TEEPROXY='$TEEPROXY' top_srcdir='$top_srcdir' top_builddir='$top_builddir' PYTHONDONTWRITEBYTECODE=1"
# Where the guest's kernel cannot be fetched there is nothing to say about teeproxy.
"$here/run.sh" "$here/guest" -c true || skip "a guest cannot be made here: see above"
case $1 in
vsock)
	"${run[@]}" "$here" -c "$guest /usr/bin/python3 ./vsock-in-guest.py"
	;;
nitro)
	status=0
	for way in drop/rst rst/silent; do
		unknown=${way%/*} death=${way#*/}
		echo "# unknown CIDs: $unknown, death of an enclave: $death"
		logs=$top_builddir/tests/vm/logs-$unknown-$death
		"${run[@]}" --logs "$logs" --topology C --unknown "$unknown" --death "$death" --enclave 16=nitro-enclave.py \
			--enclave 17=nitro-enclave.py --enclave-dir "$here" --enclave-host-root "$here" \
			-c "$guest UNKNOWN=$unknown DEATH=$death /usr/bin/python3 ./nitro-in-parent.py" || {
			status=$?
			tail -n 20 "$logs"/enclave-*.log | sed 's/^/# /'
		}
	done
	exit $status
	;;
esac
