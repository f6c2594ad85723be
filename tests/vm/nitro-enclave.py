#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# What runs in an enclave guest: HTTPS on 8443, HTTP on 8080, echo on 7, and a shell for the test on 9000:
# one JSON array a line, ["egress", HOST, PORT] or ["kms", REQUEST], done from in here, as only
# an enclave's own kernel can give a connection its CID.
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e/lib"))
os.environ.setdefault("top_srcdir", "/")
from teeproxy_test import *

cid = os.environ["TEELAB_CID"]
name = {"16": "tee-k", "17": "tee-t"}[cid]
parent = os.environ.get("TEELAB_PARENT_CID", "3")


def egress(host, port):
	"""TLS through the egress frontend by its oldest protocol, a line; what answers."""
	context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
	context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
	with connect_to("vsock:%s:8444" % parent) as raw:
		raw.sendall(("%s:%d\n" % (host, port)).encode())
		with context.wrap_socket(raw, server_hostname=host) as s:
			return request(s, host).body


def kms(asked):
	with connect_to("vsock:%s:5000" % parent) as s:
		s.sendall(json.dumps(asked).encode() + b"\n")
		text = b""
		while True:
			text += s.recv(65536) or b"\0"
			with contextlib.suppress(ValueError):
				return json.loads(text)
			true(not text.endswith(b"\0"), "the proxy closed after %r" % text)


def commands(s, peer):
	for line in s.makefile("rb"):
		try:
			verb, *words = json.loads(line)
			answer = {"ok": {"egress": egress, "kms": kms}[verb](*words)}
		except Exception as why:
			answer = {"error": "%s: %s" % (type(why).__name__, why)}
		s.sendall(json.dumps(answer).encode() + b"\n")


enclave = Enclave(name, [name + ".nitro.test"], "vsock:*:8443")
plain = Server(http_handler(name), "vsock:*:8080")
echo = Server(echo_handler, "vsock:*:7")
shell = Server(commands, "vsock:*:9000")
print("enclave %s serves" % name, flush=True)
while True:
	signal.pause()
