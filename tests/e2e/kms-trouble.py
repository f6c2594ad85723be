#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mode kms in trouble: AWS refuses, stammers, hangs or is away; an enclave floods; the proxy reloads."""
import os
import queue
import select
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from kms_test import *

enclave = Enclave("tee-k", ["k.test"])
HTTPS = """
frontend https {
	listen 127.0.0.1:$WEB
	sni k.test -> %s
}""" % enclave.address
closed = free_port()

world = World()
hasty = World("timeout request 700ms")
few = World(tee_k="max-connections 2")
slow_rate = World(tee_k="rate 1/h burst 3")
single = World("max-requests 1", aws="\tmax-requests 1\n")
narrow = World("max-requests 4", aws="\tmax-requests 4\n")
poor = World(env={}, rest=HTTPS, ports=["WEB"])
lonely = World(rest=HTTPS, ports=["WEB"], endpoints="\tendpoint kms https://127.0.0.1:%d\n" % closed)


def data_key(c, recipient=None):
	return c.ask("GenerateDataKey", key_spec="AES_256", recipient=(recipient or world.tee_k).snake_field)


def failing(*faults, of=world):
	"""The error of a request for which the faults happen one after the other."""
	before = len(of.calls())
	for happens in faults:
		of.fault(happens)
	with of.client() as k:
		got = data_key(k)
	of.aws.faults.clear()	# not all were tried again
	true("error" in got, repr(got))
	return got["error"], len(of.calls()) - before


@case
def an_error_of_aws_reaches_the_enclave_in_the_sdks_words():
	text, n = failing(answer(400, "InvalidCiphertextException", ""))
	request = world.lines('error=InvalidCiphertextException')[-1]
	equal(text, "KMS GenerateDataKey failed: operation error KMS: GenerateDataKey, https response error StatusCode: 400, "
		    "RequestID: %s, InvalidCiphertextException: " % request["request_id"])
	equal((n, request["status"], request["attempts"], request["reason"]), (1, "400", "1", "aws_error"))


@case
def an_error_without_a_type_in_the_sdk():
	text, n = failing(answer(400, "AccessDeniedException", "User: x is not authorized <here>"))
	true(re.search(r"StatusCode: 400, RequestID: [0-9a-f-]{36}, api error AccessDeniedException: "
		       r"User: x is not authorized <here>$", text), text)
	equal(n, 1)


@case
def every_error_of_kms_by_its_name():
	for code in ("DependencyTimeoutException", "DisabledException", "IncorrectKeyException", "InvalidGrantTokenException",
		     "InvalidKeyUsageException", "KMSInvalidStateException", "KeyUnavailableException", "NotFoundException"):
		text, _ = failing(*[answer(400, code, "why")] * 3)
		true(text.endswith(", %s: why" % code), text)


@case
def two_failures_and_then_an_answer():
	before = len(world.calls())
	for happens in (answer(500, "KMSInternalException"), answer(503, "ServiceUnavailable")):
		world.fault(happens)
	with world.client() as k:
		true("output" in data_key(k), "no output")
	equal(len(world.calls()) - before, 3)
	equal(world.lines("operation=GenerateDataKey .*attempts=3 .*reason=done")[-1]["status"], "200")


@case
def three_failures_are_an_error():
	text, n = failing(*[answer(500, "KMSInternalException", "again")] * 3)
	true(re.search(r"GenerateDataKey, exceeded maximum number of attempts, 3, https response error StatusCode: 500, "
		       r"RequestID: \S+, KMSInternalException: again$", text), text)
	equal(n, 3)


@case
def throttling_is_tried_again():
	text, n = failing(*[answer(400, "ThrottlingException", "Rate exceeded")] * 3)
	true("exceeded maximum number of attempts, 3" in text and "api error ThrottlingException: Rate exceeded" in text, text)
	equal(n, 3)


@case
def a_connection_that_breaks_is_tried_again():
	world.fault(cut())
	with world.client() as k:
		true("output" in data_key(k), "no output")


@case
def answers_that_cannot_be_read():
	for happens in (garbage(), truncated(), redirect("https://evil.test/"), huge(8 << 20), garbage(status=500),
			raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"), raw(b"not HTTP at all\r\n\r\n")):
		text, _ = failing(*[happens] * 3)
		true(text.startswith("KMS GenerateDataKey failed: operation error KMS: GenerateDataKey, "), text)
		with world.client() as k:
			true("output" in data_key(k), "the next one fails after " + happens.name)


@case
def a_call_that_hangs_ends_with_its_time():
	text, _ = failing(hang(), of=hasty)
	true("canceled, context deadline exceeded" in text, text)
	hasty.aws.release()
	equal(hasty.lines("reason=answer_timeout")[-1]["operation"], "GenerateDataKey")
	with hasty.client() as k:
		true("output" in data_key(k), "the next one fails")


@case
def a_connection_lives_on_after_errors():
	with world.client() as k:
		for n in range(3):
			world.fault(answer(400, "DisabledException"))
			true("error" in data_key(k), "no error")
			true("output" in data_key(k), "no output")


@case
def no_credentials_at_start_and_tls_is_routed():
	equal(https_get(poor.proxy.port("WEB"), "k.test").body["enclave"], "tee-k")
	with poor.client() as k:
		text = data_key(k)["error"]
	true(text.startswith("KMS GenerateDataKey failed: operation error KMS: GenerateDataKey, get identity: get credentials: "), text)
	equal(poor.lines("operation=GenerateDataKey")[-1]["reason"], "aws_error")
	equal(https_get(poor.proxy.port("WEB"), "k.test").body["enclave"], "tee-k")


@case
def aws_away_and_tls_is_routed():
	with lonely.client() as k, lonely.client("tee-t") as t:
		for c in (k, t):
			text = data_key(c)["error"]
			true("exceeded maximum number of attempts, 3, https response error StatusCode: 0, RequestID: , request send failed, "
			     in text, text)
		for _ in range(20):
			equal(https_get(lonely.proxy.port("WEB"), "k.test").body["enclave"], "tee-k")
		true("error" in k.ask("Nothing"), "the connection is gone")


@case
def a_flood_of_one_enclave_does_not_starve_the_other():
	# Four calls at a time in all, each slow; forty of tee-k are there before the first of tee-t.
	order = queue.Queue()
	narrow.fault(slow(0.1), times=60)
	def one(who, n):
		with narrow.client(who) as c:
			c.send(ask("GenerateDataKey", key_spec="AES_256"))
			order.put((who, n, c.answer()))
	flood = [threading.Thread(target=one, args=("tee-k", n)) for n in range(40)]
	for t in flood:
		t.start()
	until(lambda: len(narrow.calls()) >= 4, "the flood is under way")
	others = [threading.Thread(target=one, args=("tee-t", n)) for n in range(4)]
	for t in others:
		t.start()
	for t in flood + others:
		t.join()
	narrow.aws.faults.clear()
	got = [order.get() for _ in range(44)]
	true(all("output" in answer_ for _, _, answer_ in got), "an answer is lost: %r" % [a for a in got if "output" not in a[2]][:1])
	ranks = [i for i, (who, _, _) in enumerate(got) if who == "tee-t"]
	true(ranks[-1] < 36, "tee-t was answered at %r of 44" % ranks)
	keys = [s.json()["KeyId"] for s in narrow.calls()]
	true(keys.index(ARN_T) < 30 and keys.count(ARN_T) == 4, "tee-t came late: %r" % keys.index(ARN_T))


def late(aws, _):
	"""A fault: what is held until release() fails then, and would be tried again."""
	aws.released.wait(2 * WAIT)
	return AwsError("KMSInternalException", "late", 500)


late.name = "late"


@case
def the_retry_quota_of_one_enclave_is_not_the_others():
	# Fifty calls that are throttled use up what tee-t may try again: 100 times 5.
	world.fault(answer(400, "ThrottlingException"), times=1000, operation="Encrypt")
	def throttled():
		with world.client("tee-t") as t:
			t.error("Encrypt", plaintext="AAAA")
	flood = [threading.Thread(target=throttled) for _ in range(55)]
	for t in flood:
		t.start()
	for t in flood:
		t.join()
	# A line may come after its answer: the last one is the next one's only when all of the flood are there.
	line = "enclave=tee-t .*operation=Encrypt"
	world.lines(line, 55)
	with world.client("tee-t") as t:
		t.error("Encrypt", plaintext="AAAA")
	equal(world.lines(line, 56)[-1]["attempts"], "1")
	world.aws.faults.clear()
	world.fault(answer(500, "KMSInternalException"))
	with world.client("tee-k") as k:
		true("output" in data_key(k), "not tried again")


def numbered(n):
	return ask("GenerateDataKey", key_spec="AES_256", encryption_context={"n": str(n)})


def times_asked(w, n):
	return sum(s.json().get("EncryptionContext") == {"n": str(n)} for s in w.calls())


@case
def who_leaves_the_queue_frees_its_place():
	# 16 MiB may wait for an enclave.  One of seventeen is too many, and none is when all have left.
	large = ask("Encrypt", plaintext=b64(bytes(780000)))
	single.fault(hang())
	with single.client() as first, contextlib.ExitStack() as stack:
		first.send(numbered(0))
		until(lambda: times_asked(single, 0), "the call is under way")
		waiting = [stack.enter_context(single.client()) for _ in range(17)]
		for c in waiting:
			c.send(large)
		refused = until(lambda: select.select([c.s for c in waiting], [], [], 0)[0], "one is refused")
		equal(len(refused), 1)
		for c in waiting:
			if c.s in refused:
				true("too many calls of this enclave are waiting" in c.answer()["error"], "not for that")
			c.s.close()
		single.lines("reason=client_error", 16)
		with single.client() as last:
			last.send(large)
			single.aws.release()
			true("output" in first.answer(), "no output")
			true("too many calls" not in repr(last.answer()), "no place")
	equal(len([s for s in single.calls() if s.operation == "Encrypt"]), 1, "calls of who was there")


@case
def who_leaves_while_aws_is_asked_ends_with_the_attempt():
	before = len(re.findall("reason=client_error", single.proxy.log()))
	single.fault(late)
	with single.client() as gone:
		gone.send(numbered(1))
		until(lambda: times_asked(single, 1), "the call is under way")
	line = single.lines("reason=client_error", before + 1)[-1]
	equal((line["enclave"], line["operation"], line["error"]), ("tee-k", "GenerateDataKey", "Broken pipe"))
	with single.client() as other:
		other.send(numbered(2))
		single.aws.release()
		true("output" in other.answer(), "no output")
	equal(times_asked(single, 1), 1, "attempts for nobody")


@case
def who_half_closes_is_still_there():
	single.fault(hang())
	with single.client() as k:
		k.send(numbered(3))
		k.half_close()
		until(lambda: times_asked(single, 3), "the call is under way")
		time.sleep(2.5)	# more than one look
		single.aws.release()
		true("output" in k.answer(), "no output")
		equal(k.answer(), None)


def under_way_and_waiting(stack, w, happens):
	"""Two clients that were served before: one's call is under way then, the other's waits."""
	clients = [stack.enter_context(w.client()) for _ in range(2)]
	for c in clients:
		true("output" in data_key(c), "no output")
	before = len(w.calls())
	w.fault(happens)
	for c in clients:
		c.send(ask("GenerateDataKey", key_spec="AES_256"))
	until(lambda: len(w.calls()) > before, "a call is under way")
	return clients


@case
def a_reload_leaves_those_under_way_and_waiting_their_answers():
	with contextlib.ExitStack() as stack:
		clients = under_way_and_waiting(stack, single, slow(0.5))
		single.proxy.reload()
		for c in clients:
			true("output" in c.answer(), "no output")
			equal(c.answer(), None)


@case
def sigterm_leaves_those_under_way_and_waiting_their_answers():
	with contextlib.ExitStack() as stack:
		clients = under_way_and_waiting(stack, single, slow(0.5))
		os.kill(single.proxy.pid, signal.SIGTERM)
		for c in clients:
			true("output" in c.answer(), "no output")
			equal(c.answer(), None)
		equal(single.proxy.wait_end(), 0)
	true("the grace time is over" not in single.proxy.log(), "the grace time was waited out")


@case
def an_end_without_grace_while_aws_is_asked():
	w = World("max-requests 1", aws="\tmax-requests 1\n")
	with contextlib.ExitStack() as stack:
		clients = under_way_and_waiting(stack, w, hang())
		for said in ("stopping: waiting", "stopping at once"):
			os.kill(w.proxy.pid, signal.SIGTERM)
			w.proxy.wait_log(said)
		equal(w.proxy.wait_end(), 0)
		for c in clients:
			equal(read_all(c.s), b"")
	w.aws.release()


@case
def an_enclave_has_its_share_of_connections():
	with few.client("tee-k") as a, few.client("tee-k") as b, few.client("tee-t") as other:
		for c in (a, b):
			true("output" in data_key(c), "no output")
		with few.client("tee-k") as c:
			equal(c.answer(), {"error": "too many connections of this enclave"})
			equal(c.answer(), None)
		true("output" in data_key(other), "the other enclave is held up")
	few.lines("reason=enclave_connections")
	def again():
		with few.client("tee-k") as c, contextlib.suppress(ConnectionError):
			return "output" in (data_key(c) or {})
	until(again, "there is room again")


@case
def an_enclave_has_its_rate_of_connections():
	for n in range(4):
		with slow_rate.client("tee-k") as c, contextlib.suppress(ConnectionError):
			got = data_key(c)
		true("output" in got if n < 3 else got == {"error": "connections of this enclave come too fast"}, "%d: %r" % (n, got))
	slow_rate.lines("reason=enclave_rate")


@case
def two_hundred_requests_with_faults_none_lost_none_crossed():
	for happens in (answer(500, "KMSInternalException"), answer(503, "SlowDown"), answer(400, "ThrottlingException"), cut(),
			truncated(), garbage(status=500), slow(0.2)):
		world.fault(happens, times=3)
	outcome = queue.Queue()
	def one(who, number, key, recipient):
		context = {"who": who, "n": str(number)}
		try:
			with world.client(who) as c:
				got = c.ask("GenerateDataKey", key_spec="AES_256", encryption_context=context, recipient=recipient.snake_field)
				if "output" not in got:
					outcome.put(("error", got))
					return
				plain = recipient.open(got["output"]["ciphertext_for_recipient"])
				same = key.open(base64.b64decode(got["output"]["ciphertext_blob"]), context) == plain
				outcome.put(("good" if same else "crossed", got))
		except BaseException as why:
			outcome.put(("lost", repr(why)))
	threads = []
	for n in range(100):
		threads += [threading.Thread(target=one, args=("tee-k", n, world.key_k, world.tee_k)),
			    threading.Thread(target=one, args=("tee-t", n, world.key_t, world.tee_t))]
	for t in threads:
		t.start()
	for t in threads:
		t.join()
	got = [outcome.get() for _ in range(200)]
	bad = [g for g in got if g[0] in ("lost", "crossed")]
	equal(bad, [])
	# A request that meets three faults in a row is told so; the retry quota bounds how many try again.
	errors = [g[1]["error"] for g in got if g[0] == "error"]
	true(len(errors) <= 21 and all(e.startswith("KMS GenerateDataKey failed: ") for e in errors), repr(errors[:3]))
	world.aws.faults.clear()


@case
def a_reload_leaves_open_requests_their_answers():
	before = len(world.calls())
	world.fault(slow(0.5))
	with world.client() as k, world.client() as idle:
		data_key(idle)
		k.send(ask("GenerateDataKey", key_spec="AES_256"))
		until(lambda: len(world.calls()) > before, "the call is under way")
		world.proxy.reload()
		true("output" in k.answer(), "no output")
		# Who waits for nothing is let go, in a moment.
		equal(read_all(idle.s), b"")
	with world.client() as k:
		true("output" in data_key(k), "the new engine does not answer")


@case
def nothing_secret_is_in_the_logs():
	for w in (world, hasty, few, slow_rate, narrow, poor, lonely):
		w.no_secrets([w.tee_k.document, w.tee_t.document])
		for s in w.calls():
			true(s.headers["authorization"].rsplit("=", 1)[1] not in w.proxy.log(), "a signature is in the log")


run()
