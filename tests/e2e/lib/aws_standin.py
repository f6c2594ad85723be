# SPDX-License-Identifier: Apache-2.0
"""A stand-in for AWS on loopback: KMS and STS over HTTPS, the instance's metadata and the containers'
endpoints over HTTP.

	from aws_standin import *		# after teeproxy_test; ends the test as skipped without botocore

	aws = Aws()
	key = aws.keys.add("arn:aws:kms:eu-west-1:111122223333:key/...", aliases=["alias/tee-k"])
	who = aws.identity()			# .access_key, .secret, .token; who.env() for the environment
	proxy = Teeproxy("aws {\n" + aws.settings() + "}\n...", env=who.env())

settings() are the endpoints and the ca-file.

Every request to KMS and STS is judged as strictly as AWS's documentation says: the signature is
recomputed by botocore from what arrived, Host, X-Amz-Date, Content-Type and all X-Amz-* headers
must be signed, a header may not come twice, the clock may be off by five minutes, the scope must
name the service and the key's region, the token must be the identity's own and not over.

	aws.seen				# list of Seen, in the order of arrival
	aws.fault(answer(503), times=2, operation="Decrypt")	# the next two that match
	aws.faults				# those that have not happened yet

Faults: answer(status, code, message), raw(bytes), cut(), truncated(), garbage(), hang(), slow(s),
redirect(url), huge(n).  hang() lets go at aws.release() or at exit.
"""
import contextlib
import datetime
import json
import os
import re
import socket
import struct
import threading
import time
import urllib.parse
import uuid
from xml.sax.saxutils import escape

from aws_keys import *
from teeproxy_test import *

try:
	import botocore.auth
	import botocore.awsrequest
	import botocore.credentials
except ImportError:
	skip_all("python3-botocore is not here: apt-get install python3-botocore")

ACCOUNT = "111122223333"
SKEW = 300	# seconds that a request's clock may be off


class Identity:
	"""Whose signature is good; denied: ARNs of keys and roles that it may not use."""

	def __init__(self, access_key, secret, token, account, arn, expires):
		self.access_key, self.secret, self.token = access_key, secret, token
		self.account, self.arn, self.expires = account, arn, expires
		self.denied = set()

	def env(self):
		more = {"AWS_SESSION_TOKEN": self.token} if self.token else {}
		return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret, **more}

	def expire(self):
		"""From now on AWS says that its token is over."""
		self.expires = time.time() - 1

	def secrets(self):
		"""What may be in no log."""
		return [s for s in (self.secret, self.token) if s]


class Seen:
	"""One request: service ("kms", "sts", "logs", "imds", "container"), operation, access_key (None:
	not signed), region, headers (lower case), body, connection (a number), status and code of the
	answer (None: a fault that had none), fault (its name), began and ended (seconds of the
	monotonic clock; ended is None while it is under way)."""

	def __init__(self, **what):
		self.status = self.code = self.fault = self.ended = None
		self.began = time.monotonic()
		self.__dict__.update(what)

	def json(self):
		return json.loads(self.body)

	def form(self):
		return dict(urllib.parse.parse_qsl(self.body.decode()))

	def __repr__(self):
		return "<%s %s %s -> %s %s>" % (self.service, self.operation, self.access_key, self.status,
						self.code or self.fault or "")


# ------------------------------------------------------------------ faults

class Close(Exception):
	"""The connection ends here; reset: by RST."""

	def __init__(self, reset=False):
		super().__init__()
		self.reset = reset


def fault(function):
	"""A fault is made with arguments, and then called with (aws, seen); it gives raw bytes, an
	AwsError, or None for the usual answer."""
	def make(*args, **more):
		def happens(aws, seen):
			return function(aws, seen, *args, **more)
		happens.name = function.__name__
		return happens
	return make


@fault
def answer(_, __, status=500, code="InternalFailure", message="as ordered"):
	return AwsError(code, message, status)


@fault
def raw(_, __, data):
	return data


@fault
def cut(_, __):
	raise Close(reset=True)


@fault
def truncated(_, __, status=200):
	return b"HTTP/1.1 %d OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n{\"Key" % status


@fault
def garbage(_, __, status=200, data=b"\x00\xffthis is {not json"):
	return b"HTTP/1.1 %d OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: %d\r\n\r\n%s" % \
		(status, len(data), data)


@fault
def hang(aws, _):
	aws.released.wait(2 * WAIT)
	raise Close()


@fault
def slow(_, __, seconds):
	time.sleep(seconds)


@fault
def redirect(_, __, url, status=307):
	return b"HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, url.encode())


@fault
def huge(_, __, size, status=200):
	return b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n" % (status, size) + b"x" * size


# ------------------------------------------------------------------ signatures

def judge(aws, start, pairs, body, port, service):
	"""The Identity that signed a request, and the region of its scope; or raises AwsError."""
	method, target, _ = start.split(" ")
	headers = {}
	for name, value in pairs:
		if name in headers:
			raise AwsError("InvalidSignatureException", "%s came twice" % name)
		headers[name] = value
	given = headers.get("authorization")
	if not given:
		raise AwsError("MissingAuthenticationTokenException", "Missing Authentication Token")
	m = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/, ]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request, ?"
			 r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})", given)
	if not m:
		raise AwsError("IncompleteSignatureException", "Authorization cannot be read")
	access_key, day, region, scope_service, signed, signature = m.groups()
	signed = signed.split(";")
	if signed != sorted(set(signed)):
		raise AwsError("InvalidSignatureException", "SignedHeaders are not sorted")
	must = {"host", "x-amz-date"} | {n for n in headers if n.startswith("x-amz-") or n == "content-type"}
	for name in must - set(signed):
		raise AwsError("InvalidSignatureException", "'%s' must be a SignedHeader, but is none" % name)
	for name in set(signed) - set(headers):
		raise AwsError("InvalidSignatureException", "'%s' is named as a SignedHeader, but it does not exist" % name)
	if scope_service != service:
		raise AwsError("InvalidSignatureException", "Credential should be scoped to correct service: '%s'" % service)
	if not re.fullmatch(r"\d{8}T\d{6}Z", headers["x-amz-date"]) or headers["x-amz-date"][:8] != day:
		raise AwsError("InvalidSignatureException", "X-Amz-Date and scope do not agree")
	when = datetime.datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
	if abs(when.replace(tzinfo=datetime.timezone.utc).timestamp() - time.time()) > SKEW:
		raise AwsError("InvalidSignatureException", "Signature expired")
	if headers["host"] not in {"%s:%d" % (name, port) for name in aws.names}:
		raise AwsError("InvalidSignatureException", "Host is %r" % headers["host"])
	who = aws.identities.get(access_key)
	token = headers.get("x-amz-security-token")
	if not who or token != who.token:
		raise AwsError("UnrecognizedClientException", "The security token included in the request is invalid.")
	request = botocore.awsrequest.AWSRequest(method=method, url="https://" + headers["host"] + target, data=body,
						 headers={n: headers[n] for n in signed})
	request.context["timestamp"] = headers["x-amz-date"]
	signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(access_key, who.secret), service, region)
	ours = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
	if ours != signature:
		raise AwsError("InvalidSignatureException",
			       "The request signature we calculated does not match the signature you provided.")
	if who.expires and who.expires < time.time():
		raise AwsError("ExpiredTokenException", "The security token included in the request is expired")
	return who, region


# ------------------------------------------------------------------ the stand-in

def http(status, body, kind, headers=()):
	lines = ["HTTP/1.1 %d %s" % (status, "OK" if status == 200 else "No"), "Content-Type: " + kind,
		 "Content-Length: %d" % len(body), *headers]
	return "\r\n".join(lines + ["", ""]).encode() + body


class Aws:
	"""names: what the certificate is good for beside localhost, and Host may say."""

	def __init__(self, names=()):
		self.names = ["localhost", "127.0.0.1", *names]
		self.lock = threading.Lock()
		self.identities, self.seen, self.faults = {}, [], []
		self.keys = Keys()
		self.released = threading.Event()
		self.roles = {}			# ARN: seconds that its credentials are good for
		self.assumed = []		# Identity of each AssumeRole, the last one last
		self.subjects = {}		# web identity token: role ARN that it is good for
		self.instance_role = None	# name, or None: no profile on the instance
		self.instance = None		# Identity that IMDS hands out
		self.instance_region = "eu-west-1"
		self.imds_tokens = set()
		self.container = {}		# path: (Authorization or None, Identity)
		self.lifetime = 3600
		self.connections = 0
		at_exit(self.released.set)
		self.ca_file, self.ca_key = self._authority()
		crt, key = self._certificate()
		self.https = Server(self._handler(self._aws), "tcp:127.0.0.1:0", tls_context(crt, key), "aws")
		self.http = Server(self._handler(self._metadata), "tcp:127.0.0.1:0", name="metadata")
		self.port, self.http_port = (int(s.address.rsplit(":", 1)[1]) for s in (self.https, self.http))
		self.url = "https://localhost:%d" % self.port
		self.http_url = "http://127.0.0.1:%d" % self.http_port

	def settings(self):
		"""What an `aws` section says to reach all of this and nothing else."""
		return "\n".join("\t" + line for line in (
			"endpoint kms " + self.url, "endpoint sts " + self.url, "endpoint logs " + self.url,
			"endpoint imds " + self.http_url, "ca-file " + self.ca_file)) + "\n"

	def identity(self, account=ACCOUNT, token=False, lifetime=None, name="proxy"):
		"""A new one."""
		n = uuid.uuid4().hex
		who = Identity(("ASIA" if token else "AKIA") + n[:16].upper(), b64(os.urandom(30)),
			       b64(os.urandom(96)) if token else None, account,
			       "arn:aws:iam::%s:user/%s" % (account, name), lifetime and time.time() + lifetime)
		self.identities[who.access_key] = who
		return who

	def session(self, lifetime=None, **more):
		"""One that ends, as roles have it."""
		return self.identity(token=True, lifetime=self.lifetime if lifetime is None else lifetime, **more)

	def fault(self, happens, times=1, **match):
		"""The next requests whose Seen has all of match (service, operation, access_key ...)."""
		with self.lock:
			self.faults += [(happens, match)] * times

	def release(self):
		"""Lets go of all that hang."""
		self.released.set()
		self.released = threading.Event()

	def count(self, **match):
		return len(self.requests(**match))

	def requests(self, **match):
		return [s for s in list(self.seen) if all(getattr(s, k, None) == v for k, v in match.items())]

	def secrets(self):
		"""Whatever of credentials may stand in no log: secrets and tokens, tokens of IMDS too."""
		return [s for who in self.identities.values() for s in who.secrets()] + list(self.imds_tokens)

	# --- certificates

	def _authority(self):
		base = os.path.join(DIR, "aws-ca")
		openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
			"-subj", "/CN=AWS stand-in CA", "-keyout", base + ".key", "-out", base + ".crt",
			"-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
		return base + ".crt", base + ".key"

	def _certificate(self):
		base = os.path.join(DIR, "aws")
		openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
			"-subj", "/CN=aws", "-keyout", base + ".key", "-out", base + ".csr")
		with open(base + ".ext", "w") as f:
			f.write("subjectAltName=IP:127.0.0.1," +
				",".join("DNS:" + n for n in self.names if n != "127.0.0.1"))
		openssl("x509", "-req", "-in", base + ".csr", "-CA", self.ca_file, "-CAkey", self.ca_key, "-CAcreateserial",
			"-days", "30", "-extfile", base + ".ext", "-out", base + ".crt")
		return base + ".crt", base + ".key"

	# --- a connection

	def _handler(self, serve):
		def handler(s, _):
			with self.lock:
				self.connections += 1
				number = self.connections
			with s.makefile("rb") as f:
				while True:
					asked = self._read(f, s)
					if not asked:
						return
					try:
						said = serve(number, *asked)
						s.sendall(said)
						if b"\r\nConnection: close\r\n" in said:
							return
					except Close as how:
						if how.reset:
							s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
							# Past TLS, so that no close_notify goes out either.
							os.close(s.detach())
						return
		return handler

	@staticmethod
	def _read(f, s):
		start = f.readline(65537).decode("latin-1").rstrip("\r\n")
		if not start:
			return None
		pairs = []
		while True:
			line = f.readline(65537).decode("latin-1").rstrip("\r\n")
			if not line:
				break
			name, _, value = line.partition(":")
			pairs.append((name.lower(), value.strip()))
		headers = dict(pairs)
		if headers.get("expect", "").lower() == "100-continue":
			s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
		return start, pairs, read_body(f, headers)

	def _note(self, **what):
		"""Notes a request, and takes its fault off the list."""
		seen = Seen(**what)
		with self.lock:
			self.seen.append(seen)
			for at, (happens, match) in enumerate(self.faults):
				if all(getattr(seen, k, None) == v for k, v in match.items()):
					del self.faults[at]
					seen.fault = happens.name
					return seen, happens
		return seen, None

	def _serve(self, seen, happens, usual, on_error):
		"""The bytes of an answer: the fault's, or usual()."""
		try:
			got = happens(self, seen) if happens else None
			if isinstance(got, AwsError):
				raise got
			if isinstance(got, bytes):
				return got
			done = usual()
			seen.status = 200
			return done
		except AwsError as e:
			seen.status, seen.code = e.status, e.code
			return on_error(e)
		finally:
			seen.ended = time.monotonic()

	# --- KMS, Logs, STS

	def _aws(self, number, start, pairs, body):
		headers = dict(pairs)
		target = headers.get("x-amz-target", "")
		scope = re.search(r"Credential=([^/,]+)/\d+/([^/]+)/", headers.get("authorization", ""))
		if target:
			service = {"TrentService": "kms", "Logs_20140328": "logs"}.get(target.split(".")[0])
			operation = target.partition(".")[2]
		else:
			service, operation = "sts", dict(urllib.parse.parse_qsl(body.decode("latin-1"))).get("Action")
		seen, happens = self._note(service=service, operation=operation, headers=headers, body=body, connection=number,
					   access_key=scope and scope.group(1), region=scope and scope.group(2), start=start)
		if service == "sts":
			return self._serve(seen, happens, lambda: self._sts(seen, pairs), self._sts_error)
		return self._serve(seen, happens, lambda: self._json(seen, pairs), self._json_error)

	def _request_id(self):
		return "x-amzn-RequestId: %s" % uuid.uuid4()

	def _json(self, seen, pairs):
		if not seen.start.startswith("POST / ") or seen.headers.get("content-type") != "application/x-amz-json-1.1":
			raise AwsError("SerializationException", "POST / of application/x-amz-json-1.1, please")
		who, region = judge(self, seen.start, pairs, seen.body, self.port, seen.service)
		try:
			given = json.loads(seen.body)
		except ValueError:
			raise AwsError("SerializationException", "not JSON") from None
		if not isinstance(given, dict):
			raise AwsError("SerializationException", "not an object")
		out = {} if seen.service == "logs" else self.keys.operation(seen.operation, given, region, who)
		return http(200, json.dumps(out).encode(), "application/x-amz-json-1.1", [self._request_id()])

	def _json_error(self, e):
		out = {"__type": e.code}
		if e.message:
			out["message"] = e.message
		return http(e.status, json.dumps(out).encode(), "application/x-amz-json-1.1", [self._request_id()])

	def _sts(self, seen, pairs):
		form = seen.form()
		if not seen.start.startswith("POST / ") or form.get("Version") != "2011-06-15" or \
				not seen.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
			raise AwsError("InvalidAction", "POST / of Version 2011-06-15, please")
		role = form.get("RoleArn")
		if not re.fullmatch(r"[\w+=,.@-]{2,64}", form.get("RoleSessionName", "")):
			raise AwsError("ValidationError", "RoleSessionName is missing")
		if seen.operation == "AssumeRoleWithWebIdentity":
			if "authorization" in seen.headers or "x-amz-security-token" in seen.headers:
				raise AwsError("InvalidAction", "this call is not signed")
			if self.subjects.get(form.get("WebIdentityToken")) != role:
				raise AwsError("InvalidIdentityToken", "No OpenIDConnect provider found")
			return self._assume(seen, form, role, None)
		if seen.operation != "AssumeRole":
			raise AwsError("InvalidAction", "Could not find operation %s" % seen.operation)
		who, _ = judge(self, seen.start, pairs, seen.body, self.port, "sts")
		if role not in self.roles or role in who.denied:
			raise AwsError("AccessDenied", "User: %s is not authorized to perform: sts:AssumeRole on resource: %s" %
				       (who.arn, role), 403)
		return self._assume(seen, form, role, who)

	def _assume(self, seen, form, role, _):
		lifetime = self.roles.get(role, self.lifetime)
		account, name = role.split(":")[4], role.rsplit("/", 1)[1]
		who = self.session(lifetime, account=account, name=name)
		self.assumed.append(who)
		credentials = "".join("<%s>%s</%s>" % (k, escape(v), k) for k, v in (
			("AccessKeyId", who.access_key), ("SecretAccessKey", who.secret), ("SessionToken", who.token),
			("Expiration", stamp(who.expires))))
		text = """<{op}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <{op}Result>
    <AssumedRoleUser><Arn>{role}</Arn><AssumedRoleId>AROA:{session}</AssumedRoleId></AssumedRoleUser>
    <Credentials>{credentials}</Credentials>
  </{op}Result>
  <ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata>
</{op}Response>""".format(op=seen.operation, role=escape(role), session=form["RoleSessionName"],
			 credentials=credentials, id=uuid.uuid4())
		return http(200, text.encode(), "text/xml", [self._request_id()])

	def _sts_error(self, e):
		# STS has names of its own for these.
		code = {"UnrecognizedClientException": "InvalidClientTokenId", "ExpiredTokenException": "ExpiredToken",
			"InvalidSignatureException": "SignatureDoesNotMatch"}.get(e.code, e.code)
		text = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error>
  <RequestId>%s</RequestId>
</ErrorResponse>""" % (escape(code), escape(e.message), uuid.uuid4())
		return http(e.status if e.status != 400 or code == e.code else 403, text.encode(), "text/xml", [self._request_id()])

	# --- the instance's metadata, the containers' endpoints

	def _metadata(self, number, start, pairs, body):
		headers = dict(pairs)
		path = start.split(" ")[1]
		service = "imds" if path.startswith("/latest/") else "container"
		seen, happens = self._note(service=service, operation=start.rsplit(" ", 1)[0], headers=headers, body=body,
					   connection=number, access_key=None, region=None, start=start)
		serve = self._imds if service == "imds" else self._container
		def on_error(e):
			return http(e.status, json.dumps({"code": e.code, "message": e.message}).encode(), "application/json")
		return self._serve(seen, happens, lambda: serve(seen, path), on_error)

	def _imds(self, seen, path):
		if "x-forwarded-for" in seen.headers or "authorization" in seen.headers:
			raise AwsError("Forbidden", "no strangers", 403)
		if seen.start.startswith("PUT /latest/api/token "):
			if not seen.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "").isdigit():
				raise AwsError("BadRequest", "no TTL", 400)
			token = b64(os.urandom(40))
			self.imds_tokens.add(token)
			return http(200, token.encode(), "text/plain", ["X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600"])
		if seen.headers.get("x-aws-ec2-metadata-token") not in self.imds_tokens:
			raise AwsError("Unauthorized", "version 2 only", 401)
		base = "/latest/meta-data/iam/security-credentials/"
		if path == "/latest/meta-data/placement/region":
			return http(200, self.instance_region.encode(), "text/plain")
		if path == base and self.instance_role:
			return http(200, self.instance_role.encode(), "text/plain")
		if self.instance_role and path == base + self.instance_role:
			return http(200, json.dumps(handed_out(self.instance, Code="Success", Type="AWS-HMAC")).encode(), "text/plain")
		raise AwsError("NotFound", "", 404)

	def _container(self, seen, path):
		authorization, who = self.container.get(path, (None, None))
		if not who:
			raise AwsError("NotFound", "no such credentials", 404)
		if seen.headers.get("authorization") != authorization:
			raise AwsError("Unauthorized", "the token is wrong", 401)
		return http(200, json.dumps(handed_out(who)).encode(), "application/json")


def most_at_once(requests):
	"""How many of these were under way at one time, at most."""
	edges = sorted([(s.began, 1) for s in requests] + [(s.ended, -1) for s in requests if s.ended])
	now = most = 0
	for _, step in edges:
		now += step
		most = max(most, now)
	return most


def stamp(when):
	return datetime.datetime.fromtimestamp(when, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def handed_out(who, **more):
	"""Credentials as IMDS and container endpoints write them."""
	return {"AccessKeyId": who.access_key, "SecretAccessKey": who.secret, "Token": who.token,
		"Expiration": stamp(who.expires), **more}
