# SPDX-License-Identifier: Apache-2.0
# As in Nitro: teeproxy in the parent guest (CID 3), enclaves in guests of their own (CID 16 and
# 17).  make check-nitro boots them and runs this in the parent; nitro-enclave.py is in the others.
# What the real hypervisor does is not known in two things, so all is done twice.  UNKNOWN: a
# connect to a CID that nobody has gets silence (drop) or a reset (rst).  DEATH: the peers of an
# enclave that is stopped are told (rst) or hear nothing more (silent).
import os
import sys

if os.environ.get("TEELAB_TOPOLOGY") != "C":
	print("1..0 # SKIP only in a guest: make check-nitro")
	sys.exit(0)
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *
import errno

try: # the stand-in for AWS wants botocore, and ends who imports it without
	import botocore
	from kms_test import *
except ImportError:
	botocore = None

CONF = """
enclave tee-k cid 16
enclave tee-t cid 17

frontend https {
	listen 127.0.0.1:$WEB
	sni tee-k.nitro.test -> vsock:tee-k:8443
	sni tee-t.nitro.test -> vsock:tee-t:8443
	sni nobody.nitro.test -> vsock:99:8443
}
frontend patient mode tcp {
	listen 127.0.0.1:$PATIENT
	timeout connect 3s
	default -> vsock:99:8443
}
frontend tunnel mode tcp {
	listen 127.0.0.1:$TUNNEL
	timeout connect 1s
	timeout idle 4s
	default -> vsock:tee-k:7
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
	from tee-k to 127.0.0.1:$FOR_K -> direct
	from tee-t to 127.0.0.1:$FOR_T -> direct
	from tee-t to *:* -> direct
	default -> reject
}
"""
KMS = """
enclave tee-k cid 16
enclave tee-t cid 17
aws {
	region eu-west-1
	credentials env
%s
}
frontend kms {
	from tee-k -> key $ARN_K
	from tee-t -> key $ARN_T
}
"""
ENCLAVES = {"tee-k": 16, "tee-t": 17}
UNKNOWN, DEATH = os.environ["UNKNOWN"], os.environ["DEATH"]


def enclavectl(verb, cid):
	done = subprocess.run(["enclavectl", verb, str(cid)], capture_output=True, text=True)
	true(done.returncode == 0, "enclavectl %s %d: %s" % (verb, cid, done.stdout))


def up(cid):
	def question():
		with contextlib.suppress(OSError):
			connect_to("vsock:%d:9000" % cid, 3).close()
			return True
	try:
		until(question, "enclave %d serves" % cid, 90)
	except AssertionError:
		# The lab's own trouble, seen once in 20 boots under load: nothing of the proxy's is tested yet.
		print("# enclave %d did not come up: started again" % cid, flush=True)
		subprocess.run(["enclavectl", "stop", str(cid)], capture_output=True)
		enclavectl("start", cid)
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
outside = {name: Enclave("outside-" + name, address="tcp:127.0.0.1:0") for name in ENCLAVES}
outside = {name: int(server.address.rsplit(":", 1)[1]) for name, server in outside.items()}
proxy = Teeproxy(CONF, ports=["WEB", "PATIENT", "TUNNEL"])
http = Teeproxy(HTTP, ports=["PLAIN"])
egress = Teeproxy(EGRESS, env={"FOR_K": str(outside["tee-k"]), "FOR_T": str(outside["tee-t"])})


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
def a_connect_waits_as_long_as_its_timeout_and_not_the_kernels_2_s():
	with connect_to(address_of(proxy.port("PATIENT"))) as s:
		equal(s.recv(1), b"")
	line = proxy.wait_log("^.*frontend=patient.*$")[0].group(0)
	if UNKNOWN == "drop":
		true("reason=connect_timeout" in line and "there is no enclave with this CID" in line, line)
		true(int(re.search(r"total_ms=(\d+)", line).group(1)) > 2500, line) # the loop's clock and the kernel's differ
	else:
		true("reason=connect_failed" in line and "nobody listens on this port of the enclave" in line, line)


@case
def enclave_to_enclave_through_egress():
	equal(ask(16, "egress", "tee-t.nitro.test", 443)["ok"]["enclave"], "tee-t")
	equal(ask(17, "egress", "tee-k.nitro.test", 443)["ok"]["enclave"], "tee-k")


@case
def each_enclave_has_its_own_egress_policy():
	for name, other in (("tee-k", "tee-t"), ("tee-t", "tee-k")):
		equal(ask(ENCLAVES[name], "egress", "127.0.0.1", outside[name])["ok"]["enclave"], "outside-" + name)
		true("error" in ask(ENCLAVES[name], "egress", "127.0.0.1", outside[other]), name + " went by the other's rule")
		egress.wait_log("source=cid:%d enclave=%s .*reason=done" % (ENCLAVES[name], name))
	# Its own name is nothing that either may ask for; and metadata is closed to "direct" too.
	true("error" in ask(16, "egress", "tee-k.nitro.test", 443), "tee-k reached itself")
	true("error" in ask(16, "egress", "169.254.169.254", 80), "tee-k reached metadata")
	true("error" in ask(17, "egress", "169.254.169.254", 80), "tee-t reached metadata")


@case
def kms_knows_each_enclave_by_its_cid_and_refuses_it_the_others_key():
	if not botocore:
		raise Skip("no python3-botocore here")
	aws, _, _ = one_aws()
	who = aws.identity()
	arns = {"tee-k": ARN_K, "tee-t": ARN_T}
	kms = Teeproxy(KMS % aws.settings(), env=dict(who.env(), **{"ARN_K": ARN_K, "ARN_T": ARN_T}))
	recipients = {name: Recipient() for name in ENCLAVES}
	blobs = {}

	def asks(name, operation, **input):
		return ask(ENCLAVES[name], "kms", {"operation": operation, "service_name": name.replace("-", "_"),
						   "input": dict(input, recipient=recipients[name].snake_field)})["ok"]

	for name, arn in arns.items():
		# With its key's name, and without: then it gets its own.
		for named in {"key_id": arn}, {}:
			out = asks(name, "GenerateDataKey", key_spec="AES_256", **named)["output"]
			equal(len(recipients[name].open(out["ciphertext_for_recipient"])), 32)
		blobs[name] = out["ciphertext_blob"]
	equal([s.json()["KeyId"] for s in aws.requests(service="kms", access_key=who.access_key)],
	      [ARN_K, ARN_K, ARN_T, ARN_T])
	for name, other in (("tee-k", "tee-t"), ("tee-t", "tee-k")):
		got = asks(name, "GenerateDataKey", key_spec="AES_256", key_id=arns[other])
		true(got.get("error", "").startswith("access denied: "), got)
		# The other's data key, by whatever name: AWS is asked with this enclave's key, and says no.
		for named in {"key_id": arns[other]}, {"key_id": arns[name]}, {}:
			got = asks(name, "Decrypt", ciphertext_blob=blobs[other], encryption_algorithm="SYMMETRIC_DEFAULT", **named)
			true("error" in got and "output" not in got, got)
		got = asks(name, "Decrypt", ciphertext_blob=blobs[name], encryption_algorithm="SYMMETRIC_DEFAULT")
		true(recipients[name].open(got["output"]["ciphertext_for_recipient"]), got)
	kms.wait_log("source=cid:16 .*enclave=tee-k")
	kms.wait_log("source=cid:17 .*enclave=tee-t")
	kms.stop()


@case
def an_enclave_that_hangs_keeps_nobody_else_waiting():
	enclavectl("pause", 16)
	try:
		with connect_to(address_of(proxy.port("TUNNEL"))) as s:
			equal(s.recv(1), b"")
		equal(https_get(proxy.port("WEB"), name_of("tee-t")).body["enclave"], "tee-t")
		proxy.wait_log("frontend=tunnel .*reason=connect_timeout .*or it hangs")
	finally:
		enclavectl("resume", 16)
	equal(https_get(proxy.port("WEB"), name_of("tee-k")).body["enclave"], "tee-k")


@case
def connections_of_an_enclave_that_is_stopped_end():
	with connect_to(address_of(proxy.port("TUNNEL"))) as s:
		s.sendall(b"x")
		equal(s.recv(1), b"x")
		enclavectl("stop", 16)
		equal(s.recv(1), b"")
	enclavectl("start", 16)
	up(16)
	# Fact 34: told, it reads as a clean end; not told, only a time-out of ours ends it.
	proxy.wait_log("frontend=tunnel .*bytes_down=1 reason=" + ("done" if DEATH == "rst" else "idle_timeout"))


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
