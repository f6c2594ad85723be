# SPDX-License-Identifier: Apache-2.0
# As in Nitro: teeproxy in the parent guest (CID 3), enclaves in guests of their own (CID 16 and
# 17).  make check-nitro boots them and runs this in the parent; nitro-enclave.py is in the others.
import os
import sys

if os.environ.get("TEELAB_TOPOLOGY") != "C":
	print("1..0 # SKIP only in a guest: make check-nitro")
	sys.exit(0)
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *
import errno

CONF = """
enclave tee-k cid 16
enclave tee-t cid 17

frontend https {
	listen 127.0.0.1:$WEB
	sni tee-k.nitro.test -> vsock:tee-k:8443
	sni tee-t.nitro.test -> vsock:tee-t:8443
	sni nobody.nitro.test -> vsock:99:8443
}
"""
HTTP = """
enclave tee-k cid 16
enclave tee-t cid 17

frontend http {
	listen 127.0.0.1:$PLAIN
	host tee-k.nitro.test -> vsock:tee-k:8080
	host tee-t.nitro.test -> vsock:tee-t:8080
	host nobody.nitro.test -> vsock:99:8080
}
"""
EGRESS = """
enclave tee-k cid 16
enclave tee-t cid 17

frontend egress {
	from tee-k to tee-t.nitro.test:443 -> vsock:tee-t:8443
	from tee-t to tee-k.nitro.test:443 -> vsock:tee-k:8443
	from tee-t to *:* -> direct
	default -> reject
}
"""
ENCLAVES = {"tee-k": 16, "tee-t": 17}


def enclavectl(verb, cid):
	done = subprocess.run(["enclavectl", verb, str(cid)], capture_output=True, text=True)
	true(done.returncode == 0, "enclavectl %s %d: %s" % (verb, cid, done.stdout))


def up(cid):
	def question():
		with contextlib.suppress(OSError):
			connect_to("vsock:%d:9000" % cid, 3).close()
			return True
	until(question, "enclave %d serves" % cid, 120)


def ask(cid, *command):
	"""Has an enclave do something."""
	with connect_to("vsock:%d:9000" % cid, 60) as s:
		s.sendall(json.dumps(command).encode() + b"\n")
		return json.loads(s.makefile("rb").readline())


def name_of(name):
	return name + ".nitro.test"


for cid in ENCLAVES.values():
	up(cid)
proxy = Teeproxy(CONF, ports=["WEB"])
http = if_engine(HTTP, ports=["PLAIN"])
egress = if_engine(EGRESS)


@case
def sni_reaches_the_right_enclave():
	for name in ENCLAVES:
		equal(https_get(proxy.port("WEB"), name_of(name)).body["enclave"], name)


@case
def host_reaches_the_right_enclave():
	with connect_to(address_of(http.port("PLAIN"))) as s:
		for name in ("tee-k", "tee-t", "tee-t", "tee-k"):
			got = request(s, name_of(name)).body
			equal((got["enclave"], got["peer"][0]), (name, 3))


@case
def enclaves_are_reached_where_vhost_vsock_is_loaded():
	# Fact 18: then the kernel looks for CID 16 among guests of the parent's own, and says ENODEV.
	with open("/run/teelab/lib/modules.vhost") as f:
		names = f.read().split()
	for module in names:
		if not os.path.exists("/sys/module/" + module):
			done = subprocess.run(["busybox", "insmod", "/run/teelab/lib/modules/%s.ko" % module],
					      capture_output=True, text=True)
			true(done.returncode == 0, module + ": " + done.stderr)
	try:
		s = socket.socket(socket.AF_VSOCK)
		equal(s.connect_ex((16, 8443)), errno.ENODEV)
		s.close()
		for name in ENCLAVES:
			equal(https_get(proxy.port("WEB"), name_of(name)).body["enclave"], name)
	finally:
		equal(subprocess.run(["busybox", "rmmod", "vhost_vsock"]).returncode, 0)


@case
def an_enclave_that_is_not_there_is_a_502():
	true(http_get(http.port("PLAIN"), "nobody.nitro.test").start.startswith("HTTP/1.1 50"), "a 502 or 504")


@case
def enclave_to_enclave_through_egress():
	egress.log()
	equal(ask(16, "egress", "tee-t.nitro.test", 443)["ok"]["enclave"], "tee-t")
	equal(ask(17, "egress", "tee-k.nitro.test", 443)["ok"]["enclave"], "tee-k")


@case
def each_enclave_has_its_own_egress_policy():
	egress.log()
	# Its own name is nothing that either may ask for; and metadata is closed to "direct" too.
	true("error" in ask(16, "egress", "tee-k.nitro.test", 443), "tee-k reached itself")
	true("error" in ask(16, "egress", "169.254.169.254", 80), "tee-k reached metadata")
	true("error" in ask(17, "egress", "169.254.169.254", 80), "tee-t reached metadata")


@case
def an_enclave_stopped_and_started_is_reached_again():
	for _ in range(2):
		enclavectl("stop", 16)
		try:
			https_get(proxy.port("WEB"), name_of("tee-k"))
			raise AssertionError("a stopped enclave answered")
		except (OSError, EOFError):
			pass
		equal(https_get(proxy.port("WEB"), name_of("tee-t")).body["enclave"], "tee-t")
		enclavectl("start", 16)
		up(16)
		# The very first connection after it serves gets through: nothing remembers the failure.
		equal(https_get(proxy.port("WEB"), name_of("tee-k")).body["enclave"], "tee-k")


run()
