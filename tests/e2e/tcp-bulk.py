# SPDX-License-Identifier: Apache-2.0
# Bulk in each direction at the same time, with equal sha256 at both ends, over TCP and over
# Unix sockets: TEEPROXY_MIB mebibytes, 64 unless told.  ./bootstrap check does it with 1 GiB.
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


far = []
over_unix = Server(lambda s, peer: far.append(both(s)), name="far")
over_tcp = Server(lambda s, peer: far.append(both(s)), "tcp:127.0.0.1:0")
proxy = Teeproxy("""
	frontend unix mode tcp { listen 127.0.0.1:$U; default -> $FAR_UNIX }
	frontend tcp mode tcp { listen 127.0.0.1:$T; default -> $FAR_TCP }
""", ports=["U", "T"], env={"FAR_UNIX": over_unix.address, "FAR_TCP": over_tcp.address})


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


run()
