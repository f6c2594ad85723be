#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Shows teeproxy at work: two simulated enclaves, and a request through each frontend.

./bootstrap demo runs this.  The enclaves are TLS and HTTP servers on Unix sockets, each with a
certificate of its own, and ask a stand-in of AWS KMS for keys; the proxy runs on conf/demo.conf.
Exits non-zero where an answer is not what it has to be.  With --keep all stays up, and what to try
is printed.
DEMO_HTTPS_PORT, DEMO_HTTP_PORT and DEMO_TCP_PORT say which ports; busy ones are passed over.
"""
import importlib.util
import json
import os
import re
import shlex
import sys

top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(top, "tests/e2e/lib"))
import teeproxy_test as lib
from teeproxy_test import DIR, Enclave, Teeproxy, curl

keep = sys.argv[1:] == ["--keep"]
if sys.argv[1:] not in ([], ["--keep"]):
	sys.exit("usage: demo.py [--keep]")

wrong = []
ports = {}


def port(name, usual):
	"""The port asked for, else the usual one, else the next free one."""
	number = int(os.environ.get(name, usual))
	while lib.listening(number) or number in ports.values():
		number += 1
	ports[name] = number
	return number


def show(what, command, expected):
	"""Runs curl, shows command and answer; expected must be in the answer."""
	print("\n== " + what)
	if what.split(":")[0] in left_out:
		print("   (left out: this build has no engine for it)")
		return
	print("   $ curl " + " ".join(shlex.quote(w) for w in command))
	done = curl(*command)
	said = (done.stdout + done.stderr).strip()
	for line in said.splitlines() or ["(nothing)"]:
		print("   " + line)
	if expected in said:
		print("   -- as it must be")
	else:
		wrong.append(what)
		print("   -- WRONG: expected %r" % expected)


def ask_kms(what, name, expected, operation, **fields):
	"""Sends a request as the enclave does, shows it and the answer, which it returns."""
	print("\n== " + what)
	if "kms" in left_out:
		print("   (left out: this build, or this machine, has nothing for it)")
		return {}
	request = {"operation": operation, "service_name": name.replace("-", "_"), "input": fields}
	with lib.connect_to("unix:%s/%s-kms.sock" % (DIR, name)) as s:
		s.sendall(json.dumps(request).encode() + b"\n")
		s.shutdown(lib.socket.SHUT_WR)
		said = lib.read_all(s).decode()
	for sign, line in ((">", json.dumps(request)), ("<", said)):
		print("   %s %s" % (sign, re.sub(r'"([\w+/=]{60})[\w+/=]+"', r'"\1..."', line)))
	if expected in said:
		print("   -- as it must be")
	else:
		wrong.append(what)
		print("   -- WRONG: expected %r" % expected)
	return json.loads(said).get("output", {})


def answer(name):
	def give(start, headers, body):
		text = ("this is %s, you asked for %s%s\n" % (name, headers.get("host"), start.split()[1])).encode()
		return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(text) + text
	return lib.http_handler(name, give)


https, http, tcp = port("DEMO_HTTPS_PORT", 8443), port("DEMO_HTTP_PORT", 8080), port("DEMO_TCP_PORT", 8444)
enclaves = {}
for name in ("tee-k", "tee-t"):
	enclaves[name] = Enclave(name, [name + ".demo.test"], "unix:%s/%s-https.sock" % (DIR, name), handler=answer(name))
	lib.Server(answer(name), "unix:%s/%s-http.sock" % (DIR, name))
	print("enclave %s: https and http on %s/%s-*.sock, its certificate in %s" % (name, DIR, name, enclaves[name].crt))

with open(os.path.join(top, "conf/demo.conf")) as f:
	conf = f.read()
left_out = []	# modes that this build cannot carry yet: it says so and does not start
env = dict({k: str(v) for k, v in ports.items()}, DEMO_DIR=DIR)


def leave_out(mode):
	global conf
	left_out.append(mode)
	conf, n = re.subn(r"(?ms)^frontend (\w+ mode )?%s \{.*?^\}\n" % mode, "", conf)
	return n


keys = ["arn:aws:kms:eu-west-1:111122223333:key/" + i
	for i in ("11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000")]
if importlib.util.find_spec("botocore") and importlib.util.find_spec("cryptography"):
	import aws_standin
	aws = aws_standin.Aws()
	for key in keys:
		aws.keys.add(key)
	recipients = {name: aws_standin.Recipient() for name in enclaves}
	env.update(aws.identity().env(), DEMO_AWS_URL=aws.url, DEMO_AWS_CA=aws.ca_file)
	print("a stand-in of AWS KMS that checks every signature, on " + aws.url)
else:
	recipients = {}
	leave_out("kms")
	print("left out: kms, since python3-botocore or python3-cryptography is not here")
while True:
	proxy = lib.if_engine(conf, env=env)
	if isinstance(proxy, Teeproxy):
		break
	if not leave_out(proxy.why.split()[1]):
		sys.exit("demo: %s, and no frontend of it in conf/demo.conf" % proxy.why)
	print("left out: " + proxy.why)
print("teeproxy runs on conf/demo.conf: https on %d, http on %d, tcp on %d" % (https, http, tcp))


def https_url(name, where=https):
	return ["--cacert", enclaves[name].crt, "--resolve", "%s.demo.test:%d:127.0.0.1" % (name, where),
		"https://%s.demo.test:%d/" % (name, where)]


def http_url(name, path):
	return ["--resolve", "%s:%d:127.0.0.1" % (name, http), "http://%s:%d%s" % (name, http, path)]


def egress_url(name, url):
	"""As an enclave asks: SOCKS5 on a Unix socket, where on vsock its CID would say who it is."""
	return ["--noproxy", "", "--proxy", "socks5h://localhost%s/%s-egress.sock" % (DIR, name), url]


def egress_plain(name, url):
	"""The same as HTTP: the whole URL in the request."""
	return ["-i", "--unix-socket", "%s/%s-egress.sock" % (DIR, name), "--request-target", url, url]


challenge = "/.well-known/acme-challenge/a-token"
for name in enclaves:
	show("https: the name in the ClientHello leads to %s, whose own certificate curl checks" % name,
	     https_url(name), "this is %s," % name)
show("https: a name no rule knows gets a TLS alert",
     ["-k", "--resolve", "other.test:%d:127.0.0.1" % https, "https://other.test:%d/" % https], "nrecognized name")
for name in enclaves:
	show("http: an ACME challenge for %s" % name, http_url(name + ".demo.test", challenge), "this is %s," % name)
show("http: anything else is sent to https", ["-i"] + http_url("tee-k.demo.test", "/"), "308 ")
show("http: a host no rule knows", ["-i"] + http_url("other.test", "/"), "421 ")
show("tcp: a port of its own, whatever the name", https_url("tee-k", tcp), "this is tee-k,")
show("egress: tee-k reaches tee-t, whose own certificate it checks",
     ["--cacert", enclaves["tee-t"].crt] + egress_url("tee-k", "https://tee-t.demo.test/"), "this is tee-t,")
show("egress: and nobody reaches the instance's credentials",
     egress_plain("tee-k", "http://169.254.169.254/latest/meta-data/"), "403 ")
show("egress: tee-t may reach tee-k and nothing else", egress_plain("tee-t", "http://example.org/"), "403 ")

for name, recipient in recipients.items():
	made = ask_kms("kms: %s asks for a data key, and gets its own, sealed to its attestation" % name, name,
		       '"ciphertext_for_recipient":"', "GenerateDataKey", key_spec="AES_256", recipient=recipient.snake_field)
	if made and len(recipient.open(made["ciphertext_for_recipient"])) != 32:
		wrong.append("the data key of %s cannot be opened" % name)
if recipients:
	ask_kms("kms: tee-k asks for the other's key, and is refused before anything leaves the machine", "tee-k",
		'{"error":"access denied: key ', "GenerateDataKey", key_id=keys[1], key_spec="AES_256",
		recipient=recipients["tee-k"].snake_field)

if wrong:
	print("\nThe proxy's log:\n" + proxy.log())
if keep and not wrong:
	print("\nteeproxy (pid %d) stays up until Ctrl-C.  Its log: %s\nTry:" % (proxy.pid, proxy.log_path))
	commands = [https_url("tee-k"), https_url("tee-t")]
	if "http" not in left_out:
		commands.append(http_url("tee-t.demo.test", challenge))
	if "egress" not in left_out:
		commands.append(["--cacert", enclaves["tee-k"].crt] + egress_url("tee-t", "https://tee-k.demo.test/"))
	for command in commands:
		print("   curl " + " ".join(shlex.quote(w) for w in command))
	sys.stdout.flush()
	try:
		proxy.process.wait()
	except (KeyboardInterrupt, SystemExit):
		print()
try:
	proxy.stop()
except AssertionError as why:
	wrong.append(str(why))
print("\n" + ("demo: WRONG: " + "; ".join(wrong) if wrong else "demo: every answer was right"))
sys.exit(1 if wrong else 0)
