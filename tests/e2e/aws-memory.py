#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Credentials that are over, and what enclaves sent, are in no memory of the engine any more."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from kms_test import *

if os.geteuid() != 0:
	skip_all("only root may read the memory of the engine")

ROLE = "arn:aws:iam::111122223333:role/memory"
aws = one_aws()[0]
aws.roles[ROLE] = 16
aws.instance_role, aws.instance = "web", aws.session(lifetime=16)
first = aws.instance
proxy = Teeproxy("""
global workers 1
enclave tee-k cid 16
aws {
	region eu-west-1
	credentials imds
%s}
frontend kms {
	listen unix:$DIR/k.sock as tee-k
	from tee-k -> key %s role %s
}
""" % (aws.settings(), ARN_K, ROLE), env={**{k: "" for k in os.environ if k.startswith("AWS_")}, "HOME": "/"})


def found(what):
	"""The names of what is in the engine's memory."""
	engine, = proxy.engines()
	there = set()
	with open("/proc/%d/maps" % engine) as maps, open("/proc/%d/mem" % engine, "rb", 0) as mem:
		for line in maps:
			m = re.match(r"(\w+)-(\w+) (\S+)", line)
			begin, end = int(m.group(1), 16), int(m.group(2), 16)
			if not m.group(3).startswith("rw"):
				continue
			if end - begin > 1 << 34:
				raise Skip("a sanitizer's memory is too much to look through")
			mem.seek(begin)
			try:
				data = mem.read(end - begin)
			except OSError:
				continue
			there |= {name for name, needle in what.items() if needle in data}
	return there


@case
def old_credentials_are_gone_and_the_new_ones_are_there():
	with Client("unix:%s/k.sock" % DIR) as k:
		k.output("DescribeKey", key_id="")
	assumed = aws.assumed[-1]
	now = {"the instance's secret": first.secret.encode(), "the role's token": assumed.token.encode()}
	equal(found(now), set(now), "while they are good")
	second = aws.instance = aws.session()
	proxy.wait_log("credentials for this process", 2)
	proxy.wait_log("credentials for arn", 2)
	with Client("unix:%s/k.sock" % DIR) as k:
		k.output("DescribeKey", key_id="")
	old = {"the instance's secret": first.secret.encode(), "the instance's token": first.token.encode(),
	       "the role's secret": assumed.secret.encode(), "the role's token": assumed.token.encode()}
	equal(found({**old, "the new": second.secret.encode()}), {"the new"})


@case
def what_an_enclave_sent_and_got_is_gone():
	plain, enclave = b64(os.urandom(48)), Recipient()
	with Client("unix:%s/k.sock" % DIR) as k:
		k.output("Encrypt", Plaintext=plain, KeyId="")
		got = k.output("GenerateDataKey", key_spec="AES_256", recipient=enclave.snake_field)
	enclave.open(got["ciphertext_for_recipient"])
	with Client("unix:%s/k.sock" % DIR) as k:
		k.output("DescribeKey", key_id="")
	equal(found({"plaintext": plain.encode(), "sealed": got["ciphertext_for_recipient"].encode()[:80],
		     "blob": got["ciphertext_blob"].encode(), "attestation": b64(enclave.document).encode()[-80:]}), set())


run()
