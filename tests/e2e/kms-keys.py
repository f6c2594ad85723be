#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mode kms: an enclave uses its own keys and no other, however it names them and whoever it is."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from kms_test import *

world = World()		# tee-k: ARN_K and alias/tee-k; tee-t: ARN_T
any_key = World(rules="""
	from tee-k -> key any
	from tee-t -> key any allow encrypt""")
rules = World(rules="""
	from tee-k -> key alias/tee-k
	from tee-t -> drop
	from any -> reject""")
wide = World(rules="""
	from tee-t -> key %s
	from any -> key arn:aws:kms:eu-west-1:111122223333:alias/tee-k""" % ID_T)

# What leads to the other's key, or might to somebody who compares too kindly.
OTHERS = [
	ARN_T, ID_T, "alias/tee-t", "arn:aws:kms:eu-west-1:111122223333:alias/tee-t",
	ARN_T.upper(), ID_T.upper(), ID_T.replace("-", ""), "ALIAS/TEE-T", "Alias/tee-t", "alias/TEE-T", "alias/tee-T",
	" " + ARN_T, ARN_T + " ", "\t" + ID_T, ID_T + "\n", "\u00a0" + ID_T, ID_T + "\u0000", ARN_K + "\u0000" + ID_T,
	"key/" + ID_T, "/" + ID_T, "{" + ID_T + "}", "arn:aws:kms:::key/" + ID_T, "arn:aws:kms:eu-west-1:111122223333:" + ID_T,
	ARN_T.replace("eu-west-1", "us-east-1"), ARN_T.replace("111122223333", "999988887777"), ARN_T.replace("arn:aws:", "arn:aws-cn:"),
	ARN_K + "," + ARN_T, ARN_K + ID_T, ARN_K.replace(ID_K, "") + "../key/" + ID_T, ARN_K + "/../" + ID_T,
	"alias/tee-k/../tee-t", "alias/tee-k\u0000alias/tee-t", "alias/tee-\u03ba", "alias/tee-k ", "alias/tee-K", "ALIAS/tee-k",
	"alias/tee", "alias/tee-kt", "alias/", "alias/aws/kms", "mrk-" + ID_T.replace("-", ""), "*", "any", "null",
	ARN_K.upper(), ID_K[:-1], ID_K + "0", ARN_K[:-1], "arn:aws:kms:eu-west-1:111122223333:alias/tee-k",
	"arn:aws:kms:us-east-1:111122223333:key/" + ID_K, "x" * 100000,
]
OPERATIONS = {"GenerateDataKey": {"key_spec": "AES_256"}, "Decrypt": {"ciphertext_blob": "AAAA"}, "Encrypt": {"plaintext": "AAAA"},
	      "DescribeKey": {}, "GenerateDataKeyPair": {"key_pair_spec": "ECC_NIST_P256"}, "DeriveSharedSecret": {}}


@case
def no_name_leads_to_another_key():
	true(len(OTHERS) >= 40, "too few")
	before = len(world.calls())
	with world.client("tee-k") as k:
		for name in OTHERS:
			true(k.error("Decrypt", ciphertext_blob="AAAA", key_id=name).startswith("access denied: key "), repr(name))
	equal(len(world.calls()), before, "calls that left the machine")


@case
def no_operation_reaches_another_key():
	before = len(world.calls())
	with world.client("tee-k") as k, world.client("tee-t") as t:
		for operation, input in OPERATIONS.items():
			for c, name in ((k, ARN_T), (k, "alias/tee-t"), (t, ARN_K), (t, "alias/tee-k"), (t, ID_K)):
				true(c.error(operation, key_id=name, recipient=world.tee_k.snake_field, **input).startswith(
					"access denied: key " + name + ":"), "%s %s" % (operation, name))
	equal(len(world.calls()), before, "calls that left the machine")


@case
def no_spelling_of_the_field_does():
	before = len(world.calls())
	with world.client("tee-k") as k:
		for fields_ in ('"KEY_ID":"%s"', '"Key_Id":"%s"', '"key_id":"alias/tee-k","key_id":"%s"',
				'"key_id":"alias/tee-k","KEY_ID":"%s"', '"KEY_ID":"%s","key_id":null', '"k\\u0065y_id":"%s"',
				'"key_id":"x","KEY_ID":"alias/tee-k","key_id":"%s"'):
			k.send(('{"operation":"Decrypt","input":{"ciphertext_blob":"AAAA",%s}}' % fields_ % ARN_T).encode())
			true(k.answer()["error"].startswith("access denied: key "), fields_)
		for fields_ in ('"KeyId":"%s"', '"keyid":"%s"', '"key_id":"alias/tee-k","KEYID":"%s"', '"KeyId":"alias/tee-k","key_id":"%s"'):
			k.send(('{"operation":"Encrypt","input":{"plaintext":"AAAA",%s}}' % fields_ % ARN_T).encode())
			true(k.answer()["error"].startswith("access denied: key "), fields_)
	equal(len(world.calls()), before, "calls that left the machine")


@case
def fields_that_are_no_names_of_a_key_choose_none():
	with world.client("tee-k") as k:
		for name in ("KeyId", "keyId", "key-id", "key id", "key_id ", "keyid", "KeyArn"):
			k.output("GenerateDataKey", key_spec="AES_256", **{name: ARN_T})
			equal(world.calls()[-1].json()["KeyId"], ARN_K, name)
		k.send(b'{"operation":"GenerateDataKey","key_id":"%s","input":{"key_spec":"AES_256"}}' % ARN_T.encode())
		true("output" in k.answer(), "no output")
		equal(world.calls()[-1].json()["KeyId"], ARN_K)


@case
def own_names_of_own_keys():
	with world.client("tee-k") as k:
		for name, sent in ((ARN_K, ARN_K), (ID_K, ARN_K), ("alias/tee-k", "alias/tee-k"), ("", ARN_K), (None, ARN_K)):
			k.output("Encrypt", plaintext="AAAA", key_id=name)
			equal(world.calls()[-1].json()["KeyId"], sent)


@case
def a_blob_of_another_key_is_refused_by_aws():
	blob = b64(world.key_t.seal(b"theirs", {}))
	with world.client("tee-k") as k:
		for name in ("", None, ARN_K, ID_K, "alias/tee-k"):
			true("IncorrectKeyException" in k.error("Decrypt", ciphertext_blob=blob, key_id=name), repr(name))
			true(world.calls()[-1].json()["KeyId"] in (ARN_K, "alias/tee-k"), "another key was sent")


@case
def a_refusal_is_a_warning_with_the_enclaves_name():
	line = world.lines("level=warning msg=request .*key=%s .*enclave=|level=warning msg=request .*enclave=tee-k .*key=%s" % (ARN_T, ARN_T))[-1]
	equal(line["enclave"], "tee-k")
	equal(line["reason"], "request_refused")
	equal(line["error"], "not a key of this enclave, or not by that name")
	true(line["rule"].split(":")[1].isdigit() or ":" in line["rule"], line["rule"])


@case
def a_refusal_is_one_that_the_stock_client_does_not_try_again():
	with world.client("tee-k") as k:
		true("access denied" in k.error("Decrypt", key_id=ARN_T).lower(), "would be tried again")
		# Its list holds this too, and AWS's own refusal must not look like it.
		world.who.denied.add(ARN_K)
		text = k.error("Decrypt", ciphertext_blob="AAAA" * 20)
		world.who.denied.clear()
		true("AccessDeniedException" in text and "access denied" not in text.lower(), text)


@case
def a_peer_that_nobody_vouches_for_gets_no_key():
	with world.client("nobody") as n:
		n.send(ask("GenerateDataKey", key_spec="AES_256"))
		equal(n.answer(), {"error": "access denied: no rule gives this peer a key"})
		equal(n.answer(), None)
	world.lines("level=warning msg=request .*reason=no_route")


@case
def the_answer_to_a_stranger_survives_what_it_sends():
	with world.client("nobody") as n:
		with contextlib.suppress(ConnectionError):
			n.send(b"x" * 100000)
		equal(n.answer(), {"error": "access denied: no rule gives this peer a key"})


@case
def reject_and_drop():
	with rules.client("nobody") as n:
		equal(n.answer(), {"error": "access denied: no rule gives this peer a key"})
	with rules.client("tee-t") as t:
		equal(read_all(t.s), b"")
	with rules.client("tee-k") as k:
		k.output("Encrypt", plaintext="AAAA")
	rules.lines("reason=rejected")
	rules.lines("reason=dropped")


@case
def from_any_takes_strangers_too():
	with wide.client("nobody") as n, wide.client("tee-t") as t:
		n.output("Encrypt", plaintext="AAAA", key_id="alias/tee-k")
		equal(wide.calls()[-1].json()["KeyId"], "arn:aws:kms:eu-west-1:111122223333:alias/tee-k")
		t.output("Encrypt", plaintext="AAAA", key_id=ID_T)
		# The ARN of a key that the rule names by id alone is another word.
		true(t.error("Encrypt", plaintext="AAAA", key_id=ARN_T).startswith("access denied: key "), "let through")


@case
def key_any_takes_every_word():
	with any_key.client("tee-k") as k, any_key.client("tee-t") as t:
		for name in (ARN_K, ARN_T, ID_T, "alias/tee-t"):
			k.output("Encrypt", plaintext="AAAA", key_id=name)
			equal(any_key.calls()[-1].json()["KeyId"], name)
		true("ValidationException" in k.error("Encrypt", plaintext="AAAA"), "an empty KeyId is AWS's to refuse")
		equal(any_key.calls()[-1].json()["KeyId"], "")
		true(t.error("Decrypt").startswith("access denied: Decrypt: not among"), "not allowed")


@case
def two_enclaves_at_once_never_cross():
	wrong, right = [], []
	def one(who, key, recipient):
		with world.client(who) as c:
			for n in range(25):
				made = c.output("GenerateDataKey", key_spec="AES_256", recipient=recipient.snake_field)
				plain = recipient.open(made["ciphertext_for_recipient"])
				if key.open(base64.b64decode(made["ciphertext_blob"]), {}) != plain:
					wrong.append(who)
				if not c.error("Decrypt", key_id=ARN_T if who == "tee-k" else ARN_K).startswith("access denied"):
					wrong.append("let through " + who)
				right.append(who)
	threads = [threading.Thread(target=one, args=a) for a in (("tee-k", world.key_k, world.tee_k),
								  ("tee-t", world.key_t, world.tee_t)) * 4]
	for t in threads:
		t.start()
	for t in threads:
		t.join()
	equal(wrong, [])
	equal(sorted(right), ["tee-k"] * 100 + ["tee-t"] * 100)


run()
