# SPDX-License-Identifier: Apache-2.0
"""Keys as AWS KMS has them, with real cryptography, and the enclave's side of it.

A ciphertext blob is AES-256-GCM under the key's own secret, bound to the key and to the encryption
context.  What goes to a Recipient is a CMS EnvelopedData to the public key in its attestation
document (RSAES_OAEP_SHA_256, AES-256-CBC), as Nitro enclaves get it; Recipient.open() reads it.

	key = Key("arn:aws:kms:eu-west-1:111122223333:key/1111...", aliases=["alias/tee-k"])
	enclave = Recipient()
	enclave.field                      # {"AttestationDocument": b64, "KeyEncryptionAlgorithm": ...}
	enclave.open(ciphertext_for_recipient)
"""
import base64
import json
import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

OAEP = rsa_padding.OAEP(mgf=rsa_padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
SPKI = dict(encoding=serialization.Encoding.DER, format=serialization.PublicFormat.SubjectPublicKeyInfo)


class AwsError(Exception):
	"""An answer that is an error: AWS's code and message, and HTTP's status."""

	def __init__(self, code, message="", status=400):
		super().__init__(code, message)
		self.code, self.message, self.status = code, message, status


def b64(data):
	return base64.b64encode(data).decode()


def unb64(text, what):
	try:
		return base64.b64decode(text, validate=True)
	except (TypeError, ValueError):
		raise AwsError("SerializationException", "%s is not base64" % what) from None


# ------------------------------------------------------------------ DER, CBOR

def der(tag, *parts):
	body = b"".join(parts)
	n = len(body)
	size = bytes([n]) if n < 128 else (lambda s: bytes([0x80 | len(s)]) + s)(n.to_bytes((n.bit_length() + 7) // 8, "big"))
	return bytes([tag]) + size + body


def oid(text):
	numbers = [int(n) for n in text.split(".")]
	out = bytearray([numbers[0] * 40 + numbers[1]])
	for n in numbers[2:]:
		septets = [n & 0x7f]
		while n > 0x7f:
			n >>= 7
			septets.insert(0, 0x80 | n & 0x7f)
		out += bytes(septets)
	return der(0x06, bytes(out))


def der_read(data, at=0):
	"""tag, content, offset behind it."""
	tag, n, at = data[at], data[at + 1], at + 2
	if n & 0x80:
		size = n & 0x7f
		n, at = int.from_bytes(data[at:at + size], "big"), at + size
	return tag, data[at:at + n], at + n


def der_list(data):
	out, at = [], 0
	while at < len(data):
		tag, content, at = der_read(data, at)
		out.append((tag, content))
	return out


def cbor(value):
	def head(major, n):
		for size, code in ((24, None), (1 << 8, ">B"), (1 << 16, ">H"), (1 << 32, ">I")):
			if n < size:
				return bytes([major << 5 | n]) if code is None else \
					bytes([major << 5 | {">B": 24, ">H": 25, ">I": 26}[code]]) + struct.pack(code, n)
		return bytes([major << 5 | 27]) + struct.pack(">Q", n)
	if value is None:
		return b"\xf6"
	if isinstance(value, int):
		return head(0, value) if value >= 0 else head(1, -1 - value)
	if isinstance(value, bytes):
		return head(2, len(value)) + value
	if isinstance(value, str):
		return head(3, len(value.encode())) + value.encode()
	if isinstance(value, list):
		return head(4, len(value)) + b"".join(map(cbor, value))
	return head(5, len(value)) + b"".join(cbor(k) + cbor(v) for k, v in value.items())


def cbor_read(data, at=0):
	"""value, offset behind it."""
	major, n, at = data[at] >> 5, data[at] & 31, at + 1
	if 24 <= n <= 27:
		size = 1 << (n - 24)
		n, at = int.from_bytes(data[at:at + size], "big"), at + size
	elif n > 27:
		raise ValueError("CBOR of no fixed length")
	if major in (0, 1):
		return (n if major == 0 else -1 - n), at
	if major in (2, 3):
		if at + n > len(data):
			raise ValueError("CBOR cut short")
		piece = data[at:at + n]
		return (piece if major == 2 else piece.decode()), at + n
	if major == 6:
		return cbor_read(data, at)
	if major == 7:
		return {20: False, 21: True}.get(n), at
	out = []
	for _ in range(n * (2 if major == 5 else 1)):
		item, at = cbor_read(data, at)
		out.append(item)
	return (out if major == 4 else dict(zip(out[::2], out[1::2]))), at


# ------------------------------------------------------------------ the enclave

class Recipient:
	"""An enclave's key pair and its attestation document: COSE_Sign1 as the NSM makes it, though
	nobody who matters signed it."""

	def __init__(self, padding_bytes=0):
		self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
		payload = {"module_id": "i-0123456789abcdef0-enc0123456789abcdef", "digest": "SHA384",
			   "timestamp": 1700000000000, "pcrs": {0: bytes(48)}, "certificate": b"none",
			   "cabundle": [b"none"], "public_key": self.key.public_key().public_bytes(**SPKI),
			   "user_data": os.urandom(padding_bytes) or None, "nonce": None}
		self.document = cbor([cbor({1: -35}), {}, cbor(payload), bytes(96)])

	@property
	def field(self):
		"""As AWS wants it."""
		return {"AttestationDocument": b64(self.document), "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"}

	@property
	def snake_field(self):
		"""As an enclave says it to the proxy."""
		return {"attestation_document": b64(self.document), "key_encryption_algorithm": "RSAES_OAEP_SHA_256"}

	def open(self, envelope):
		"""The plaintext of a CiphertextForRecipient, as bytes or base64."""
		if isinstance(envelope, str):
			envelope = base64.b64decode(envelope, validate=True)
		_, content_info, _ = der_read(envelope)
		enveloped = der_list(der_list(der_list(content_info)[1][1])[0][1])
		_, recipients, content = enveloped[:3]
		wrapped = der_list(der_list(recipients[1])[0][1])[3][1]
		_, algorithm, (_, secret) = der_list(content[1])
		iv = der_list(algorithm[1])[1][1]
		return cbc(self.key.decrypt(wrapped, OAEP), iv, secret, decrypt=True)


def cbc(key, iv, data, decrypt=False):
	cipher, pad = Cipher(algorithms.AES(key), modes.CBC(iv)), padding.PKCS7(128)
	if decrypt:
		d, u = cipher.decryptor(), pad.unpadder()
		return u.update(d.update(data) + d.finalize()) + u.finalize()
	e, p = cipher.encryptor(), pad.padder()
	return e.update(p.update(data) + p.finalize()) + e.finalize()


def seal_to(recipient, plaintext):
	"""AWS's side: the Recipient field of a request, and what goes into CiphertextForRecipient."""
	if recipient.get("KeyEncryptionAlgorithm") != "RSAES_OAEP_SHA_256":
		raise AwsError("ValidationException", "KeyEncryptionAlgorithm must be RSAES_OAEP_SHA_256")
	try:
		document, _ = cbor_read(unb64(recipient.get("AttestationDocument"), "AttestationDocument"))
		payload, _ = cbor_read(document[2])
		public = serialization.load_der_public_key(payload["public_key"])
	except (ValueError, TypeError, KeyError, IndexError):
		raise AwsError("ValidationException", "The attestation document could not be parsed") from None
	key, iv = os.urandom(32), os.urandom(16)
	ski = hashes.Hash(hashes.SHA1())
	ski.update(payload["public_key"])
	sha256 = der(0x30, oid("2.16.840.1.101.3.4.2.1"))
	oaep = der(0x30, oid("1.2.840.113549.1.1.7"), der(0x30, der(0xa0, sha256),
		   der(0xa1, der(0x30, oid("1.2.840.113549.1.1.8"), sha256))))
	who = der(0x30, der(0x02, b"\x02"), der(0x80, ski.finalize()), oaep, der(0x04, public.encrypt(key, OAEP)))
	content = der(0x30, oid("1.2.840.113549.1.7.1"),
		      der(0x30, oid("2.16.840.1.101.3.4.1.42"), der(0x04, iv)), der(0x80, cbc(key, iv, plaintext)))
	enveloped = der(0x30, der(0x02, b"\x02"), der(0x31, who), content)
	return der(0x30, oid("1.2.840.113549.1.7.3"), der(0xa0, enveloped))


# ------------------------------------------------------------------ keys

class Key:
	"""One KMS key: symmetric, or for key agreement with spec="ECC_NIST_P256"."""

	def __init__(self, arn, aliases=(), spec="SYMMETRIC_DEFAULT"):
		self.arn, self.aliases, self.spec = arn, list(aliases), spec
		_, _, _, self.region, self.account, name = arn.split(":")
		self.id = name.split("/", 1)[1]
		self.secret = os.urandom(32)
		self.enabled = True
		self.private = ec.generate_private_key(ec.SECP256R1()) if spec == "ECC_NIST_P256" else None

	def names(self):
		"""All that may stand for it in KeyId."""
		yield self.arn
		yield self.id
		for alias in self.aliases:
			yield alias
			yield "arn:aws:kms:%s:%s:%s" % (self.region, self.account, alias)

	def seal(self, plaintext, context):
		nonce = os.urandom(12)
		return self.id.encode().ljust(40) + nonce + AESGCM(self.secret).encrypt(nonce, plaintext, bind(context))

	def open(self, blob, context):
		try:
			return AESGCM(self.secret).decrypt(blob[40:52], blob[52:], bind(context))
		except (InvalidTag, ValueError):
			raise AwsError("InvalidCiphertextException", "") from None


def bind(context):
	if not isinstance(context, dict) or not all(isinstance(v, str) for v in context.values()):
		raise AwsError("SerializationException", "EncryptionContext maps strings to strings")
	return json.dumps(context, sort_keys=True).encode()


class Keys:
	"""The operations of TrentService: operation(name, input, region, identity) -> output."""

	def __init__(self):
		self.keys = []
		self.plaintext_too = True	# worse than AWS: plaintext beside what is for the recipient

	def add(self, arn, **more):
		self.keys.append(Key(arn, **more))
		return self.keys[-1]

	def find(self, name, region, identity, operation):
		if not isinstance(name, str) or not name:
			raise AwsError("ValidationException", "1 validation error detected: KeyId must not be empty")
		for key in self.keys:
			local = key.region == region and (name.startswith("arn:") or key.account == identity.account)
			if local and name in key.names():
				if key.account != identity.account or key.arn in identity.denied:
					raise AwsError("AccessDeniedException",
						       "User: %s is not authorized to perform: kms:%s on resource: %s" %
						       (identity.arn, operation, key.arn))
				if not key.enabled:
					raise AwsError("DisabledException", "%s is disabled." % key.arn)
				return key
		raise AwsError("NotFoundException", "Key '%s' does not exist" % name)

	def operation(self, name, given, region, identity):
		function = getattr(self, "do_" + name, None)
		if not function:
			raise AwsError("UnknownOperationException", "")
		if given.get("DryRun"):
			self.find(given.get("KeyId"), region, identity, name)
			raise AwsError("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.", 412)
		return function(given, region, identity)

	def deliver(self, given, out, field, plaintext):
		"""Plaintext for whom asked for it, or sealed to the recipient."""
		recipient = given.get("Recipient")
		if recipient is not None:
			out["CiphertextForRecipient"] = b64(seal_to(recipient, plaintext))
		if recipient is None or self.plaintext_too:
			out[field] = b64(plaintext)
		return out

	def do_GenerateDataKey(self, given, region, identity):
		key = self.find(given.get("KeyId"), region, identity, "GenerateDataKey")
		sizes = {"AES_256": 32, "AES_128": 16}
		if ("KeySpec" in given) == ("NumberOfBytes" in given):
			raise AwsError("ValidationException", "Please specify either number of bytes or key spec.")
		if "KeySpec" in given and given["KeySpec"] not in sizes:
			raise AwsError("ValidationException", "1 validation error detected: Value at 'keySpec' failed")
		plaintext = os.urandom(sizes.get(given.get("KeySpec")) or given["NumberOfBytes"])
		out = {"CiphertextBlob": b64(key.seal(plaintext, given.get("EncryptionContext", {}))), "KeyId": key.arn}
		return self.deliver(given, out, "Plaintext", plaintext)

	def do_GenerateDataKeyPair(self, given, region, identity):
		key = self.find(given.get("KeyId"), region, identity, "GenerateDataKeyPair")
		if given.get("KeyPairSpec") != "ECC_NIST_P256":
			raise AwsError("ValidationException", "the stand-in makes pairs of ECC_NIST_P256 only")
		pair = ec.generate_private_key(ec.SECP256R1())
		private = pair.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8,
					     serialization.NoEncryption())
		out = {"KeyId": key.arn, "KeyPairSpec": "ECC_NIST_P256",
		       "PrivateKeyCiphertextBlob": b64(key.seal(private, given.get("EncryptionContext", {}))),
		       "PublicKey": b64(pair.public_key().public_bytes(**SPKI))}
		return self.deliver(given, out, "PrivateKeyPlaintext", private)

	def do_GenerateRandom(self, given, region, identity):
		return self.deliver(given, {}, "Plaintext", os.urandom(given.get("NumberOfBytes", 32)))

	def do_Encrypt(self, given, region, identity):
		key = self.find(given.get("KeyId"), region, identity, "Encrypt")
		plaintext = unb64(given.get("Plaintext"), "Plaintext")
		if not 1 <= len(plaintext) <= 4096:
			raise AwsError("ValidationException", "1 validation error detected: Value at 'plaintext' failed")
		return {"CiphertextBlob": b64(key.seal(plaintext, given.get("EncryptionContext", {}))),
			"EncryptionAlgorithm": given.get("EncryptionAlgorithm", "SYMMETRIC_DEFAULT"), "KeyId": key.arn}

	def do_Decrypt(self, given, region, identity):
		blob = unb64(given.get("CiphertextBlob"), "CiphertextBlob")
		own = next((k for k in self.keys if k.id.encode().ljust(40) == blob[:40]), None)
		if given.get("KeyId") is not None:
			key = self.find(given["KeyId"], region, identity, "Decrypt")
			if own and own is not key:
				raise AwsError("IncorrectKeyException",
					       "The key ID in the request does not identify a CMK that can perform this operation.")
		elif own:
			key = self.find(own.arn, region, identity, "Decrypt")
		if not own:
			raise AwsError("InvalidCiphertextException", "")
		plaintext = key.open(blob, given.get("EncryptionContext", {}))
		out = {"KeyId": key.arn, "EncryptionAlgorithm": given.get("EncryptionAlgorithm", "SYMMETRIC_DEFAULT")}
		return self.deliver(given, out, "Plaintext", plaintext)

	def do_DeriveSharedSecret(self, given, region, identity):
		key = self.find(given.get("KeyId"), region, identity, "DeriveSharedSecret")
		if not key.private:
			raise AwsError("InvalidKeyUsageException", "%s key usage is ENCRYPT_DECRYPT" % key.arn)
		if given.get("KeyAgreementAlgorithm") != "ECDH":
			raise AwsError("ValidationException", "KeyAgreementAlgorithm must be ECDH")
		try:
			peer = serialization.load_der_public_key(unb64(given.get("PublicKey"), "PublicKey"))
			secret = key.private.exchange(ec.ECDH(), peer)
		except (ValueError, TypeError):
			raise AwsError("ValidationException", "PublicKey is not a key of that curve") from None
		out = {"KeyId": key.arn, "KeyAgreementAlgorithm": "ECDH", "KeyOrigin": "AWS_KMS"}
		return self.deliver(given, out, "SharedSecret", secret)

	def do_DescribeKey(self, given, region, identity):
		key = self.find(given.get("KeyId"), region, identity, "DescribeKey")
		usage = "KEY_AGREEMENT" if key.private else "ENCRYPT_DECRYPT"
		return {"KeyMetadata": {"AWSAccountId": key.account, "Arn": key.arn, "CreationDate": 1.7e9,
			"CustomerMasterKeySpec": key.spec, "Description": "", "Enabled": True,
			"EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"], "KeyId": key.id, "KeyManager": "CUSTOMER",
			"KeySpec": key.spec, "KeyState": "Enabled", "KeyUsage": usage, "MultiRegion": False,
			"Origin": "AWS_KMS"}}
