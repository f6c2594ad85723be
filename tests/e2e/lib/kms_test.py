# SPDX-License-Identifier: Apache-2.0
"""What the tests of mode kms share: an enclave's side of the wire, and a proxy before the stand-in.

	from kms_test import *			# after teeproxy_test; brings aws_standin too

	world = World()				# aws, keys and recipients of two enclaves, a proxy
	with world.client("tee-k") as k:
		out = k.ask("GenerateDataKey", key_spec="AES_256", recipient=world.tee_k.snake_field)
		world.tee_k.open(out["output"]["ciphertext_for_recipient"])

tee-k and tee-t are told apart by the socket that they connect to (`as`); "nobody" is a third
socket that vouches for no one.
"""
import functools

from teeproxy_test import *
from aws_standin import *

ARN_K = "arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555"
ARN_T = "arn:aws:kms:eu-west-1:111122223333:key/66666666-7777-8888-9999-000000000000"
ID_K, ID_T = (arn.split("/")[1] for arn in (ARN_K, ARN_T))


class Client:
	"""One connection: JSON values in both directions, without delimiters on the way back."""

	def __init__(self, address):
		self.s = connect_to(address)
		self.text = ""
		self.ended = False

	def __enter__(self):
		return self

	def __exit__(self, *_):
		self.s.close()

	def send(self, what):
		"""Bytes, or a request as the stock client writes it."""
		self.s.sendall(what if isinstance(what, bytes) else encode(what))

	def half_close(self):
		self.s.shutdown(socket.SHUT_WR)

	def answer(self):
		"""The next answer; None at the end."""
		while True:
			with contextlib.suppress(ValueError):
				value, end = json.JSONDecoder().raw_decode(self.text)
				self.text = self.text[end:]
				return value
			piece = self.s.recv(65536)
			if not piece:
				equal(self.text, "", "bytes that are no answer")
				return None
			self.text += piece.decode()

	def ask(self, operation, **input):
		self.send(ask(operation, **input))
		return self.answer()

	def output(self, operation, **input):
		got = self.ask(operation, **input)
		true(got and "output" in got, "%s: %r" % (operation, got))
		return got["output"]

	def error(self, operation, **input):
		got = self.ask(operation, **input)
		true(got and "error" in got, "%s: %r" % (operation, got))
		return got["error"]


def ask(operation, **input):
	return {"operation": operation, "service_name": "tee_k", "input": input}


def encode(request):
	"""As Go's json.Encoder does: keys in order, a line end behind it."""
	return json.dumps(request, sort_keys=True, separators=(",", ":")).encode() + b"\n"


@functools.lru_cache(None)
def one_aws():
	"""The stand-in that all worlds of a test share, and the keys of both enclaves."""
	aws = Aws(names=["kms.aws.test"])
	return aws, aws.keys.add(ARN_K, aliases=["alias/tee-k"]), aws.keys.add(ARN_T, aliases=["alias/tee-t"])


class World:
	"""more: lines of the frontend; aws, tee_k: of those sections; rest: other sections."""

	def __init__(self, more="", aws="", tee_k="", rest="", rules=None, workers=2, env=None, level="debug", ports=(), endpoints=None):
		self.aws, self.key_k, self.key_t = one_aws()
		self.tee_k, self.tee_t = Recipient(), Recipient()
		self.who = self.aws.identity(token=True)
		self.dir = tempfile.mkdtemp(dir=DIR)
		rules = rules or """
	from tee-k -> key $ARN_K alias/tee-k
	from tee-t -> key $ARN_T"""
		self.config = """
global { workers %d
	grace 5s
	log stderr level %s }
enclave tee-k { cid 16
	%s }
enclave tee-t cid 17
aws {
	region eu-west-1
	credentials env
%s%s
}
frontend kms {
	listen unix:$W/tee-k.sock as tee-k
	listen unix:$W/tee-t.sock as tee-t
	listen unix:$W/nobody.sock
	%s%s
}
%s""" % (workers, level, tee_k, self.aws.settings() if endpoints is None else endpoints, aws, more, rules, rest)
		env = dict(self.who.env() if env is None else env, W=self.dir, ARN_K=ARN_K, ARN_T=ARN_T)
		self.proxy = Teeproxy(self.config, env=env, ports=ports)
		self.secrets = []

	def client(self, who="tee-k"):
		return Client("unix:%s/%s.sock" % (self.dir, who))

	def calls(self, **match):
		"""Requests to KMS that this world's proxy signed."""
		return self.aws.requests(service="kms", access_key=self.who.access_key, **match)

	def fault(self, happens, times=1, **match):
		self.aws.fault(happens, times, service="kms", access_key=self.who.access_key, **match)

	def lines(self, pattern, count=1):
		"""Log lines of requests that match, as dictionaries."""
		self.proxy.wait_log(pattern, count)
		return [fields(line) for line in self.proxy.log().splitlines() if re.search(pattern, line)]

	def no_secrets(self, more=()):
		"""Nothing secret in the log, whole or in part: raw, base64 or hex."""
		log = self.proxy.log()
		for secret in self.aws.secrets() + self.secrets + list(more):
			forms = [secret] if isinstance(secret, str) else \
				[b64(secret), secret.hex(), secret.decode("latin-1")]
			for form in forms:
				true(form[:16] not in log and form[-16:] not in log, "a secret is in the log: %s" % form[:16])


def fields(line):
	out = {}
	for key, quoted, bare in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))', line):
		out[key] = quoted or bare
	return out
