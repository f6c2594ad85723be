# SPDX-License-Identifier: Apache-2.0
# The helpers themselves: what the other tests lean on tells enclaves apart.
import os
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

tee_k = Enclave("tee-k", names=["k.test"], http=True)
tee_t = Enclave("tee-t", names=["t.test"], address="tcp:127.0.0.1:0")


@case
def an_enclave_answers_over_tls_with_its_own_certificate():
	got = https_get(tee_k.address, "k.test", trust=tee_k.crt)
	equal(got.body["enclave"], "tee-k")
	equal(got.body["sni"], "k.test")
	equal(https_get(tee_t.address, "t.test", trust=tee_t.crt).body["enclave"], "tee-t")


@case
def the_other_enclaves_certificate_is_refused():
	try:
		https_get(tee_t.address, "t.test", trust=tee_k.crt)
	except ssl.SSLCertVerificationError:
		return
	raise AssertionError("trusted the wrong enclave")


@case
def plain_http_keeps_the_connection_and_counts_bodies():
	with connect_to(tee_k.http.address) as s:
		equal(request(s, "k.test").body["enclave"], "tee-k")
		equal(request(s, "k.test", method="POST", body=b"12345").body["body"], 5)


@case
def a_stopped_enclave_refuses_and_a_started_one_answers():
	tee_k.stop()
	try:
		connect_to(tee_k.address).close()
		raise AssertionError("still listening")
	except OSError:
		pass
	tee_k.start_at()
	equal(https_get(tee_k.address, "k.test").body["enclave"], "tee-k")


@case
def bytes_come_back_from_an_echo_and_its_end_is_seen():
	echo = Server(echo_handler, name="echo")
	with connect_to(echo.address) as s:
		s.sendall(b"x" * 100000)
		s.shutdown(socket.SHUT_WR)
		equal(len(read_all(s)), 100000)


run()
