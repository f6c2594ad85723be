#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mode kms: every operation through the stand-in, with real envelopes; nothing goes back in clear."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from kms_test import *

world = World()
strict = World("require recipient")
bound = World(rules="""
	from tee-k -> key $ARN_K context app=k "env=p r" allow decrypt encrypt generate-data-key
	from tee-t -> key $ARN_T context app=t""")
AGREE = "arn:aws:kms:eu-west-1:111122223333:key/77777777-8888-9999-aaaa-bbbbbbbbbbbb"
agree_key = world.aws.keys.add(AGREE, spec="ECC_NIST_P256")
FAR = "arn:aws:kms:us-east-2:111122223333:key/88888888-9999-aaaa-bbbb-cccccccccccc"
far_key = world.aws.keys.add(FAR)
more = World(rules="""
	from tee-k -> key %s %s
	from tee-t -> key $ARN_T allow describe-key""" % (AGREE, FAR))
to_k = world.tee_k.snake_field


def last(of=world):
	"""What AWS was asked last."""
	return of.calls()[-1].json()


def golden_key(raw):
	"""The members of an answer, in their order."""
	return list(json.loads(raw)["output"])


def raw_answer(of, operation, who="tee-k", **input):
	with of.client(who) as c:
		c.send(ask(operation, **input))
		c.half_close()
		return read_all(c.s).decode()


@case
def a_data_key_and_its_way_back():
	with world.client() as k:
		made = k.output("GenerateDataKey", key_spec="AES_256", recipient=to_k)
		plain = world.tee_k.open(made["ciphertext_for_recipient"])
		equal(len(plain), 32)
		back = k.output("Decrypt", ciphertext_blob=made["ciphertext_blob"], encryption_algorithm="SYMMETRIC_DEFAULT",
				recipient=to_k)
		equal(world.tee_k.open(back["ciphertext_for_recipient"]), plain)
		world.secrets += [plain]


@case
def each_enclave_has_its_own_key():
	with world.client("tee-k") as k, world.client("tee-t") as t:
		mine = k.output("GenerateDataKey", key_spec="AES_256", recipient=to_k)
		equal(last()["KeyId"], ARN_K)
		theirs = t.output("GenerateDataKey", key_spec="AES_256", recipient=world.tee_t.snake_field)
		equal(last()["KeyId"], ARN_T)
		# AWS itself refuses another key's blob, since the enclave's own key is always sent.
		for c, blob in ((k, theirs["ciphertext_blob"]), (t, mine["ciphertext_blob"])):
			true("IncorrectKeyException" in c.error("Decrypt", ciphertext_blob=blob, recipient=to_k), "no refusal")


@case
def shapes_of_generate_data_key():
	raw = raw_answer(world, "GenerateDataKey", key_spec="AES_256", recipient=to_k)
	true(re.fullmatch(r'\{"output":\{"ciphertext_blob":"[\w+/=]+","ciphertext_for_recipient":"[\w+/=]+"\}\}', raw), raw)
	equal(last(), {"KeyId": ARN_K, "KeySpec": "AES_256", "Recipient": world.tee_k.field})
	raw = raw_answer(world, "GenerateDataKey", key_spec="AES_256", recipient=None)
	true(re.fullmatch(r'\{"output":\{"ciphertext_blob":"[\w+/=]+","ciphertext_for_recipient":null\}\}', raw), raw)
	equal(last(), {"KeyId": ARN_K, "KeySpec": "AES_256"})


@case
def shapes_of_decrypt():
	with world.client() as k:
		blob = k.output("Encrypt", plaintext=b64(b"hello"))["CiphertextBlob"]
	raw = raw_answer(world, "Decrypt", ciphertext_blob=blob, key_id="", encryption_algorithm="SYMMETRIC_DEFAULT", recipient=to_k)
	true(re.fullmatch(r'\{"output":\{"ciphertext_for_recipient":"[\w+/=]+"\}\}', raw), raw)
	equal(last(), {"KeyId": ARN_K, "CiphertextBlob": blob, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
		       "Recipient": world.tee_k.field})
	equal(raw_answer(world, "Decrypt", ciphertext_blob=blob), '{"output":{"ciphertext_for_recipient":null}}')


@case
def shapes_of_encrypt():
	for fields_ in ({"KeyId": ARN_K, "Plaintext": b64(b"hello")}, {"keyid": ARN_K, "PLAINTEXT": b64(b"hello")},
			{"key_id": ARN_K, "plaintext": b64(b"hello")}, {"Plaintext": list(b"hello")}):
		raw = raw_answer(world, "Encrypt", **fields_)
		true(re.fullmatch(r'\{"output":\{"CiphertextBlob":"[\w+/=]+","EncryptionAlgorithm":"SYMMETRIC_DEFAULT",'
				  r'"KeyId":"%s","ResultMetadata":\{\}\}\}' % ARN_K, raw), raw)
		equal(last(), {"KeyId": ARN_K, "Plaintext": b64(b"hello")})
		equal(world.key_k.open(base64.b64decode(json.loads(raw)["output"]["CiphertextBlob"]), {}), b"hello")


@case
def a_key_pair():
	raw = raw_answer(world, "GenerateDataKeyPair", key_pair_spec="ECC_NIST_P256", recipient=to_k)
	equal(golden_key(raw), ["private_key_ciphertext_blob", "public_key", "key_id", "key_pair_spec", "ciphertext_for_recipient"])
	out = json.loads(raw)["output"]
	private = world.tee_k.open(out["ciphertext_for_recipient"])
	world.secrets += [private]
	equal(world.key_k.open(base64.b64decode(out["private_key_ciphertext_blob"]), {}), private)
	loaded = serialization.load_der_private_key(private, None)
	equal(b64(loaded.public_key().public_bytes(**SPKI)), out["public_key"])


@case
def random_bytes():
	raw = raw_answer(world, "GenerateRandom", number_of_bytes=48, recipient=to_k)
	equal(golden_key(raw), ["ciphertext_for_recipient"])
	equal(last(), {"NumberOfBytes": 48, "Recipient": world.tee_k.field})
	plain = world.tee_k.open(json.loads(raw)["output"]["ciphertext_for_recipient"])
	equal(len(plain), 48)
	world.secrets += [plain]


@case
def a_shared_secret():
	peer = ec.generate_private_key(ec.SECP256R1())
	raw = raw_answer(more, "DeriveSharedSecret", key_agreement_algorithm="ECDH",
			 public_key=b64(peer.public_key().public_bytes(**SPKI)), recipient=to_k)
	equal(golden_key(raw), ["key_id", "key_agreement_algorithm", "key_origin", "ciphertext_for_recipient"])
	secret = world.tee_k.open(json.loads(raw)["output"]["ciphertext_for_recipient"])
	equal(secret, peer.exchange(ec.ECDH(), agree_key.private.public_key()))
	more.secrets += [secret]


@case
def what_a_key_is():
	with world.client() as k:
		about = k.output("DescribeKey")["key_metadata"]
	equal(about["arn"], ARN_K)
	equal(about["aws_account_id"], "111122223333")
	equal(about["key_usage"], "ENCRYPT_DECRYPT")


@case
def a_dry_run_is_passed_on():
	with world.client() as k:
		true("DryRunOperationException" in k.error("GenerateDataKey", key_spec="AES_256", dry_run=True), "no dry run")
		equal(last()["DryRun"], True)
		true("DryRunOperationException" in k.error("Encrypt", Plaintext="AA==", DryRun=True), "no dry run")
		k.output("GenerateDataKey", key_spec="AES_256", dry_run=False)
		true("DryRun" not in last(), "false was sent")


@case
def grant_tokens_are_passed_on():
	with world.client() as k:
		k.output("GenerateDataKey", key_spec="AES_256", grant_tokens=["one", "two"])
		equal(last()["GrantTokens"], ["one", "two"])


@case
def a_context_goes_both_ways():
	context = {"app": "k", "name": "\u00e4 <&> \u2028 \U0001f600"}
	with world.client() as k:
		made = k.output("GenerateDataKey", key_spec="AES_256", encryption_context=context, recipient=to_k)
		equal(last()["EncryptionContext"], context)
		blob = made["ciphertext_blob"]
		equal(world.tee_k.open(k.output("Decrypt", ciphertext_blob=blob, encryption_context=context,
						recipient=to_k)["ciphertext_for_recipient"]),
		      world.tee_k.open(made["ciphertext_for_recipient"]))
		true("InvalidCiphertextException" in k.error("Decrypt", ciphertext_blob=blob), "decrypted without its context")


@case
def the_rules_context_is_added_to_each_call():
	with bound.client("tee-k") as k:
		for operation, input in (("GenerateDataKey", {"key_spec": "AES_256"}), ("Encrypt", {"plaintext": b64(b"x")}),
					 ("Encrypt", {"plaintext": b64(b"x"), "encryption_context": {"app": "k"}})):
			k.output(operation, **input)
			equal(last(bound)["EncryptionContext"], {"app": "k", "env": "p r"})
		out = k.output("GenerateDataKey", key_spec="AES_256", encryption_context={"more": "1"}, recipient=to_k)
		equal(last(bound)["EncryptionContext"], {"app": "k", "env": "p r", "more": "1"})
		k.output("Decrypt", ciphertext_blob=out["ciphertext_blob"], encryption_context={"more": "1"}, recipient=to_k)


@case
def the_rules_context_cannot_be_set_otherwise():
	before = len(bound.calls())
	with bound.client("tee-k") as k:
		for wrong in ({"app": "t"}, {"app": ""}, {"app": None}, {"app": "k", "env": "q"}):
			true(k.error("Decrypt", ciphertext_blob="AAAA", encryption_context=wrong).startswith(
				"access denied: encryption context "), repr(wrong))
		# The last of equal names is what counts.
		k.send(b'{"operation":"Encrypt","input":{"plaintext":"AA==","encryption_context":{"app":"k"},'
		       b'"EncryptionContext":{"app":"t"}}}')
		true(k.answer()["error"].startswith("access denied: encryption context app"), "let through")
	equal(len(bound.calls()), before)


@case
def only_operations_that_are_allowed():
	before = len(bound.calls())
	with bound.client("tee-k") as k, more.client("tee-t") as t:
		for operation in ("DescribeKey", "GenerateRandom", "GenerateDataKeyPair", "StoreEncryptedItem"):
			true(k.error(operation).startswith("access denied: %s: not among" % operation), operation)
		equal(t.output("DescribeKey")["key_metadata"]["arn"], ARN_T)
		true(t.error("Decrypt").startswith("access denied: Decrypt: not among"), "Decrypt")
	equal(len(bound.calls()), before)


@case
def a_recipient_where_it_is_required():
	before = len(strict.calls())
	with strict.client() as k:
		for input in ({}, {"recipient": None}, {"recipient": {}}, {"recipient": {"attestation_document": ""}},
			      {"recipient": {"attestation_document": None, "key_encryption_algorithm": "RSAES_OAEP_SHA_256"}},
			      {"recipient": {"attestation_document": []}}, {"Recipient_": to_k}):
			for operation in ("GenerateDataKey", "Decrypt", "Encrypt", "DescribeKey"):
				true(k.error(operation, key_spec="AES_256", **input).startswith("access denied: " + operation),
				     "%s %r" % (operation, input))
		equal(len(strict.calls()), before)
		out = k.output("GenerateDataKey", key_spec="AES_256", recipient=to_k)
		equal(len(world.tee_k.open(out["ciphertext_for_recipient"])), 32)


@case
def what_gives_secrets_alone_needs_a_recipient():
	before = len(world.calls())
	with world.client() as k:
		for operation in ("GenerateRandom", "GenerateDataKeyPair", "DeriveSharedSecret"):
			true(k.error(operation).startswith("access denied: %s: has no use without" % operation), operation)
	equal(len(world.calls()), before)


@case
def plaintext_of_aws_is_dropped():
	# The stand-in sends plaintext beside what is for the recipient, which AWS would not.
	equal(world.aws.keys.plaintext_too, True)
	for operation, input in (("GenerateDataKey", {"key_spec": "AES_256"}), ("GenerateRandom", {}),
				 ("GenerateDataKeyPair", {"key_pair_spec": "ECC_NIST_P256"})):
		raw = raw_answer(world, operation, recipient=to_k, **input)
		plain = world.tee_k.open(json.loads(raw)["output"]["ciphertext_for_recipient"])
		true(b64(plain) not in raw and "laintext" not in raw, "plaintext in %s" % operation)
		world.secrets += [plain]


@case
def a_keys_arn_gives_its_region():
	with more.client() as k:
		k.output("GenerateDataKey", key_id=FAR, key_spec="AES_256")
		equal(more.calls()[-1].region, "us-east-2")
		k.output("DescribeKey", key_id=AGREE)
		equal(more.calls()[-1].region, "eu-west-1")


@case
def items_without_a_store():
	with world.client() as k:
		equal(k.error("StoreEncryptedItem", data="AAAA", key="AAAA", filename="x"),
		      "failed to store cache item: no store is configured")
		equal(k.error("GetEncryptedItem", filename="x"), "encrypted item not found: x: no store is configured")
		equal(k.error("DeleteEncryptedItem", filename="x"), "failed to delete cache item: no store is configured")


@case
def a_store_is_refused_at_start():
	refused = Teeproxy("""
aws region eu-west-1
frontend kms {
	listen unix:$DIR/store.sock
	store dir $DIR/store
	from any -> key any
}
""", ready=False)
	equal(refused.wait_end(), 1)
	true("store has no engine yet" in refused.log(), refused.log())


@case
def each_request_has_a_log_line():
	with world.client() as k:
		k.output("GenerateDataKey", key_spec="AES_256", recipient=to_k)
		seen = world.calls()[-1]
	line = world.lines("operation=GenerateDataKey")[-1]
	equal(line["enclave"], "tee-k")
	equal(line["key"], ARN_K)
	equal(line["status"], "200")
	equal(line["attempts"], "1")
	equal(line["reason"], "done")
	equal(line["frontend"], "kms")
	true(re.fullmatch("[0-9a-f-]{36}", line["request_id"]), line["request_id"])
	true(int(line["total_ms"]) >= int(line["aws_ms"]) >= int(line["queued_ms"]) >= 0, repr(line))
	true(seen, "no call")


def in_memory(proxy, needles):
	"""Which of these bytes stand anywhere in what the proxy's processes have written."""
	found = set()
	for pid in [proxy.pid] + proxy.engines():
		with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as memory:
			for line in maps:
				first, last = (int(word, 16) for word in line.split()[0].split("-"))
				if " rw" not in line or last - first > 1 << 26:	# the latter is a sanitizer's own
					continue
				with contextlib.suppress(OSError):
					memory.seek(first)
					data = memory.read(last - first)
					found |= {n for n in needles if n in data}
	return found


@case
def nothing_of_a_plaintext_stays_in_memory():
	try:
		true(in_memory(world.proxy, [ARN_K.encode()]), "the configuration is not found: the search is blind")
	except PermissionError:
		raise Skip("the processes are not dumpable, which root alone passes over") from None
	texts = []
	with world.client() as k:
		for size in (30, 600, 4000):
			texts.append(b64(os.urandom(size)))
			k.send(encode(ask("Encrypt", plaintext=texts[-1]))[:size])
			k.send(encode(ask("Encrypt", plaintext=texts[-1]))[size:])
			good = k.answer()
			true("output" in good, repr(good))
			blob = good["output"]["CiphertextBlob"]
			k.output("Decrypt", ciphertext_blob=blob, recipient=to_k)
		made = k.output("GenerateDataKey", key_spec="AES_256", recipient=to_k)
		texts.append(b64(world.tee_k.open(made["ciphertext_for_recipient"])))
		needles = [text[at:at + 16].encode() for text in texts for at in range(0, len(text) - 16, 12)]
		until(lambda: not in_memory(world.proxy, needles), "no piece of a plaintext is left")


@case
def nothing_secret_is_in_the_logs():
	documents = [world.tee_k.document, world.tee_t.document]
	# The stand-in's blobs begin with the key's id, which is no secret.
	blobs = [base64.b64decode(s.json()[f])[40:] for w in (world, strict, bound, more) for s in w.calls()
		 for f in ("CiphertextBlob", "Plaintext") if f in s.json() and len(s.json()[f]) > 80]
	true(len(blobs) > 3, "no ciphertext to look for")
	for w in (world, strict, bound, more):
		w.no_secrets(documents + blobs)


run()
