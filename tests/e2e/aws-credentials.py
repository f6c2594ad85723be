#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Where credentials come from, how they are kept fresh, and what happens where there are none."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from kms_test import *

ROLE = "arn:aws:iam::111122223333:role/proxy"
FAR_ROLE = "arn:aws:iam::444455556666:role/far"
FAR_KEY = "arn:aws:kms:eu-west-1:444455556666:key/99999999-2222-3333-4444-555555555555"
METADATA = {"service": "imds", "operation": "GET /latest/meta-data/iam/security-credentials/web"}

aws = one_aws()[0]
aws.keys.add(FAR_KEY)
started = []


def directory():
	return tempfile.mkdtemp(dir=DIR)


def write(path, text):
	"""As who rotates credentials does it: by renaming."""
	with open(path + ".new", "w") as f:
		f.write(text)
	os.rename(path + ".new", path)
	return path


class Proxy:
	"""One whose environment says nothing of AWS but what env says.  There is one at a time: it goes on
	asking in the background, and would take the faults that are meant for the next."""

	def __init__(self, env, credentials="auto", rule=None, more="", rest="", region="region eu-west-1"):
		for old in started[-1:]:
			old.stop()
		self.dir = directory()
		clean = {k: "" for k in os.environ if k.startswith("AWS_")}
		self.proxy = Teeproxy("""
global { workers 2
	grace 5s
	log stderr level debug }
enclave tee-k cid 16
aws {
	%s
	credentials %s
%s%s
}
frontend kms {
	listen unix:$W/k.sock as tee-k
	from tee-k -> key %s
}
%s""" % (region, credentials, aws.settings(), more, rule or ARN_K, rest), env={**clean, "HOME": self.dir, "W": self.dir, **env})
		started.append(self.proxy)

	def client(self):
		return Client("unix:%s/k.sock" % self.dir)

	def describe(self):
		"""A call that needs good credentials."""
		with self.client() as k:
			return k.ask("DescribeKey", key_id="")

	def works(self, by=None):
		"""It works, and by whose signature."""
		before = len(aws.seen)
		got = self.describe()
		true("output" in got, repr(got))
		signed = [s.access_key for s in aws.seen[before:] if s.service == "kms" and s.status == 200]
		if by:
			equal(signed, [by.access_key])
		return signed[-1]

	def fails(self, word):
		got = self.describe()
		true(word in got.get("error", ""), "no %r in %r" % (word, got))

	def recovers(self):
		until(lambda: "output" in self.describe(), "calls succeed again")


# ------------------------------------------------------------------ each source

@case
def keys_of_the_environment():
	who = aws.identity()
	Proxy(who.env()).works(by=who)
	who = aws.session()
	Proxy(who.env(), "env").works(by=who)


@case
def a_web_identity_whose_token_is_rotated():
	aws.roles[ROLE] = 4
	home = directory()
	aws.subjects["ey.one.sig"] = aws.subjects["ey.two.sig"] = ROLE
	path = write(os.path.join(home, "token"), "ey.one.sig\n")
	mine = {"operation": "AssumeRoleWithWebIdentity"}
	before = aws.count(**mine)
	p = Proxy({"AWS_WEB_IDENTITY_TOKEN_FILE": path, "AWS_ROLE_ARN": ROLE, "AWS_ROLE_SESSION_NAME": "me"})
	equal(p.works(), aws.assumed[-1].access_key)
	write(path, "ey.two.sig\n")
	until(lambda: any(s.form()["WebIdentityToken"] == "ey.two.sig" for s in aws.requests(**mine)),
	      "the new token is used")
	first = aws.requests(**mine)[before]
	equal((first.form()["RoleSessionName"], first.form()["RoleArn"], first.form()["WebIdentityToken"]), ("me", ROLE, "ey.one.sig"))
	true("authorization" not in first.headers, "the call is not signed")
	p.recovers()
	aws.roles[ROLE] = 3600


@case
def a_profile_of_the_shared_files():
	who = aws.identity()
	home = directory()
	files = {"AWS_SHARED_CREDENTIALS_FILE": write(os.path.join(home, "credentials"), "[work]\naws_access_key_id = %s\n"
						      "aws_secret_access_key = %s\n" % (who.access_key, who.secret)),
		 "AWS_CONFIG_FILE": write(os.path.join(home, "config"), "[profile work]\nregion = eu-west-1\n")}
	Proxy({**files, "AWS_PROFILE": "work"}).works(by=who)
	# The key is named by alias: only the profile knows the region.
	Proxy(files, "profile work", rule="alias/tee-k", region="").works(by=who)
	Proxy(files, "profile play").fails("shared files have no credentials for that profile")


@case
def a_profile_that_assumes_roles():
	who = aws.identity()
	aws.roles[ROLE] = 3600
	home = directory()
	os.mkdir(os.path.join(home, ".aws"))
	write(os.path.join(home, ".aws/config"), """
[default]
role_arn = %s
source_profile = base
external_id = us & them
role_session_name = tee
[profile base]
aws_access_key_id = %s
aws_secret_access_key = %s
""" % (ROLE, who.access_key, who.secret))
	Proxy({"HOME": home}).works(by=None)
	asked = aws.requests(operation="AssumeRole", access_key=who.access_key)
	equal([(s.form()["RoleArn"], s.form()["ExternalId"], s.form()["RoleSessionName"]) for s in asked], [(ROLE, "us & them", "tee")])


@case
def a_process_for_credentials_is_refused_with_a_word_why():
	home = directory()
	os.mkdir(os.path.join(home, ".aws"))
	write(os.path.join(home, ".aws/config"), "[default]\ncredential_process = /bin/true\n")
	Proxy({"HOME": home}).fails("credential_process is not supported")


@case
def a_containers_endpoint_whose_token_is_rotated():
	path = write(os.path.join(directory(), "token"), "one\n")
	first, second = aws.session(lifetime=8), aws.session()
	aws.container["/v1/credentials"] = ("one", first)
	p = Proxy({"AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.http_url + "/v1/credentials",
		   "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": path})
	p.works(by=first)
	aws.container["/v1/credentials"] = ("two", second)
	write(path, "two\n")
	until(lambda: p.works() == second.access_key, "the new ones are used")


@case
def a_container_endpoint_that_refuses_the_token_is_told():
	aws.container["/v1/strict"] = ("right", aws.session())
	p = Proxy({"AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.http_url + "/v1/strict",
		   "AWS_CONTAINER_AUTHORIZATION_TOKEN": "wrong"}, "container")
	p.fails("the container's endpoint answered 401 Unauthorized: the token is wrong")


@case
def the_instances_role():
	aws.instance_role, aws.instance = "web", aws.session()
	before = len(aws.requests(service="imds"))
	# No region is said anywhere else either.
	Proxy({}, rule="alias/tee-k", region="").works(by=aws.instance)
	asked = aws.requests(service="imds")[before:]
	equal([s.operation for s in asked], ["PUT /latest/api/token", "GET /latest/meta-data/iam/security-credentials/",
		METADATA["operation"], "GET /latest/meta-data/placement/region"])
	true("authorization" not in asked[0].headers and "content-type" not in asked[0].headers, "a bare PUT")


@case
def an_instance_without_a_role_is_told():
	aws.instance_role = None
	Proxy({}, "imds").fails("the instance has no role")
	aws.instance_role = "web"


@case
def a_silent_metadata_service_is_explained():
	aws.fault(hang(), 3, operation="PUT /latest/api/token")
	p = Proxy({}, "imds")
	p.proxy.wait_log("hop limit must be 2")
	aws.release()
	p.recovers()


# ------------------------------------------------------------------ fresh, and old

@case
def credentials_are_fetched_again_before_they_end_without_a_call():
	aws.instance = aws.session(lifetime=8)
	before = aws.count(**METADATA)
	p = Proxy({}, "imds")
	until(lambda: aws.count(**METADATA) > before, "the first fetch")
	later = aws.instance = aws.session()
	until(lambda: aws.count(**METADATA) > before + 1, "the second fetch")
	until(lambda: len(re.findall("aws: credentials for this process from the instance", p.proxy.log())) == 2, "it is done")
	p.works(by=later)


@case
def when_a_refresh_fails_the_old_ones_serve_until_they_end():
	old = aws.instance = aws.session(lifetime=10)
	p = Proxy({}, "imds")
	p.works(by=old)
	aws.fault(answer(500), 1000, service="imds")
	p.proxy.wait_log("no new credentials for this process: .* answered 500.*; the old ones serve until")
	got = p.describe()
	true("output" in got or time.time() >= int(old.expires), repr(got))
	until(lambda: "error" in p.describe(), "their end")
	p.fails("get credentials: the instance's metadata answered 500")
	aws.faults.clear()
	aws.instance = aws.session()
	p.recovers()


@case
def a_token_that_aws_says_is_over_is_replaced_and_the_call_sent_again():
	old = aws.instance = aws.session()
	p = Proxy({}, "imds")
	p.works(by=old)
	aws.instance = aws.session()
	old.expire()
	# Not sooner than a second after the last fetch.
	until(lambda: "output" in p.describe(), "another token")
	mine = [s for s in aws.seen if s.access_key in (old.access_key, aws.instance.access_key)]
	equal([s.code for s in mine[-2:]], ["ExpiredTokenException", None])
	equal(mine[-1].access_key, aws.instance.access_key)


@case
def a_key_that_aws_does_not_know_is_refused_once_more_and_no_oftener():
	who = aws.identity()
	p = Proxy(who.env())
	p.works(by=who)
	del aws.identities[who.access_key]
	time.sleep(1)	# the pause between two fetches that a refusal forces; less would only mean fewer requests
	before = len(aws.seen)
	p.fails("UnrecognizedClientException")
	# The environment has the same again: asking AWS twice would be asking it the same.
	equal([s.code for s in aws.seen[before:]], ["UnrecognizedClientException"])
	aws.identities[who.access_key] = who


@case
def calls_that_come_at_once_wait_for_one_fetch():
	aws.instance = aws.session()
	before = aws.count(**METADATA)
	aws.fault(slow(1), operation="PUT /latest/api/token")
	p = Proxy({}, "imds")
	clients = [p.client() for _ in range(20)]
	for k in clients:
		k.send(ask("DescribeKey", key_id=""))
	for k in clients:
		true("output" in k.answer(), "an answer")
		k.s.close()
	equal(aws.count(**METADATA) - before, 1)


# ------------------------------------------------------------------ none

@case
def without_credentials_tls_is_routed_and_they_are_found_when_they_come():
	who = aws.identity()
	home = directory()
	tee = Enclave("tee", names=["k.test"])
	p = Proxy({"AWS_SHARED_CREDENTIALS_FILE": os.path.join(home, "credentials"), "AWS_EC2_METADATA_DISABLED": "true",
		   "TEE": tee.address}, rest="frontend https {\n\tlisten unix:$W/tls.sock\n\tsni k.test -> $TEE\n}")
	equal(https_get("unix:%s/tls.sock" % p.dir, "k.test").body["enclave"], "tee")
	p.fails("no source has credentials")
	p.proxy.wait_log("level=warning .*aws: no credentials for this process")
	write(os.path.join(home, "credentials"), "[default]\naws_access_key_id=%s\naws_secret_access_key=%s\n" %
	      (who.access_key, who.secret))
	p.recovers()
	p.works(by=who)


# ------------------------------------------------------------------ a role for a key

@case
def a_keys_role_is_assumed_once_for_all_its_calls():
	who = aws.identity()
	aws.roles[FAR_ROLE] = 3600
	p = Proxy(who.env(), rule="%s role %s" % (FAR_KEY, FAR_ROLE))
	first = p.works()
	equal([p.works() for _ in range(5)], [first] * 5)
	equal(first, aws.assumed[-1].access_key)
	asked = aws.requests(operation="AssumeRole", access_key=who.access_key)
	equal([(s.form()["RoleArn"], s.form()["RoleSessionName"], s.region) for s in asked], [(FAR_ROLE, "teeproxy", "eu-west-1")])


@case
def a_role_is_assumed_in_the_region_of_its_key_where_nothing_says_another():
	who = aws.identity()
	Proxy(who.env(), rule="%s role %s" % (FAR_KEY, FAR_ROLE), region="").works()
	equal([s.region for s in aws.requests(operation="AssumeRole", access_key=who.access_key)], ["eu-west-1"])


@case
def a_role_that_may_not_be_assumed_is_told_to_the_enclave():
	who = aws.identity()
	who.denied.add(FAR_ROLE)
	Proxy(who.env(), rule="%s role %s" % (FAR_KEY, FAR_ROLE)).fails("AccessDenied")


@case
def sts_in_trouble_is_asked_again():
	who = aws.identity()
	aws.fault(answer(503, "ServiceUnavailable"), operation="AssumeRole", access_key=who.access_key)
	aws.fault(cut(), operation="AssumeRole", access_key=who.access_key)
	Proxy(who.env(), rule="%s role %s" % (FAR_KEY, FAR_ROLE)).works()
	equal([s.status for s in aws.requests(operation="AssumeRole", access_key=who.access_key)], [503, None, 200])


@case
def a_role_is_assumed_with_new_credentials_where_the_old_are_over():
	old = aws.instance = aws.session()
	aws.roles[FAR_ROLE] = 4
	p = Proxy({}, "imds", rule="%s role %s" % (FAR_KEY, FAR_ROLE))
	p.works()
	new = aws.instance = aws.session()
	old.expire()
	until(lambda: aws.count(operation="AssumeRole", access_key=new.access_key, status=200), "the role by the new ones")
	p.recovers()
	aws.roles[FAR_ROLE] = 3600


@case
def answers_of_sts_that_are_none_are_refused():
	who = aws.identity()
	for what, word in ((garbage(), "no XML as STS writes it"), (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), "no XML"),
			   (huge(100000), "larger than 65536 bytes")):
		aws.fault(what, 50, operation="AssumeRole", access_key=who.access_key)
		Proxy(who.env(), rule="%s role %s" % (FAR_KEY, FAR_ROLE)).fails(word)
		aws.faults.clear()


# ------------------------------------------------------------------ trust, names, secrets

@case
def a_certificate_that_no_root_vouches_for_is_refused():
	crt, _ = certificate("stranger", ["stranger.test"])
	who = aws.identity()
	elsewhere = aws.settings().replace(aws.ca_file, crt)
	own, aws.settings = aws.settings, lambda: elsewhere
	try:
		p = Proxy(who.env())
	finally:
		aws.settings = own
	p.fails("certificate")
	equal(aws.count(access_key=who.access_key), 0)


@case
def a_redirect_is_not_followed():
	who = aws.identity()
	p = Proxy(who.env())
	aws.fault(redirect(aws.url + "/elsewhere"), access_key=who.access_key)
	p.fails("307")
	equal([s.start for s in aws.requests(access_key=who.access_key)], ["POST / HTTP/1.1"])


@case
def the_environments_proxies_are_not_asked():
	who = aws.identity()
	nobody = {name: "http://127.0.0.1:1" for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")}
	Proxy({**who.env(), **nobody}).works(by=who)


@case
def connections_are_kept():
	who = aws.identity()
	p = Proxy(who.env())
	for _ in range(10):
		p.works(by=who)
	equal(len({s.connection for s in aws.requests(access_key=who.access_key)}), 1)


@case
def the_engine_cannot_be_dumped():
	if os.geteuid() != 0:
		raise Skip("only root sees whose /proc/PID is")
	who = aws.identity()
	env = {"HOME": "/", **who.env()}
	p = Teeproxy("global user nobody\naws {\nregion eu-west-1\n%s}\nenclave a cid 16\nfrontend kms {\n"
		     "listen unix:$DIR/dump.sock as a\nfrom a -> key %s\n}" % (aws.settings(), ARN_K), env=env)
	engine, = p.engines()
	with open("/proc/%d/status" % engine) as f:
		uid = int(re.search(r"^Uid:\s+(\d+)", f.read(), re.M).group(1))
	true(uid != 0, "the engine is nobody")
	# The kernel gives /proc of what cannot be dumped to root.
	equal(os.stat("/proc/%d/environ" % engine).st_uid, 0)


@case
def nothing_secret_is_in_any_log():
	started[-1].stop()
	true(len(started) > 25, "many have run")
	for proxy in started:
		log = proxy.log()
		for secret in aws.secrets() + ["ey.one.sig", "ey.two.sig"]:
			true(secret not in log and secret[:12] not in log, "a secret is in the log of " + proxy.name)


run()
