# SPDX-License-Identifier: Apache-2.0
"""Asking mode egress in its three protocols.  `where` is a port or an address in the proxy's language."""
import ipaddress
import socket
import struct

from teeproxy_test import address_of, connect_to, read_all, read_head, true

# RFC 1928, 6
GENERAL, NOT_ALLOWED, NETWORK, HOST, REFUSED, TTL, COMMAND, ADDRESS_TYPE = range(1, 9)


def line(where, target, payload=b""):
	"""The connection, after `target LF payload` in one write."""
	s = connect_to(address_of(where))
	s.sendall(target.encode() + b"\n" + payload)
	return s


def read_exactly(s, n):
	data = b""
	while len(data) < n:
		piece = s.recv(n - len(data))
		true(piece, "the connection ended after %r of %d bytes" % (data, n))
		data += piece
	return data


def connect_head(target, more=""):
	return ("CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (target, target, more)).encode()


def read_answer_head(s):
	"""Status line and fields, byte by byte so that nothing of the tunnel is taken."""
	data = b""
	while not data.endswith(b"\r\n\r\n"):
		data += read_exactly(s, 1)
	lines = data.decode("latin-1").split("\r\n")
	return int(lines[0].split()[1]), {k.lower(): v.strip() for k, v in (l.split(":", 1) for l in lines[1:] if l)}


def http_connect(where, target, payload=b"", more=""):
	"""Status, fields and the connection after CONNECT."""
	s = connect_to(address_of(where))
	s.sendall(connect_head(target, more) + payload)
	status, fields = read_answer_head(s)
	return status, fields, s


def socks_request(host, port, command=1):
	try:
		address = ipaddress.ip_address(host)
		kind = b"\x01" if address.version == 4 else b"\x04"
		where = address.packed
	except ValueError:
		kind, where = b"\x03", bytes([len(host)]) + host.encode()
	return b"\x05" + bytes([command]) + b"\x00" + kind + where + struct.pack(">H", port)


def read_socks_reply(s):
	reply = read_exactly(s, 4)
	true(reply[0] == 5 and reply[3] in (1, 4), "a SOCKS5 reply, got %r" % reply)
	read_exactly(s, (4 if reply[3] == 1 else 16) + 2)
	return reply[1]


def socks(where, host, port, payload=b""):
	"""Reply code and the connection; greeting, request and payload go in one write."""
	s = connect_to(address_of(where))
	s.sendall(b"\x05\x01\x00" + socks_request(host, port) + payload)
	true(read_exactly(s, 2) == b"\x05\x00", "SOCKS5 without authentication")
	return read_socks_reply(s), s


def outcome(where, host, port):
	"""What each protocol says to one target: bytes of the line, HTTP status, SOCKS reply code, reason."""
	target = "[%s]:%d" % (host, port) if ":" in host else "%s:%d" % (host, port)
	with line(where, target) as s:
		s.shutdown(socket.SHUT_WR)
		bytes_of_line = read_all(s)
	status, fields, s = http_connect(where, target)
	s.close()
	code, s = socks(where, host, port)
	s.close()
	return bytes_of_line, status, code, fields.get("x-teeproxy-reason", "")
