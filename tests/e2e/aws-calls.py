#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Calls to AWS: what is tried again and what is not, how many go at once, whose turn it is."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from kms_test import *

worlds = []


def new(*args, **more):
	worlds.append(World(*args, **more))
	return worlds[-1]


world = new("request-size 1m")
aws = world.aws


def describe(w=world, who="tee-k"):
	with w.client(who) as k:
		return k.ask("DescribeKey", key_id="")


def tried(fault, times, w=world, expect=None):
	"""Calls once while the next requests meet the fault: how often it was tried; expect: of an error."""
	before = len(w.calls())
	w.fault(fault, times)
	got = describe(w)
	if expect is None:
		true("output" in got, repr(got))
	else:
		true(expect in got.get("error", ""), "no %r in %r" % (expect, got))
	aws.faults.clear()
	return len(w.calls()) - before


def many(w, who, n, operation="DescribeKey", **input):
	"""n requests at once, a connection each: the clients, whose answers are still to come."""
	clients = [w.client(who) for _ in range(n)]
	for k in clients:
		k.send(ask(operation, **{"key_id": "", **input}))
	return clients


def answers(clients):
	got = [k.answer() for k in clients]
	for k in clients:
		k.s.close()
	return got


def all_good(clients):
	for got in answers(clients):
		true(got and "output" in got, repr(got))


def of(w, key):
	return [s for s in w.calls() if s.json().get("KeyId") in (key.arn, *key.aliases)]


# ------------------------------------------------------------------ again, or not

@case
def trouble_on_aws_side_is_tried_again():
	for fault in (answer(500, "KMSInternalException"), raw(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
		      answer(503, "KeyUnavailableException"), answer(400, "ThrottlingException"), answer(429, "x"), cut(), truncated()):
		equal(tried(fault, 1), 2)


@case
def three_attempts_are_all():
	equal(tried(answer(503), 2), 3)
	equal(tried(answer(503, "KeyUnavailableException", "not now"), 9, expect="KeyUnavailableException: not now"), 3)
	# What a kept connection loses is sent at once on a new one, and counts as the same attempt.
	true(tried(cut(), 9, expect="KMS DescribeKey failed") in (3, 4), "three attempts")
	equal(world.lines("operation=DescribeKey")[-1]["attempts"], "3")


@case
def what_another_attempt_would_get_again_is_not_tried_again():
	for fault, word in ((answer(400, "ValidationException", "no such thing"), "ValidationException: no such thing"),
			    (answer(400, "AccessDeniedException"), "AccessDeniedException"),
			    (answer(400, "InvalidSignatureException"), "InvalidSignatureException"),
			    (garbage(), "DescribeKey"), (garbage(status=400), "400"), (huge(1100000), "larger than 1048576 bytes"),
			    (redirect("https://localhost/"), "307")):
		equal(tried(fault, 9, expect=word), 1)


@case
def the_access_line_says_how_often():
	world.fault(answer(500), 1, operation="GenerateDataKey")
	with world.client() as k:
		k.output("GenerateDataKey", key_spec="AES_256", recipient=world.tee_k.snake_field)
	line = world.lines("operation=GenerateDataKey")[-1]
	equal((line["attempts"], line["status"]), ("2", "200"))


@case
def all_of_it_happens_inside_the_timeout():
	w = new("timeout request 600ms")
	equal(tried(hang(), 9, w, expect="KMS DescribeKey failed"), 1)
	aws.release()
	# Where the next wait would be too long, the answer that is there is the answer.
	true(tried(answer(503, "KeyUnavailableException"), 9, w, expect="KeyUnavailableException") <= 3, "attempts")
	true("output" in describe(w), "and it goes on")


@case
def a_silent_server_leaves_time_for_another_attempt():
	equal(tried(hang(), 1), 2)
	aws.release()


@case
def an_outage_is_not_made_worse():
	w = new()
	w.fault(answer(500, "KMSInternalException"), 2000)
	for got in answers(many(w, "tee-k", 100) + many(w, "tee-t", 100)):
		true("KMSInternalException" in got["error"], repr(got))
	# Of each enclave 100 first attempts, and the 100 more that its quota of 500 pays for.
	equal([len(of(w, key)) for key in (w.key_k, w.key_t)], [200, 200])
	equal(len(w.calls()), 400)
	aws.faults.clear()
	true("output" in describe(w), "when it is over, calls succeed")


# ------------------------------------------------------------------ how many, and whose turn

@case
def an_enclave_has_no_more_calls_under_way_than_its_frontend_says():
	w = new("max-requests 3")
	w.fault(slow(0.3), 12)
	all_good(many(w, "tee-k", 12))
	true(2 <= most_at_once(w.calls()) <= 3, "%d at once" % most_at_once(w.calls()))


@case
def all_enclaves_together_have_no_more_than_the_aws_section_says():
	w = new(aws="\tmax-requests 4\n")
	w.fault(slow(0.3), 20)
	all_good(many(w, "tee-k", 10) + many(w, "tee-t", 10))
	true(2 <= most_at_once(w.calls()) <= 4, "%d at once" % most_at_once(w.calls()))


@case
def the_flood_of_one_enclave_does_not_starve_the_other():
	w = new(aws="\tmax-requests 1\n")
	w.fault(slow(1), 1)
	w.fault(slow(0.1), 30)
	flood = many(w, "tee-k", 30)
	until(lambda: w.calls(), "the first is under way")
	equal(describe(w, "tee-t").get("error"), None)
	# All of the flood was there before it.
	true(len(of(w, w.key_k)) < 25, "%d of tee-k's went before" % len(of(w, w.key_k)))
	all_good(flood)


@case
def what_waits_is_bounded_and_more_is_refused():
	w = new("request-size 2m", aws="\tmax-requests 1\n")
	w.fault(hang(), 9, operation="DescribeKey")
	first = many(w, "tee-k", 1)
	until(lambda: w.calls(), "the first is under way")
	# 16 MiB may wait: 11 of these.
	big = many(w, "tee-k", 20, "Encrypt", Plaintext=b64(bytes(1 << 20)), KeyId="")
	w.proxy.wait_log("error=\"too many calls of this enclave are waiting\"", 9)
	true("aws: tee-k has 1024 calls or 16 MiB waiting, refusing more" in w.proxy.log(), "a warning")
	aws.release()
	aws.faults.clear()
	refused = [got for got in answers(big) if "too many calls" in got.get("error", "")]
	equal(len(refused), 9)
	true("output" in answers(first)[0], "the first is tried again")
	equal(describe(w, "tee-t").get("error"), None)


# ------------------------------------------------------------------ names

@case
def names_are_looked_up_by_the_resolver_of_the_configuration():
	hosts = os.path.join(DIR, "hosts")
	with open(hosts, "w") as f:
		f.write("127.0.0.1 kms.aws.test\n")
	w = new(endpoints=aws.settings().replace("kms https://localhost", "kms https://kms.aws.test"),
		  rest="resolver {\n\tserver 127.0.0.1:1\n\thosts %s\n}" % hosts)
	true("output" in describe(w), "the hosts file is asked")
	equal(w.calls()[-1].headers["host"], "kms.aws.test:%d" % aws.port)
	# In no hosts file: the servers are silent, and libcurl asks nobody else.
	lost = new(endpoints=aws.settings().replace("kms https://localhost", "kms https://localhost.localdomain"),
		     rest="resolver {\n\tserver 127.0.0.1:1\n\thosts %s\n}" % hosts)
	true("localhost.localdomain: " in describe(lost).get("error", ""), "the name is told")


@case
def nothing_secret_is_in_any_log_and_each_proxy_stops_cleanly():
	for w in worlds:
		w.no_secrets()
		w.proxy.stop()


run()
