#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""WebSockets without pings, held open across 30 s of silence with the timeouts as they are by default:
through mode http, whose requests may be silent for no longer, through mode https, and through a reload.

Real frames of RFC 6455: a text message is echoed before the silence and after it."""
import base64
import os
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

SILENCE = 31


def frame(text, mask=b""):
	"""One text message; a client's is masked."""
	head = bytes([0x81, (0x80 if mask else 0) | len(text)])
	return head + mask + (bytes(c ^ mask[i % 4] for i, c in enumerate(text)) if mask else text)


def read_frame(f):
	head = f.read(2)
	if len(head) < 2:
		return None
	mask = f.read(4) if head[1] & 0x80 else bytes(4)
	return bytes(c ^ mask[i % 4] for i, c in enumerate(f.read(head[1] & 0x7f)))


def serve(s, peer):
	with s.makefile("rb") as f:
		start, headers = read_head(f)
		key = headers["sec-websocket-key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
		s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			  b"Sec-WebSocket-Accept: " + base64.b64encode(hashlib.sha1(key).digest()) + b"\r\n\r\n")
		while True:
			text = read_frame(f)
			if text is None:
				return
			s.sendall(frame(b"echo " + text))


plain = Server(serve, name="plain")
secure = Enclave("tee-k", names=["k.test"], handler=serve)
CONFIG = '''
	frontend http { listen 127.0.0.1:$HTTP; host k.test -> $PLAIN }
	frontend https { listen 127.0.0.1:$HTTPS; sni k.test -> $SECURE }
'''
proxy = Teeproxy(CONFIG, ports=["HTTP", "HTTPS"], env={"PLAIN": plain.address, "SECURE": secure.address})


class Client:
	def __init__(self, s):
		self.s, self.f = s, s.makefile("rb")
		s.settimeout(SILENCE + WAIT)
		s.sendall(b"GET /ws HTTP/1.1\r\nHost: k.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			  b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
		start, headers = read_head(self.f)
		equal((start.split()[1], headers["sec-websocket-accept"]), ("101", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
		self.says(b"hello")

	def says(self, text):
		self.s.sendall(frame(text, b"\x01\x02\x03\x04"))
		equal(read_frame(self.f), b"echo " + text)


@case
def a_websocket_lives_through_30_s_of_silence_in_each_mode():
	clients = [Client(connect_to(address_of(proxy.port("HTTP")))),
		   Client(tls_connect(proxy.port("HTTPS"), "k.test", trust=secure.crt))]
	# A request that pauses so long is ended: the silence was long enough to matter.
	with connect_to(address_of(proxy.port("HTTP"))) as idle:
		idle.settimeout(SILENCE + WAIT)
		idle.sendall(b"GET /x HTTP/1.1\r\nHost: other.test\r\n")
		time.sleep(SILENCE)
		equal(read_all(idle)[:12], b"HTTP/1.1 408")
	for each in clients:
		each.says(b"still here")
	# The engine that has them is told to drain, and waits for them.
	proxy.reload(CONFIG)
	for each in clients:
		each.says(b"after a reload")
		each.f.close()
		each.s.close()
	proxy.wait_log("frontend=http .*path=/ws status=101 .*reason=done")
	proxy.wait_log("frontend=https .*reason=done")


run()
