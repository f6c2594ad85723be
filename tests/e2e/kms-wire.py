#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mode kms on the wire: however requests are cut, what is no JSON, who is slow, who leaves."""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from kms_test import *

world = World("request-size 64k")
short = World("""request-size 64k
	timeout hello 1s
	timeout stalled 300ms""")
patient = World("timeout idle 300ms")
small = encode(ask("Encrypt", plaintext=b64(b"hello"), key_id="alias/tee-k"))


def good(answer):
	equal(sorted(answer["output"]), ["CiphertextBlob", "EncryptionAlgorithm", "KeyId", "ResultMetadata"])
	return answer


def cut_up(pieces, expected):
	with world.client() as k:
		for piece in pieces:
			k.send(piece)
		return [k.answer() for _ in range(expected)]


@case
def a_whole_request_gets_one_answer_without_a_delimiter():
	with world.client() as k:
		k.send(small)
		k.half_close()
		raw = read_all(k.s)
	true(raw.startswith(b'{"output":{"CiphertextBlob":"') and raw.endswith(b'"ResultMetadata":{}}}'), repr(raw))


@case
def a_request_byte_by_byte():
	good(cut_up([bytes([b]) for b in small], 1)[0])


@case
def a_request_cut_at_each_place():
	for at in range(1, len(small), 7):
		good(cut_up([small[:at], small[at:]], 1)[0])


@case
def requests_cut_at_random():
	seed = random.randrange(1 << 32)
	print("# seed %d" % seed)
	dice = random.Random(seed)
	for _ in range(10):
		stream = b"".join(encode(ask("GenerateDataKey", key_spec="AES_256",
					     encryption_context={"n": str(n)})) for n in range(5))
		cuts = sorted(dice.sample(range(1, len(stream)), 12))
		pieces = [stream[a:b] for a, b in zip([0] + cuts, cuts + [len(stream)])]
		true(all("output" in a for a in cut_up(pieces, 5)), "an answer is missing")


@case
def pipelined_requests_are_answered_in_order():
	names = ["op-%d" % n for n in range(200)]
	with world.client() as k:
		k.send(b"".join(encode({"operation": n}) for n in names))
		for n in names:
			equal(k.answer(), {"error": "unsupported operation: " + n})


@case
def pipelined_calls_are_answered_in_order():
	sizes = [1 + n % 60 for n in range(30)]
	with world.client() as k:
		blobs = []
		k.send(b"".join(encode(ask("Encrypt", plaintext=b64(b"x" * n), key_id="alias/tee-k")) for n in sizes))
		for n in sizes:
			blobs.append(good(k.answer())["output"]["CiphertextBlob"])
			equal(world.key_k.open(base64.b64decode(blobs[-1]), {}), b"x" * n)


@case
def requests_without_anything_between_them():
	answers = cut_up([small.strip() * 3], 3)
	for a in answers:
		good(a)


@case
def white_space_around_requests_is_nothing():
	good(cut_up([b" \r\n\t" * 10000 + small + b"\n\n  "], 1)[0])


@case
def a_client_that_half_closes_gets_all_its_answers():
	with world.client() as k:
		k.send(small * 5)
		k.half_close()
		for _ in range(5):
			good(k.answer())
		equal(k.answer(), None)


@case
def a_client_that_ends_without_a_request_hears_nothing():
	with world.client() as k:
		k.half_close()
		equal(read_all(k.s), b"")
	world.lines("reason=no_hello")


@case
def a_request_cut_short_by_the_end():
	with world.client() as k:
		k.send(small[:40])
		k.half_close()
		true(k.answer()["error"].startswith("invalid request: the stream ended inside a value"), "another error")
		equal(k.answer(), None)


@case
def a_number_that_only_the_end_ends():
	with world.client() as k:
		k.send(b"17")
		k.half_close()
		equal(k.answer(), {"error": "invalid request: expected an object"})
		equal(k.answer(), None)


@case
def what_is_not_json_gets_an_error_and_the_end():
	for bad in (b"GET / HTTP/1.1\r\n\r\n", b"{]", b"{\"a\":1,}", b"}", b"\x00", b"\x16\x03\x01\x02\x00", b"{'a':1}",
		    b"{\"operation\":\"\x01\"}", b"{\"a\":tru1}", b"nul1"):
		with world.client() as k:
			k.send(bad)
			true(k.answer()["error"].startswith("invalid request: "), repr(bad))
			equal(k.answer(), None, repr(bad))


@case
def the_error_reaches_a_client_that_goes_on_sending():
	with world.client() as k:
		k.send(b"{]" + b"x" * 200000)
		true(k.answer()["error"].startswith("invalid request: "), "no error")
		equal(k.answer(), None)


@case
def what_stands_before_the_bad_bytes_is_answered():
	with world.client() as k:
		k.send(small + small + b"}")
		good(k.answer())
		good(k.answer())
		true(k.answer()["error"].startswith("invalid request: "), "no error")
		equal(k.answer(), None)


@case
def a_bad_field_is_an_error_and_the_connection_goes_on():
	with world.client() as k:
		for bad in ({"operation": 7}, [1, 2], 17, None, "x", {"operation": "Decrypt"}, {"operation": "Nothing"},
			    ask("Decrypt", ciphertext_blob="%"), ask("Decrypt", recipient=1), {}):
			k.send(bad)
			true("error" in k.answer(), repr(bad))
		k.send(small)
		good(k.answer())


@case
def a_request_of_the_largest_size_passes_and_one_more_byte_does_not():
	head, tail = b'{"operation":"Nothing","input":{"x":"', b'"}}'
	size = 64 * 1024
	for more in (0, 1):
		with world.client() as k:
			k.send(head + b"x" * (size - len(head) - len(tail) + more) + tail)
			if more:
				equal(k.answer(), {"error": "invalid request: the value is too large: more than 65536 bytes"})
				equal(k.answer(), None)
			else:
				equal(k.answer(), {"error": "unsupported operation: Nothing"})
				k.send(small)
				good(k.answer())


@case
def a_request_of_one_mebibyte_by_default():
	document = Recipient(padding_bytes=500000)
	with patient.client() as k:
		out = k.output("GenerateDataKey", key_spec="AES_256", recipient=document.snake_field)
		equal(len(document.open(out["ciphertext_for_recipient"])), 32)
		k.send(b'{"x":"' + b"x" * (1 << 20))
		true("too large" in k.answer()["error"], "no error")


@case
def depth_is_bounded():
	with world.client() as k:
		k.send(b'{"operation":"Nothing","x":' + b"[" * 63 + b"1" + b"]" * 63 + b"}")
		equal(k.answer(), {"error": "unsupported operation: Nothing"})
		k.send(b'{"operation":"Nothing","x":' + b"[" * 64 + b"1" + b"]" * 64 + b"}")
		true(k.answer()["error"].startswith("invalid request: "), "no error")
		equal(k.answer(), None)


@case
def what_a_request_holds_is_bounded():
	for bad in (b"{},", b"[],", b"0,"):
		with patient.client() as k, contextlib.suppress(ConnectionError):
			k.send((b'{"operation":"Nothing","x":[' + bad * (1 << 20))[:1 << 20])
			true(k.answer()["error"].startswith("invalid request: too many objects, arrays or elements, at byte "), repr(bad))
			equal(k.answer(), None)
	with patient.client() as k:
		k.send(ask("Encrypt", plaintext=list(range(256)) * 16, unknown=[{}] * 1000))
		good(k.answer())
		k.send(b'{"operation":"Nothing","x":"' + b"{[," * 100000 + b'"}')
		equal(k.answer(), {"error": "unsupported operation: Nothing"})


@case
def the_stock_client_gets_an_answer_on_a_connection_each():
	for _ in range(20):
		with world.client() as k:
			good(k.ask("Encrypt", plaintext=b64(b"x"), key_id=ARN_K))


@case
def a_first_request_that_does_not_end_is_closed_silently():
	with short.client() as k:
		k.send(small[:20])
		equal(read_all(k.s), b"")
	short.lines("reason=hello_timeout")


@case
def bytes_that_trickle_do_not_help():
	with short.client() as k, contextlib.suppress(BrokenPipeError, ConnectionResetError):
		for byte in b" " * 10000:
			k.send(bytes([byte]))
			time.sleep(0.01)
		raise AssertionError("never closed")
	short.lines("reason=hello_timeout", 2)


@case
def a_second_request_has_its_own_time():
	with short.client() as k:
		k.output("Encrypt", plaintext=b64(b"x"))
		k.send(small[:20])
		equal(read_all(k.s), b"")
	short.lines("reason=hello_timeout", 3)


@case
def an_idle_client_is_closed_silently():
	with patient.client() as k:
		k.output("Encrypt", plaintext=b64(b"x"))
		equal(read_all(k.s), b"")


@case
def a_client_that_takes_nothing_is_let_go():
	with short.client() as k:
		request = encode({"operation": "x" * 60000})
		rest = bytearray()
		k.s.setblocking(False)
		with contextlib.suppress(ConnectionError):
			def stuck():
				if not rest:
					rest.extend(request)
				with contextlib.suppress(BlockingIOError):
					del rest[:k.s.send(rest)]
				return "reason=stalled_timeout" in short.proxy.log()
			until(stuck, "the log tells of it")
	short.lines("reason=stalled_timeout")


@case
def what_is_sent_ahead_waits_in_the_socket():
	# One call hangs: the proxy takes no more than its buffer, so the sender is stopped.
	world.fault(hang())
	with world.client() as k:
		k.send(small)
		until(lambda: world.calls(fault="hang"), "the call is under way")
		k.s.setblocking(False)
		sent = 0
		with contextlib.suppress(BlockingIOError):
			while sent < 16 << 20:
				sent += k.s.send(small * 100)
		true(sent < 8 << 20, "%d bytes were taken" % sent)
		world.aws.release()
		k.s.settimeout(WAIT)
		true(k.answer(), "no answer")


@case
def a_client_that_leaves_while_its_call_is_under_way():
	before = len(world.calls())
	world.fault(hang())
	k = world.client()
	k.send(small)
	until(lambda: len(world.calls()) > before, "the call is under way")
	k.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
	k.s.close()
	world.aws.release()
	with world.client() as k:
		k.send(small)
		good(k.answer())


run()
