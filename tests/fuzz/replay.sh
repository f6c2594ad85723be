#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Replays every corpus and regression input through its fuzz target, as TAP.
set -u
here=$top_srcdir/tests/fuzz
n=0
set -- "$here"/corpus/*
echo "1..$#"
for folder do
	t=${folder##*/}
	n=$((n + 1))
	replay=$top_builddir/tests/fuzz/replay_$t
	if [ ! -x "$replay" ]; then
		echo "not ok $n - $t: $replay is not built"
	# shellcheck disable=SC2046 # folders without blanks
	elif out=$("$replay" $("$here/seeds.sh" "$t") 2>&1) &&
	     ! echo "$out" | grep -q "corpus/$t: 0 inputs"; then
		echo "ok $n - $t: $(echo "$out" | sed -n 's/.*: \([0-9]* inputs\).*/\1/p' | tr '\n' ' ')"
	else
		echo "$out" | sed 's/^/# /'
		echo "not ok $n - $t"
	fi
done
