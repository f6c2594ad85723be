#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The demo of ./bootstrap demo, on ports of its own: every answer is the right one.
set -u
# Held all at once, so that no two are the same.
set -- $(/usr/bin/python3 -c 'import socket
held = [socket.socket() for _ in range(3)]
for s in held: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))')
DEMO_HTTPS_PORT=$1 DEMO_HTTP_PORT=$2 DEMO_TCP_PORT=$3
export DEMO_HTTPS_PORT DEMO_HTTP_PORT DEMO_TCP_PORT
said=$(/usr/bin/python3 "$top_srcdir/tests/demo/demo.py" 2>&1)
status=$?
echo "1..1"
if [ $status = 0 ]; then
	echo "ok 1 - every answer of the demo is the right one"
else
	echo "not ok 1 - every answer of the demo is the right one"
	echo "$said" | sed 's/^/# /'
fi
