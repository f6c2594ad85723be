# SPDX-License-Identifier: Apache-2.0
"""A name server on loopback, UDP and TCP on one port that the kernel picks, from a dict:

	dns = DnsServer({
		"plain.test": ["192.0.2.1", "2001:db8::1 ttl 5"],	# A and AAAA; the TTL is 60 if not said
		"chain.test": ["cname plain.test ttl 1"],		# the whole chain is in the answer
		"none.test": "nxdomain",			# or servfail, refused, nodata, silent
		"half.test": ["192.0.2.1", "AAAA silent"],	# one family behaves otherwise
		"big.test": ["truncate", "192.0.2.1"],		# cut short over UDP, whole over TCP
		"rebind.test": turns(["203.0.113.1 ttl 0"], ["127.0.0.1 ttl 0"]),
		"*.never.test": "silent",			# all names below
	})

and in a configuration `resolver { server $DNS }` with env={"DNS": dns.address}.  turns() gives the
first query of a type the first answer, and so on; the last one stays.  A name that is not there is
NXDOMAIN.  dns.zone may be changed at any time; dns.behaviour = "silent" (or servfail, ...) is for all names
at once, None ends it.  dns.count("plain.test") says how often it was asked, over both types and both
transports; dns.count(name, "A", "tcp") of which.  Answers that do not fit what the client says it
takes (EDNS) are cut short, as any server does.
"""
import contextlib
import ipaddress
import socket
import struct
import threading

A, CNAME, AAAA, OPT = 1, 5, 28, 41
SO_RCVBUFFORCE = 33
TYPES = {A: "A", AAAA: "AAAA"}
RCODES = {"nodata": 0, "servfail": 2, "nxdomain": 3, "refused": 5}


class turns:
	def __init__(self, *answers):
		self.answers = answers


def _encode(name):
	return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def _record(owner, kind, ttl, data):
	return _encode(owner) + struct.pack("!HHIH", kind, 1, ttl & 0xffffffff, len(data)) + data


class _Question:
	def __init__(self, message):
		self.id, at, labels = message[:2], 12, []
		while message[at]:
			labels.append(message[at + 1:at + 1 + message[at]].decode("latin-1"))
			at += 1 + message[at]
		self.name = ".".join(labels).lower()
		self.kind, = struct.unpack_from("!H", message, at + 1)
		self.section = message[12:at + 5]
		self.room = 512
		# The additional record that c-ares and others send: root, OPT, and the size as its class.
		if message[at + 5:at + 6] == b"\0" and struct.unpack_from("!H", message, at + 6)[0] == OPT:
			self.room = max(512, struct.unpack_from("!H", message, at + 8)[0])


class DnsServer:
	def __init__(self, zone, host="127.0.0.1", port=0):
		self.zone, self.behaviour = zone, None
		self._asked, self._lock = {}, threading.Lock()
		family = socket.AF_INET6 if ":" in host else socket.AF_INET
		for _ in range(100):	# until one port is free for both
			self._tcp = socket.create_server((host, port), family=family, backlog=128)
			self._udp = socket.socket(family, socket.SOCK_DGRAM)
			self.port = self._tcp.getsockname()[1]
			try:
				self._udp.bind((host, self.port))
				break
			except OSError:
				self._tcp.close()
				self._udp.close()
		# What thousands ask at once must fit: a query that is dropped looks like a resolver that sent none.
		self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
		with contextlib.suppress(OSError):	# past net.core.rmem_max, for root
			self._udp.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
		self.address = ("[%s]:%d" if ":" in host else "%s:%d") % (host, self.port)
		for serve in (self._serve_udp, self._serve_tcp):
			threading.Thread(target=serve, daemon=True).start()

	def count(self, name, kind=None, transport=None):
		with self._lock:
			return sum(n for (asked, k, t), n in self._asked.items()
				   if asked == name and kind in (None, k) and transport in (None, t))

	def close(self):
		"""Nobody listens on the port from here on."""
		for s in (self._udp, self._tcp):
			try:
				s.shutdown(socket.SHUT_RDWR)	# wakes the thread
			except OSError:
				pass
			s.close()

	# -------------------------------------------------------------- what a name says

	def _entry(self, name):
		if name in self.zone:
			return self.zone[name]
		while "." in name:
			name = name.split(".", 1)[1]
			if "*." + name in self.zone:
				return self.zone["*." + name]
		return "nxdomain"

	def _answer(self, name, kind, nth):
		"""rcode (None: silence), records as bytes, cut short over UDP?"""
		if self.behaviour:
			return RCODES.get(self.behaviour), [], False
		records, cut = [], False
		for _ in range(20):	# of a chain
			entry, target = self._entry(name), None
			if isinstance(entry, turns):
				entry = entry.answers[min(nth, len(entry.answers) - 1)]
			for line in [entry] if isinstance(entry, str) else entry:
				words = line.split()
				if words[0] in ("A", "AAAA"):	# a behaviour of one type
					if words[0] != TYPES.get(kind):
						continue
					words = words[1:]
				ttl = int(words[words.index("ttl") + 1]) if "ttl" in words else 60
				if words[0] == "silent":
					return None, [], False
				if words[0] in RCODES:
					return RCODES[words[0]], records, cut
				if words[0] == "truncate":
					cut = True
				elif words[0] == "cname":
					target = words[1]
					records.append(_record(name, CNAME, ttl, _encode(target)))
				else:
					ip = ipaddress.ip_address(words[0])
					if kind == (A if ip.version == 4 else AAAA):
						records.append(_record(name, kind, ttl, ip.packed))
			if not target:
				break
			name = target
		return 0, records, cut

	def _respond(self, message, transport):
		q = _Question(message)
		key = (q.name, TYPES.get(q.kind, str(q.kind)), transport)
		with self._lock:
			# A second try over TCP is the same query.
			nth = self._asked.get(key, 0)
			self._asked[key] = nth + 1
		rcode, records, cut = self._answer(q.name, q.kind, nth)
		if rcode is None:
			return None
		body = b"".join(records)
		cut = transport == "udp" and (cut or 12 + len(q.section) + len(body) > q.room)
		head = q.id + struct.pack("!HHHHH", 0x8180 | rcode | (0x200 if cut else 0), 1,
					  0 if cut else len(records), 0, 0)
		return head + q.section + (b"" if cut else body)

	# -------------------------------------------------------------- transports

	def _serve_udp(self):
		while True:
			try:
				message, peer = self._udp.recvfrom(4096)
			except OSError:
				return
			if not message:
				return
			answer = self._respond(message, "udp")
			if answer:
				self._udp.sendto(answer, peer)

	def _serve_tcp(self):
		while True:
			try:
				s, _ = self._tcp.accept()
			except OSError:
				return
			threading.Thread(target=self._serve_connection, args=(s,), daemon=True).start()

	def _serve_connection(self, s):
		with s, s.makefile("rb") as f:
			try:
				while True:
					size = f.read(2)
					if len(size) < 2:
						return
					answer = self._respond(f.read(struct.unpack("!H", size)[0]), "tcp")
					if answer:
						s.sendall(struct.pack("!H", len(answer)) + answer)
			except OSError:
				return
