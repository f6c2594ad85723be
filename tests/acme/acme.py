#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Certificates for two enclaves at the same time, from a real ACME authority (Pebble) by real
# clients (certbot, lego, uacme): http-01 through `mode http`, tls-alpn-01 through `mode https`;
# then HTTPS with what came out.  A client listens where its enclave would, behind the proxy, so
# that an answer for one name that came from the other's client fails the order.
import os
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *

for program in ("pebble", "pebble-challtestsrv", "certbot", "lego", "uacme", "ualpn", "unshare"):
	if not shutil.which(program):
		skip_all("no %s here" % program)

NAMES = {"tee-k": "tee-k.acme.test", "tee-t": "tee-t.acme.test"}
CONF = """
frontend https {
	listen 127.0.0.1:$WEB
	sni tee-k.acme.test alpn acme-tls/1 -> tcp:127.0.0.1:$K_ALPN
	sni tee-t.acme.test alpn acme-tls/1 -> tcp:127.0.0.1:$T_ALPN
	sni tee-k.acme.test -> unix:$DIR/tee-k.sock
	sni tee-t.acme.test -> unix:$DIR/tee-t.sock
}
"""
HTTP = """
frontend http {
	listen 127.0.0.1:$PLAIN
	host tee-k.acme.test path /.well-known/acme-challenge/ -> tcp:127.0.0.1:$K_HTTP
	host tee-t.acme.test path /.well-known/acme-challenge/ -> tcp:127.0.0.1:$T_HTTP
}
"""
WITHIN = 120	# seconds for one order

behind = {name: str(port) for name, port in free_ports(("K_ALPN", "T_ALPN", "K_HTTP", "T_HTTP")).items()}
proxy = Teeproxy(CONF, ports=["WEB"], env=behind)
http = Teeproxy(HTTP, ports=["PLAIN"], env=behind)


def path(*parts):
	return os.path.join(DIR, *parts)


def background(name, *command, env=None):
	with open(path(name + ".out"), "ab") as out:
		process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=DIR,
					   env=dict(os.environ, **(env or {})))
	at_exit(process.wait)
	at_exit(process.terminate)
	return process


# ------------------------------------------------------------------ the authority

def authority():
	"""Starts Pebble and its name server, both on loopback: every name is 127.0.0.1."""
	openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
		"-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
		"-keyout", path("pebble.key"), "-out", path("pebble.crt"))
	api, management, names, control = free_ports(range(4)).values()
	with open(path("pebble.json"), "w") as f:
		json.dump({"pebble": {
			"listenAddress": "127.0.0.1:%d" % api, "managementListenAddress": "127.0.0.1:%d" % management,
			"certificate": path("pebble.crt"), "privateKey": path("pebble.key"),
			"httpPort": http.port("PLAIN"), "tlsPort": proxy.port("WEB"),
			"ocspResponderURL": "", "externalAccountBindingRequired": False}}, f)
	background("names", "pebble-challtestsrv", "-defaultIPv6", "", "-dns01", "127.0.0.1:%d" % names, "-http01", "",
		   "-https01", "", "-tlsalpn01", "", "-management", "127.0.0.1:%d" % control)
	until(lambda: listening(names), "the name server listens")
	background("pebble", "pebble", "-strict", "-config", path("pebble.json"), "-dnsserver", "127.0.0.1:%d" % names,
		   env={"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"})
	until(lambda: listening(api) and listening(management), "pebble listens")
	trust = ssl.create_default_context(cafile=path("pebble.crt"))
	with urllib.request.urlopen("https://127.0.0.1:%d/roots/0" % management, context=trust) as answer:
		with open(path("root.crt"), "wb") as f:
			f.write(answer.read())
	return "https://localhost:%d/dir" % api


# ------------------------------------------------------------------ the clients: start(...) gives (process, crt, key)

def client(label, *command, env=None):
	return background(label, *command, env=env)


def certbot(label, name, port):
	base = path(label)
	process = client(label, "certbot", "certonly", "--non-interactive", "--agree-tos",
		"--register-unsafely-without-email", "--server", directory, "--standalone",
		"--preferred-challenges", "http", "--http-01-address", "127.0.0.1", "--http-01-port", port,
		"--config-dir", base + "/c", "--work-dir", base + "/w", "--logs-dir", base + "/l", "-d", name,
		env={"REQUESTS_CA_BUNDLE": path("pebble.crt")})
	return process, "%s/c/live/%s/fullchain.pem" % (base, name), "%s/c/live/%s/privkey.pem" % (base, name)


def lego(label, name, *challenge):
	base = path(label)
	process = client(label, "lego", "--accept-tos", "--email", "nobody@acme.test", "--server", directory,
		"--path", base, "--domains", name, *challenge, "run",
		env={"LEGO_CA_CERTIFICATES": path("pebble.crt")})
	return process, "%s/certificates/%s.crt" % (base, name), "%s/certificates/%s.key" % (base, name)


HOOK = """#!/bin/sh
# uacme: method type identifier token authorization
case $1:$2 in
begin:http-01) printf %%s "$5" >'%(webroot)s'/"$4" ;;
done:http-01 | failed:http-01) rm -f '%(webroot)s'/"$4" ;;
begin:tls-alpn-01) [ "$(echo "auth $3 $5" | ualpn -s '%(sock)s')" = OK ] ;;
done:tls-alpn-01 | failed:tls-alpn-01) [ "$(echo "unauth $3" | ualpn -s '%(sock)s')" = OK ] ;;
esac && [ "$2" = %(challenge)s ]
"""


def uacme(label, name, challenge):
	base = path(label)
	os.mkdir(base)
	with open(path(label + ".hook"), "w") as f:
		f.write(HOOK % {"webroot": path("webroot"), "sock": path("ualpn.sock"), "challenge": challenge})
	os.chmod(path(label + ".hook"), 0o755)
	# It trusts what the system trusts and has no option: give it another such file, for itself only.
	steps = "mount --bind '%s' /etc/ssl/certs/ca-certificates.crt && " \
		"uacme -v -y -c '%s' -a '%s' -t EC new && exec uacme -v -c '%s' -a '%s' -t EC -h '%s' issue %s" % (
		path("pebble.crt"), base, directory, base, directory, path(label + ".hook"), name)
	process = client(label, "unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]),
			 "sh", "-c", steps)
	return process, "%s/%s/cert.pem" % (base, name), "%s/private/%s/key.pem" % (base, name)


def serve_webroot(port):
	os.makedirs(path("webroot"), exist_ok=True)
	def answer(start, headers, body):
		file = path("webroot", os.path.basename(start.split()[1]))
		if headers.get("host", "").split(":")[0] != NAMES["tee-k"] or not os.path.exists(file):
			return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
		with open(file, "rb") as f:
			text = f.read()
		return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text
	return Server(http_handler("webroot", answer), "tcp:127.0.0.1:" + port)


# ------------------------------------------------------------------ the cases

def ordered(orders):
	"""Waits for both; shows what a failed client said; HTTPS with each enclave's new certificate."""
	for name, (process, _, _) in orders.items():
		try:
			status = process.wait(WITHIN)
		except subprocess.TimeoutExpired:
			status = "no end within %d s" % WITHIN
		if status != 0:
			for file in sorted(os.listdir(DIR)):
				if file.endswith(".out"):
					with open(path(file), errors="replace") as f:
						for line in f.read().splitlines()[-25:]:
							print("# %s: %s" % (file[:-4], line))
		equal(status, 0, "the client for " + name)
	servers = []
	for name, (_, crt, key) in orders.items():
		servers.append(Server(http_handler(name), "unix:" + path(name + ".sock"), tls_context(crt, key), name))
	try:
		for name in orders:
			got = https_get(proxy.port("WEB"), NAMES[name], trust=path("root.crt"))
			equal(got.body["enclave"], name)
	finally:
		for server in servers:
			server.stop()


@case
def http_01_with_certbot_and_lego_at_the_same_time():
	ordered({"tee-k": certbot("certbot-k", NAMES["tee-k"], behind["K_HTTP"]),
		 "tee-t": lego("lego-t", NAMES["tee-t"], "--http", "--http.port", "127.0.0.1:" + behind["T_HTTP"])})


@case
def http_01_with_uacme_and_certbot_at_the_same_time():
	webroot = serve_webroot(behind["K_HTTP"])
	try:
		ordered({"tee-k": uacme("uacme-k", NAMES["tee-k"], "http-01"),
			 "tee-t": certbot("certbot-t", NAMES["tee-t"], behind["T_HTTP"])})
	finally:
		webroot.stop()


@case
def tls_alpn_01_with_lego_and_uacme_at_the_same_time():
	background("ualpn", "ualpn", "-v", "-n", "1", "-P", "0", "-b", "127.0.0.1@" + behind["T_ALPN"],
		   "-c", "127.0.0.1@" + behind["T_HTTP"], "-s", path("ualpn.sock"), "-p", path("ualpn.pid"))
	until(lambda: listening(int(behind["T_ALPN"])), "ualpn listens")
	ordered({"tee-k": lego("lego-k", NAMES["tee-k"], "--tls", "--tls.port", "127.0.0.1:" + behind["K_ALPN"]),
		 "tee-t": uacme("uacme-t", NAMES["tee-t"], "tls-alpn-01")})


@case
def an_order_whose_client_is_not_there_fails():
	# Nobody answers for tee-k on this port now: the proxy must not find another way.
	process, _, _ = lego("lego-none", NAMES["tee-k"], "--http", "--http.port", "127.0.0.1:%d" % free_port())
	true(process.wait(WITHIN) != 0, "a certificate without an answer to the challenge")


directory = authority()
run()
