# SPDX-License-Identifier: Apache-2.0
# Bulk in each direction at the same time, with equal sha256 at both ends, over TCP and over
# Unix sockets: TEEPROXY_MIB mebibytes, 64 unless told.  ./bootstrap check does it with 1 GiB.
# And bulk that stops without an end, as a request on a kept connection does.
import os
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

MIB = int(os.environ.get("TEEPROXY_MIB", "64"))
block = os.urandom(1 << 20)


def send(s, ret):
	digest = hashlib.sha256()
	for number in range(MIB):
		# No two blocks alike: a lost or doubled one shows.
		piece = number.to_bytes(4, "big") + block[4:]
		digest.update(piece)
		s.sendall(piece)
	s.shutdown(socket.SHUT_WR)
	ret["sent"] = digest.hexdigest()


def receive(s, ret):
	digest, buffer = hashlib.sha256(), bytearray(1 << 18)
	while True:
		n = s.recv_into(buffer)
		if not n:
			break
		digest.update(memoryview(buffer)[:n])
	ret["came"] = digest.hexdigest()


def both(s):
	ret = {}
	s.settimeout(120)
	sender = threading.Thread(target=send, args=(s, ret), daemon=True)
	sender.start()
	receive(s, ret)
	sender.join()
	return ret


BURST = 8 << 20
ODD = (0, 1, 1000, 16384, 100001, 700001)


def listen_to_burst(s, size):
	"""Reads so many bytes and says their digest."""
	digest, buffer = hashlib.sha256(), bytearray(1 << 18)
	while size:
		n = s.recv_into(buffer, min(size, len(buffer)))
		if not n:
			return
		digest.update(memoryview(buffer)[:n])
		size -= n
	s.sendall(digest.digest())


def say_burst(s, size):
	"""Sends so many bytes, no end behind them, and waits for their digest."""
	digest, left = hashlib.sha256(), size
	while left:
		piece = left.to_bytes(4, "big") + block[4:]
		piece = piece[:min(left, len(piece))]
		digest.update(piece)
		s.sendall(piece)
		left -= len(piece)
	answer = s.recv(32, socket.MSG_WAITALL)
	equal(answer, digest.digest(), "a burst of %d bytes" % size)


def partner(s, peer):
	"""Does what it is told to: hears or says a burst."""
	s.settimeout(WAIT)
	while True:
		order = s.recv(9, socket.MSG_WAITALL)
		if len(order) < 9:
			return
		{b"h": listen_to_burst, b"s": say_burst}[order[:1]](s, int.from_bytes(order[1:], "big"))


far = []
over_unix = Server(lambda s, peer: far.append(both(s)), name="far")
over_tcp = Server(lambda s, peer: far.append(both(s)), "tcp:127.0.0.1:0")
proxy = Teeproxy("""
	frontend unix mode tcp { listen 127.0.0.1:$U; default -> $FAR_UNIX }
	frontend tcp mode tcp { listen 127.0.0.1:$T; default -> $FAR_TCP }
	frontend bursts mode tcp { listen 127.0.0.1:$B; default -> $PARTNER }
""", ports=["U", "T", "B"], env={"FAR_UNIX": over_unix.address, "FAR_TCP": over_tcp.address,
                                 "PARTNER": Server(partner, "tcp:127.0.0.1:0").address})


def across(port):
	with connect_to(address_of(proxy.port(port))) as s:
		near = both(s)
	until(lambda: far, "the far end has seen it all")
	other = far.pop()
	equal(near["came"], other["sent"], "from the far end")
	equal(other["came"], near["sent"], "to the far end")


@case
def every_byte_arrives_each_way_between_tcp_and_unix():
	across("U")


@case
def every_byte_arrives_each_way_between_tcp_and_tcp():
	across("T")


@case
def bulk_that_stops_without_an_end_arrives_to_its_last_byte():
	with connect_to(address_of(proxy.port("B"))) as s:
		s.settimeout(WAIT)
		for odd in ODD * 2:
			size = BURST + odd
			s.sendall(b"h" + size.to_bytes(8, "big"))
			say_burst(s, size)
			s.sendall(b"s" + size.to_bytes(8, "big"))
			listen_to_burst(s, size)


@case
def so_it_does_while_the_other_direction_is_bulk_too():
	with connect_to(address_of(proxy.port("T"))) as s:
		ret, size = {}, BURST + 1000
		far.clear()
		s.settimeout(WAIT)
		reader = threading.Thread(target=receive, args=(s, ret), daemon=True)
		reader.start()
		for number in range(2 * size >> 20):
			s.sendall(number.to_bytes(4, "big") + block[4:])
		reader.join()	# the far end has ended, and this one has not
		s.shutdown(socket.SHUT_WR)
		until(lambda: far, "the far end has seen it all")
		equal(ret["came"], far.pop()["sent"], "from the far end")


run()
