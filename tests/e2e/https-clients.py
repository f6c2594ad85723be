# SPDX-License-Identifier: Apache-2.0
# Real TLS clients through `mode https`, each with a ClientHello of its own making: every one
# reaches the enclave it names and verifies that enclave's certificate.
import os
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

tee_k = Enclave("tee-k", ["k.test"])
tee_t = Enclave("tee-t", ["t.test"])
proxy = Teeproxy("""
	frontend https {
		listen 127.0.0.1:$WEB
		sni k.test -> $TEE_K
		sni t.test -> $TEE_T
	}
""", ports=["WEB"], env={"TEE_K": tee_k.address, "TEE_T": tee_t.address})
BOTH = (("k.test", tee_k, "tee-k"), ("t.test", tee_t, "tee-t"))


def need(program):
	if not shutil.which(program):
		raise Skip("no %s here" % program)


def talk(command, name):
	"""Sends a request through a command's stdin, and waits for the answer as a person would."""
	process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
	at_exit(process.kill)
	process.stdin.write(("GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % name).encode())
	process.stdin.flush()
	said = process.stdout.read()	# to its end: the enclave closes
	process.stdin.close()
	process.wait(WAIT)
	return said.decode(errors="replace")


@case
def curl_over_tls_1_2_and_1_3():
	need("curl")
	for name, enclave, who in BOTH:
		for version in ("--tls-max 1.2", "--tlsv1.3"):
			got = curl(*version.split(), "--cacert", enclave.crt, "--resolve",
				   "%s:%d:127.0.0.1" % (name, proxy.port("WEB")),
				   "https://%s:%d/" % (name, proxy.port("WEB")))
			true('"enclave": "%s"' % who in got.stdout, got.stdout + got.stderr)


@case
def openssl_s_client():
	for name, enclave, who in BOTH:
		said = talk(["openssl", "s_client", "-connect", "127.0.0.1:%d" % proxy.port("WEB"), "-servername", name,
			     "-CAfile", enclave.crt, "-verify_return_error", "-quiet"], name)
		true('"enclave": "%s"' % who in said, said)


@case
def gnutls_cli():
	need("gnutls-cli")
	for name, enclave, who in BOTH:
		said = talk(["gnutls-cli", "--x509cafile", enclave.crt, "--sni-hostname", name, "--verify-hostname", name,
			     "-p", str(proxy.port("WEB")), "127.0.0.1"], name)
		true('"enclave": "%s"' % who in said, said)


@case
def python():
	for name, enclave, who in BOTH:
		equal(https_get(proxy.port("WEB"), name, trust=enclave.crt).body["enclave"], who)


@case
def the_name_of_one_with_the_certificate_of_the_other_fails():
	got = curl("--cacert", tee_t.crt, "--resolve", "k.test:%d:127.0.0.1" % proxy.port("WEB"),
		   "https://k.test:%d/" % proxy.port("WEB"))
	equal(got.returncode, 60)


run()
