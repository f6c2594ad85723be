# SPDX-License-Identifier: Apache-2.0
# teeproxy over a real AF_VSOCK, in one guest: every address is CID 1.  make check-vsock
# boots the guest and runs this in it.  FACTS.md numbers are those of tests/vm/FACTS.md.
import os
import sys

if os.environ.get("TEELAB_TOPOLOGY") != "A":
	print("1..0 # SKIP only in a guest: make check-vsock")
	sys.exit(0)
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *
from egress_clients import *
import select

try: # the stand-in for AWS wants botocore, and ends who imports it without
	import botocore
	from kms_test import *
except ImportError:
	botocore = None

CONF = """
enclave tee-k cid 1

frontend https {
	listen vsock:*:443
	listen 127.0.0.1:$WEB
	sni k.test -> vsock:tee-k:8443
	sni absent.test -> vsock:77:8443
	sni nobody.test -> vsock:1:9
}
frontend echo mode tcp {
	listen vsock:*:7000
	listen 127.0.0.1:$ECHO
	default -> vsock:1:7
}
frontend many mode tcp {
	listen 127.0.0.1:$MANY
	default -> vsock:1:8
}
frontend dying mode tcp {
	listen 127.0.0.1:$DYING
	default -> vsock:1:10
}
frontend backlog mode tcp {
	listen 127.0.0.1:$BACKLOG
	default -> vsock:1:11
}
frontend known mode tcp {
	listen vsock:*:7001
	from tee-k -> vsock:1:7
	default -> reject
}
frontend unknown mode tcp {
	listen vsock:*:7002
	from cid:99 -> vsock:1:7
	default -> reject
}
"""

HTTP = """
enclave tee-k cid 1

frontend http {
	listen vsock:*:80
	listen 127.0.0.1:$PLAIN
	host k.test -> vsock:tee-k:8080
	host absent.test -> vsock:77:8080
	host nobody.test -> vsock:1:9
}
"""

EGRESS = """
enclave tee-k cid 1

frontend egress {
	from tee-k to k.test:443 -> vsock:tee-k:8443
	from tee-k to echo.test:7 -> vsock:tee-k:7
	from tee-k to 127.0.0.1:$OUTSIDE -> direct
	from cid:99 to *:* -> direct
}
"""
KMS = """
enclave tee-k cid 1
aws {
	region eu-west-1
	credentials env
%s
}
frontend kms {
	from tee-k -> key $ARN_K
	from cid:99 -> key $ARN_T
}
frontend others mode kms {
	listen vsock:*:5001
	from cid:99 -> key $ARN_T
}
"""
MODULES = "/run/teelab/lib/"


def modules(verb, *names):
	"""insmod or rmmod, of busybox."""
	for name in names:
		done = subprocess.run(["busybox", verb, name], capture_output=True, text=True)
		true(done.returncode == 0, "%s %s: %s" % (verb, name, done.stderr))


# Before anything here opens a vsock: a machine without.
with open(MODULES + "modules.A") as f:
	vsock_modules = [m for m in f.read().split() if "vsock" in m and os.path.exists("/sys/module/" + m)]
modules("rmmod", *reversed(vsock_modules))
without = {"check": teeproxy("--check", "-f", os.path.join(os.environ["top_srcdir"], "conf/acme.conf")),
	   "run": Teeproxy("frontend t mode tcp { listen vsock:*:7; default -> vsock:16:7 }", ready=False)}
without["status"] = without["run"].wait_end()
modules("insmod", *("%smodules/%s.ko" % (MODULES, m) for m in vsock_modules))

tee_k = Enclave("tee-k", ["k.test"], "vsock:*:8443")
tee_k_http = Server(http_handler("tee-k"), "vsock:*:8080")
echo = Server(echo_handler, "vsock:*:7")
proxy = Teeproxy(CONF, ports=["WEB", "ECHO", "MANY", "DYING", "BACKLOG"])
outside = Server(echo_handler, "tcp:127.0.0.1:0")
OUTSIDE = outside.address.split(":", 1)[1]
http = Teeproxy(HTTP, ports=["PLAIN"])
egress = Teeproxy(EGRESS, env={"OUTSIDE": OUTSIDE.rsplit(":", 1)[1]})
EGRESS = "vsock:1:8444"


def ends_empty(s):
	"""The connection ends with no byte; however it does."""
	with contextlib.suppress(ConnectionResetError, BrokenPipeError):
		s.sendall(b"x")
	with contextlib.suppress(ConnectionResetError):
		equal(s.recv(10), b"")


@case
def a_machine_without_vsock_is_told_what_to_load():
	for said in (without["check"].stderr, without["run"].log()):
		true(re.search("warning.* no vsock.*vhost_vsock.*nitro_enclaves.*vsock_loopback", said), said)
	equal(without["check"].returncode, 0)
	true(without["status"] != 0 and re.search("cannot listen on vsock:.*no vsock: load vhost_vsock", without["run"].log()),
	     without["run"].log())


@case
def a_listener_on_a_cid_that_is_not_ours_is_told_what_to_write():
	other = Teeproxy("frontend t mode tcp { listen vsock:5:7777; default -> vsock:16:7 }", ready=False)
	true(other.wait_end() != 0, "it started")
	true("this machine has another CID; vsock:*:PORT" in other.log(), other.log())


@case
def https_from_tcp_to_vsock():
	equal(https_get(proxy.port("WEB"), "k.test", trust=tee_k.crt).body["enclave"], "tee-k")


@case
def https_from_vsock_to_vsock():
	equal(https_get("vsock:1:443", "k.test", trust=tee_k.crt).body["enclave"], "tee-k")


@case
def http_from_tcp_and_from_vsock_to_vsock():
	for where in (http.port("PLAIN"), "vsock:1:80"):
		with connect_to(address_of(where)) as s:
			for size in (0, 100000):
				got = request(s, "k.test", method="POST", body=b"b" * size).body
				equal((got["enclave"], got["body"]), ("tee-k", size))


@case
def a_peers_cid_reaches_the_rules():
	with connect_to("vsock:1:7001") as s:
		s.sendall(b"hello")
		equal(s.recv(10), b"hello")
	with connect_to("vsock:1:7002") as s:
		ends_empty(s)


@case
def a_peers_cid_reaches_the_log():
	true(re.search(r"vsock:1:\d+|tee-k", proxy.wait_log(r"^.*\bknown\b.*$")[0].group(0)), proxy.log())


@case
def egress_speaks_its_three_protocols_on_vsock():
	for target in OUTSIDE, "echo.test:7":
		host, port = target.rsplit(":", 1)
		with line(EGRESS, target, b"hello") as s:
			s.shutdown(socket.SHUT_WR)
			equal(read_all(s), b"hello")
		status, _, s = http_connect(EGRESS, target, b"hello")
		with s:
			equal((status, read_exactly(s, 5)), (200, b"hello"))
		code, s = socks(EGRESS, host, int(port))
		with s:
			s.sendall(b"hello")
			equal((code, read_exactly(s, 5)), (0, b"hello"))
	egress.wait_log("source=cid:1 enclave=tee-k .*target=%s " % re.escape(OUTSIDE), 3)


@case
def egress_goes_by_the_peers_cid():
	# What only cid:99 may; and what its target may not be, whoever asks.
	for target in "198.51.100.1:443", "127.0.0.1:9":
		status, fields, s = http_connect(EGRESS, target)
		s.close()
		equal(status, 403)


@case
def egress_reaches_an_enclave_by_its_name():
	status, _, raw = http_connect(EGRESS, "k.test:443")
	equal(status, 200)
	context = ssl.create_default_context(cafile=tee_k.crt)
	context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
	with context.wrap_socket(raw, server_hostname="k.test") as s:
		equal(request(s, "k.test").body["enclave"], "tee-k")


@case
def kms_goes_by_the_peers_cid():
	if not botocore:
		raise Skip("no python3-botocore here")
	aws, _, _ = one_aws()
	kms = Teeproxy(KMS % aws.settings(), env=dict(aws.identity().env(), ARN_K=ARN_K, ARN_T=ARN_T))
	recipient = Recipient()
	with Client("vsock:1:5000") as k:
		for named in {"key_id": ARN_K}, {}:
			out = k.output("GenerateDataKey", key_spec="AES_256", recipient=recipient.snake_field, **named)
			equal(len(recipient.open(out["ciphertext_for_recipient"])), 32)
		true(k.error("GenerateDataKey", key_spec="AES_256", recipient=recipient.snake_field,
			     key_id=ARN_T).startswith("access denied: "), "the other's key")
		# Its answer comes after its own end, too.
		k.send(ask("Decrypt", ciphertext_blob=out["ciphertext_blob"], encryption_algorithm="SYMMETRIC_DEFAULT",
			   recipient=recipient.snake_field))
		k.half_close()
		true(recipient.open(k.answer()["output"]["ciphertext_for_recipient"]), "the data key again")
		equal(k.answer(), None)
	with Client("vsock:1:5001") as k:
		true(k.error("GenerateDataKey", key_spec="AES_256").startswith("access denied: "), "no rule is for CID 1")
	kms.wait_log("source=cid:1 .*enclave=tee-k")
	kms.stop()


@case
def an_absent_cid_is_a_502_and_named_in_the_log():
	got = http_get(http.port("PLAIN"), "absent.test")
	true(got.start.startswith("HTTP/1.1 502 "), got.start)
	http.wait_log('vsock:77:8080.*error="no enclave with this CID, or no vsock transport')


@case
def a_port_nobody_listens_on_is_a_502_and_named_in_the_log():
	got = http_get(http.port("PLAIN"), "nobody.test")
	true(got.start.startswith("HTTP/1.1 502 "), got.start)
	line = http.wait_log('^.*vsock:1:9.*error="nobody listens on this port of the enclave, or its queue is full"')[0]
	# Fact 12: it may as well have been a full queue, so it was tried again, 20 ms later.
	true(int(re.search(r"total_ms=(\d+)", line.group(0)).group(1)) > 15, line.group(0))


@case
def a_tls_client_of_an_absent_enclave_is_not_kept_waiting():
	for name in ("absent.test", "nobody.test"):
		try:
			https_get(proxy.port("WEB"), name)
			raise AssertionError("%s answered" % name)
		except (OSError, EOFError):
			pass


@case
def a_peer_that_dies_ends_its_connections():
	# A process of its own, killed outright: its kernel closes for it (fact 33).
	child = subprocess.Popen([sys.executable, "-c", """
import socket, time
l = socket.socket(socket.AF_VSOCK); l.bind((socket.VMADDR_CID_ANY, 10)); l.listen(5); print("up", flush=True)
s, _ = l.accept(); s.sendall(b"hello"); time.sleep(1000)"""], stdout=subprocess.PIPE)
	at_exit(child.kill)
	child.stdout.readline()
	with connect_to(address_of(proxy.port("DYING"))) as s:
		equal(s.recv(10), b"hello")
		child.kill()
		child.wait()
		with contextlib.suppress(ConnectionResetError):
			equal(s.recv(10), b"")


@case
def half_close_from_the_client_still_gets_its_answer():
	for where in (proxy.port("ECHO"), "vsock:1:7000"):
		with connect_to(address_of(where)) as s:
			s.sendall(b"z" * 300000)
			s.shutdown(socket.SHUT_WR)
			equal(len(read_all(s)), 300000)


@case
def half_close_from_the_enclave_still_takes_the_clients_bytes():
	got = []
	def first_to_end(s, peer):
		s.sendall(b"bye")
		s.shutdown(socket.SHUT_WR)
		got.append(read_all(s))
	server = Server(first_to_end, "vsock:*:10")
	with connect_to(address_of(proxy.port("DYING"))) as s:
		equal(read_all(s), b"bye")
		s.sendall(b"still here")
		s.shutdown(socket.SHUT_WR)
		until(lambda: got, "the enclave read to the end")
	equal(got[0], b"still here")
	server.stop()


@case
def a_full_backlog_harms_no_one_else_and_passes():
	listener, _ = listen_on("vsock:*:11", backlog=4)
	clients = [connect_to(address_of(proxy.port("BACKLOG"))) for _ in range(30)]
	# Fact 12: past the queue a connect gets ECONNRESET at once, so some of these end.
	def ended():
		ready = select.select(clients, [], [], 0.2)[0]
		return len(ready)
	until(ended, "connections past the backlog end")
	equal(https_get(proxy.port("WEB"), "k.test").body["enclave"], "tee-k")
	for s in clients:
		s.close()
	stopped = threading.Event()
	def serve():
		while not stopped.is_set():
			with contextlib.suppress(OSError):
				s, _ = listener.accept()
				threading.Thread(target=echo_handler, args=(s, None), daemon=True).start()
	threading.Thread(target=serve, daemon=True).start()
	def again():
		with contextlib.suppress(OSError), connect_to(address_of(proxy.port("BACKLOG"))) as s:
			s.sendall(b"x")
			return s.recv(1) == b"x"
	until(again, "it is reached again once it accepts")
	stopped.set()


@case
def sixty_four_mebibytes_each_way_are_the_same_bytes():
	bulk(connect_to(address_of(proxy.port("ECHO"))))


@case
def sixty_four_mebibytes_each_way_from_vsock_to_vsock():
	bulk(connect_to("vsock:1:7000"))


@case
def sixty_four_mebibytes_each_way_through_egress():
	bulk(http_connect(EGRESS, OUTSIDE)[2])


def bulk(connection):
	block = os.urandom(1 << 20)
	with connection as s:
		sent, came, size = hashlib.sha256(), hashlib.sha256(), 0
		def send():
			for i in range(64):
				piece = i.to_bytes(4, "big") + block[4:]
				sent.update(piece)
				s.sendall(piece)
			s.shutdown(socket.SHUT_WR)
		sender = threading.Thread(target=send, daemon=True)
		sender.start()
		while True:
			piece = s.recv(1 << 20)
			if not piece:
				break
			size += len(piece)
			came.update(piece)
		sender.join()
	equal(size, 64 << 20)
	equal(came.hexdigest(), sent.hexdigest())


@case
def two_thousand_tunnels_at_once():
	listener, _ = listen_on("vsock:*:8", backlog=4096)
	held = []
	def serve():
		poll = select.epoll()
		poll.register(listener, select.EPOLLIN)
		peers = {}
		while True:
			for fd, _ in poll.poll():
				if fd == listener.fileno():
					s, _ = listener.accept()
					held.append(s)
					peers[s.fileno()] = s
					poll.register(s, select.EPOLLIN)
				else:
					data = peers[fd].recv(100)
					if data:
						peers[fd].sendall(data)
					else:
						poll.unregister(fd)
	threading.Thread(target=serve, daemon=True).start()
	clients = []
	for _ in range(2000):
		clients.append(connect_to(address_of(proxy.port("MANY"))))
	until(lambda: len(held) == 2000, "2,000 tunnels reach the enclave")
	for number, s in enumerate(clients):
		s.sendall(b"%d" % number)
	for number, s in enumerate(clients):
		equal(s.recv(10), b"%d" % number)
	for s in clients:
		s.close()


@case
def nothing_ended_in_an_errno_that_only_vsock_has():
	# Fact 37: ENOTCONN for an end.  Rounds in which both ends end at about the same time.
	for number in range(200):
		with connect_to("vsock:1:7000") as s:
			s.sendall(b"x" * (number % 3))
			s.shutdown(socket.SHUT_WR)
			equal(read_all(s), b"x" * (number % 3))
	for p in proxy, http, egress:
		true("not connected" not in p.log() and "_error" not in "".join(re.findall(r"frontend=echo.*", p.log())), p.log())


run()
