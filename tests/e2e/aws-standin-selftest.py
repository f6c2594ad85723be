#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# The stand-in for AWS answers AWS's own client library as AWS does, and refuses what AWS refuses.
import os
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from aws_standin import *

import botocore.config
import botocore.exceptions
import botocore.session

aws = Aws()
key = aws.keys.add("arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555",
		   aliases=["alias/tee-k"])
other = aws.keys.add("arn:aws:kms:eu-west-1:111122223333:key/66666666-7777-8888-9999-000000000000")
agree = aws.keys.add("arn:aws:kms:eu-west-1:111122223333:key/77777777-7777-8888-9999-000000000000", spec="ECC_NIST_P256")
who = aws.session()
session = botocore.session.Session()


def client(service, by, region="eu-west-1", **more):
	return session.create_client(service, region_name=region, endpoint_url=aws.url, verify=aws.ca_file,
				     aws_access_key_id=by.access_key, aws_secret_access_key=by.secret,
				     aws_session_token=by.token,
				     config=botocore.config.Config(retries={"max_attempts": 0}, **more))


kms = client("kms", who)


def refused(code, function, **given):
	try:
		function(**given)
	except botocore.exceptions.ClientError as e:
		equal(e.response["Error"]["Code"], code)
		return e.response
	raise AssertionError("no %s" % code)


@case
def a_data_key_comes_back_from_its_blob():
	made = kms.generate_data_key(KeyId="alias/tee-k", KeySpec="AES_256")
	equal(kms.decrypt(CiphertextBlob=made["CiphertextBlob"])["Plaintext"], made["Plaintext"])
	equal(made["KeyId"], key.arn)


@case
def a_blob_is_bound_to_its_key_and_context():
	blob = kms.encrypt(KeyId=key.id, Plaintext=b"hello", EncryptionContext={"a": "b"})["CiphertextBlob"]
	refused("IncorrectKeyException", kms.decrypt, KeyId=other.arn, CiphertextBlob=blob)
	refused("InvalidCiphertextException", kms.decrypt, KeyId=key.arn, CiphertextBlob=blob)
	equal(kms.decrypt(KeyId=key.arn, CiphertextBlob=blob, EncryptionContext={"a": "b"})["Plaintext"], b"hello")


@case
def what_is_sealed_to_a_recipient_is_opened_by_openssl():
	enclave = Recipient()
	files = [os.path.join(DIR, name) for name in ("sealed.der", "enclave.pem")]
	with open(files[0], "wb") as f:
		f.write(seal_to(enclave.field, b"0123456789abcdef"))
	with open(files[1], "wb") as f:
		f.write(enclave.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
						  serialization.NoEncryption()))
	equal(openssl("cms", "-decrypt", "-inform", "DER", "-in", files[0], "-inkey", files[1]), "0123456789abcdef")
	with open(files[0], "rb") as f:
		equal(enclave.open(f.read()), b"0123456789abcdef")


@case
def a_shared_secret_is_the_same_on_both_sides():
	peer = ec.generate_private_key(ec.SECP256R1())
	public = peer.public_key().public_bytes(**SPKI)
	sent = {"KeyId": agree.arn, "KeyAgreementAlgorithm": "ECDH", "PublicKey": b64(public)}
	got = aws.keys.operation("DeriveSharedSecret", sent, "eu-west-1", who)
	equal(base64.b64decode(got["SharedSecret"]), peer.exchange(ec.ECDH(), agree.private.public_key()))


@case
def another_account_may_not_use_a_key_and_another_region_does_not_know_it():
	stranger = client("kms", aws.identity(account="999999999999"))
	refused("AccessDeniedException", stranger.describe_key, KeyId=key.arn)
	refused("NotFoundException", client("kms", who, region="us-east-1").describe_key, KeyId=key.arn)


@case
def a_wrong_secret_an_unknown_key_and_a_foreign_token_are_refused():
	good = aws.session()
	forged = Identity(good.access_key, "not it", good.token, ACCOUNT, "", None)
	refused("InvalidSignatureException", client("kms", forged).describe_key, KeyId=key.arn)
	stolen = Identity(good.access_key, good.secret, who.token, ACCOUNT, "", None)
	refused("UnrecognizedClientException", client("kms", stolen).describe_key, KeyId=key.arn)
	unknown = Identity("AKIAUNKNOWN", good.secret, None, ACCOUNT, "", None)
	refused("UnrecognizedClientException", client("kms", unknown).describe_key, KeyId=key.arn)


@case
def a_token_that_is_over_is_refused():
	late = aws.session()
	late.expire()
	refused("ExpiredTokenException", client("kms", late).describe_key, KeyId=key.arn)


def by_hand(change):
	"""A request that botocore signs, changed before it goes."""
	body, host = json.dumps({"KeyId": key.arn}), aws.url[8:]
	asked = botocore.awsrequest.AWSRequest("POST", aws.url + "/", data=body, headers={
		"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "TrentService.DescribeKey", "Host": host})
	signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(who.access_key, who.secret, who.token), "kms", "eu-west-1")
	signer.add_auth(asked)
	headers = change({k: v for k, v in asked.headers.items()})
	with tls_connect(aws.port, "localhost", trust=aws.ca_file) as s:
		lines = ["%s: %s" % pair for pair in headers.items() if pair[0] != "Host"]
		return json.loads(request(s, host, "/", "POST", lines, body.encode()).body)


@case
def headers_that_are_not_signed_are_refused():
	true("KeyMetadata" in by_hand(dict), "unchanged it is good")
	equal(by_hand(lambda h: {**h, "X-Amz-More": "1"})["__type"], "InvalidSignatureException")
	equal(by_hand(lambda h: {k: v for k, v in h.items() if k != "Authorization"})["__type"],
	      "MissingAuthenticationTokenException")
	equal(by_hand(lambda h: {**h, "Authorization": h["Authorization"].replace("content-type;", "")})["__type"],
	      "InvalidSignatureException")


@case
def a_role_is_assumed_and_its_credentials_are_good():
	role = "arn:aws:iam::444455556666:role/tee"
	far = aws.keys.add("arn:aws:kms:eu-west-1:444455556666:key/88888888-7777-8888-9999-000000000000")
	aws.roles[role] = 900
	got = client("sts", who).assume_role(RoleArn=role, RoleSessionName="tee")["Credentials"]
	by = aws.assumed[-1]
	equal((got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"]), (by.access_key, by.secret, by.token))
	client("kms", by).describe_key(KeyId=far.arn)
	refused("AccessDenied", client("sts", who).assume_role, RoleArn=role + "2", RoleSessionName="tee")


@case
def faults_happen_in_order_and_to_whom_they_are_meant():
	aws.fault(answer(503, "KMSInternalException"), operation="DescribeKey")
	aws.fault(cut(), operation="DescribeKey")
	aws.fault(garbage(), operation="Decrypt")
	equal(refused("KMSInternalException", kms.describe_key, KeyId=key.arn)["ResponseMetadata"]["HTTPStatusCode"], 503)
	try:
		kms.describe_key(KeyId=key.arn)
		raise AssertionError("it was cut")
	except botocore.exceptions.HTTPClientError:
		pass
	kms.describe_key(KeyId=key.arn)
	equal([s.fault for s in aws.requests(operation="DescribeKey")[-3:]], ["answer", "cut", None])
	equal(len(aws.faults), 1, "faults left")


run()
