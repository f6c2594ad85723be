#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mode egress as an HTTP proxy: requests in absolute-form, each on a kept connection judged by itself; a proxy
further up; curl, wget, Python, apt, pip and Java as they are."""
import hashlib
import io
import os
import sys
import urllib.request
import zipfile

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *
from egress_clients import *

heads = []	# what reached a server: its name, start line, fields
PORTS = {}


def noting(name, answer=None):
	def note(start, headers, body):
		heads.append((name, start, headers, body))
		return answer(start) if answer else None
	return http_handler(name, note)


def serve(name, handler, **more):
	server = Server(handler, "tcp:127.0.0.1:0", name=name, **more)
	PORTS[name.upper()] = int(server.address.rsplit(":", 1)[1])
	return server


def once(s, peer):
	"""One answer that says keep-alive, and then an end."""
	with s.makefile("rb") as f:
		start, headers = read_head(f)
		heads.append(("once", start, headers, b""))
		s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nonce")


def upgrade(s, peer):
	with s.makefile("rb") as f:
		read_head(f)
		s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
		while True:
			piece = f.read1(1000)
			if not piece:
				return
			s.sendall(piece)


a, b, fleeting, switch = serve("a", noting("a")), serve("b", noting("b")), serve("once", once), serve("switch", upgrade)
tls = serve("tls", noting("tls"), tls=tls_context(*certificate("tls", ["tls.test"])))
with open(os.path.join(DIR, "hosts"), "w") as f:
	f.write("127.0.0.1 a.test b.test once.test switch.test refused.test tls.test up.test\n10.0.0.1 private.test\n")

# The proxy further up: answers CONNECT as its path of names says, notes everything.
asked = []


def upstream(s, peer):
	with s.makefile("rb") as f:
		head = read_head(f)
		if not head:
			return
		start, headers = head
		method, target, _ = start.split()
		asked.append((start, headers))
		if method != "CONNECT":
			s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nvia")
			if read_head(f):
				asked.append("another")
				s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain")
			return
		name = target.split(".")[0]
		answers = {"yes": b"HTTP/1.1 200 Go\r\nX: y\r\n\r\n", "named": b"HTTP/1.1 200 OK\r\n\r\n", "early": b"HTTP/1.1 100 Wait\r\n\r\nHTTP/1.0 200 OK\r\n\r\n220 hi ",
			   "no": b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", "auth": b"HTTP/1.1 407 Who\r\n\r\n",
			   "rubbish": b"SSH-2.0-x\r\n\r\n", "bare": b"HTTP/1.1 200 OK\n\n", "gone": b"", "half": b"HTTP/1.1 200 O",
			   "long": b"HTTP/1.1 200 OK\r\n" + b"X: %s\r\n" % (b"y" * 1000) * 20 + b"\r\n"}
		if name == "slow":
			for byte in answers["yes"]:
				s.sendall(bytes([byte]))
				time.sleep(0.002)
		elif name == "silent":
			waiting.append(f.read(1))
			return
		else:
			s.sendall(answers[name])
			if name in ("gone", "half"):
				return
		while name in ("yes", "early", "slow", "named"):
			piece = f.read1(1000)
			if not piece:
				return
			s.sendall(piece.upper())
		after.append(f.read())


waiting, after = [], []
serve("up", upstream)
proxy = Teeproxy('''
	enclave tee-k cid 16
	resolver { hosts $DIR/hosts; server 127.0.0.1:$NODNS }
	frontend egress {
		listen unix:$DIR/k.sock as tee-k
		listen 127.0.0.1:$TCP
		timeout hello 20s
		from any to refused.test:* -> reject
		from any to { yes.via:443 early.via:443 no.via:443 auth.via:443 rubbish.via:443 bare.via:443 } -> via 127.0.0.1:$UP
		from any to { gone.via:443 half.via:443 long.via:443 slow.via:443 *.via:80 } -> via 127.0.0.1:$UP
		from any to named.yes:443 -> via up.test:$UP
		from any to nobody.via:443 -> via 127.0.0.1:$NODNS
		from any to 127.0.0.0/8:$A -> direct
		from any to 127.0.0.0/8:$B -> direct
		from any to 127.0.0.0/8:$ONCE -> direct
		from any to 127.0.0.0/8:$SWITCH -> direct
		from any to 127.0.0.0/8:$TLS -> direct
		from any to *:80 -> direct
	}
	frontend hurry mode egress {
		listen unix:$DIR/hurry.sock
		timeout connect 300ms
		from any to *:* -> via 127.0.0.1:$UP
	}
''', ports=["TCP"], env=dict({k: str(v) for k, v in PORTS.items()}, NODNS=str(free_port())))
K, TCP = "unix:%s/k.sock" % DIR, proxy.port("TCP")
A, B, ONCE, SWITCH, TLS = (PORTS[n] for n in ("A", "B", "ONCE", "SWITCH", "TLS"))


def ask(s, url, method="GET", headers=(), body=b"", version="HTTP/1.1"):
	host = url.split("/")[2]
	length = ["Content-Length: %d" % len(body)] if body else []
	s.sendall("\r\n".join(["%s %s %s" % (method, url, version), "Host: " + host, *headers, *length, "", ""]).encode() + body)
	return response(s, method)


def raw(data, where=K):
	with connect_to(where) as s:
		s.sendall(data)
		s.shutdown(socket.SHUT_WR)
		return read_all(s)


@case
def an_absolute_target_becomes_host_and_origin_form():
	with connect_to(K) as s:
		s.sendall(b"GET http://A.test:%d/x?y=%%20 HTTP/1.1\r\nHost: evil.test\r\nProxy-Authorization: Basic eDp5\r\n"
			  b"Proxy-Connection: keep-alive\r\nX-Forwarded-For: 1.2.3.4\r\nAccept: */*\r\n\r\n" % A)
		equal(response(s).body["enclave"], "a")
	name, start, headers, _ = heads[-1]
	equal((name, start), ("a", "GET /x?y=%20 HTTP/1.1"))
	equal(headers, {"host": "a.test:%d" % A, "x-forwarded-for": "1.2.3.4", "accept": "*/*"})
	with connect_to(K) as s:
		ask(s, "http://127.0.0.1:%d" % A)
	equal(heads[-1][1], "GET / HTTP/1.1")
	proxy.wait_log(r"msg=request .*enclave=tee-k method=GET name=a\.test:\d+ path=/x status=200 rule=\S+:\d+ target=127\.0\.0\.1:%d "
		       r".*lookup_ms=\d+ connect_ms=\d+ .*reason=done protocol=http" % A)


@case
def a_kept_connection_goes_where_each_request_says():
	before = a.accepted, b.accepted
	with connect_to(K) as s:
		for i, where in enumerate("aaabbaab"):
			body = b"x" * i * 10000
			said = ask(s, "http://%s.test:%d/%d" % (where, {"a": A, "b": B}[where], i), "POST", body=body).body
			equal((said["enclave"], said["request"], said["body"]), (where, "POST /%d HTTP/1.1" % i, len(body)))
	equal((a.accepted - before[0], b.accepted - before[1]), (2, 2), "one connection for neighbours")


@case
def a_kept_connection_is_refused_what_it_may_not_have():
	for url, status, why in (("http://refused.test:%d/" % A, 403, r"\.conf:\d+: reject"),
			    ("http://private.test/", 403, r"address policy: 10\.0\.0\.1 is private \(RFC 1918\)"),
			    ("http://169.254.169.254/latest/", 403, "the metadata service of the instance"),
			    ("http://127.0.0.1/", 403, "is loopback"), ("http://2130706433/", 400, "an odd spelling"),
			    ("http://elsewhere.test:81/", 403, "no rule lets it go there"), ("https://a.test/", 400, None)):
		seen = len(heads)
		with connect_to(K) as s:
			equal(ask(s, "http://a.test:%d/" % A).body["enclave"], "a")
			said = ask(s, url, headers=["Cookie: secret"])
			equal(int(said.start.split()[1]), status, url)
			true(re.search(why or "", said.headers.get("x-teeproxy-reason", "")), "%s: %s" % (url, said.headers))
			equal(said.headers["connection"], "close")
			equal(s.recv(1), b"", "closed")
		equal(len(heads), seen + 1, "nothing else was asked")


@case
def pipelined_requests_are_each_judged():
	data = b"".join(b"GET http://%s/%d HTTP/1.1\r\nHost: x\r\n\r\n" % (where.encode(), i) for i, where in
			enumerate(["a.test:%d" % A, "b.test:%d" % B, "a.test:%d" % A, "refused.test", "b.test:%d" % B]))
	seen = len(heads)
	said = raw(data)
	equal(re.findall(rb"HTTP/1\.1 (\d+) ", said), [b"200"] * 3 + [b"403"])
	equal([h[0] for h in heads[seen:]], ["a", "b", "a"])


@case
def connect_may_follow_and_makes_a_tunnel():
	with connect_to(K) as s:
		equal(ask(s, "http://a.test:%d/" % A).body["enclave"], "a")
		s.sendall(connect_head("b.test:%d" % B) + b"GET /through HTTP/1.1\r\nHost: own.test\r\n\r\n")
		equal(read_answer_head(s)[0], 200)
		equal(response(s).body["enclave"], "b")
	equal(heads[-1][2], {"host": "own.test"})
	with connect_to(K) as s:
		ask(s, "http://a.test:%d/" % A)
		s.sendall(connect_head("refused.test:%d" % A) + b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		equal(read_answer_head(s)[0], 403)
		read_all(s)


@case
def a_server_that_closed_meanwhile_is_dialled_again():
	with connect_to(K) as s:
		for _ in range(5):
			equal(ask(s, "http://once.test:%d/" % ONCE).body, b"once")


@case
def an_upgrade_switches():
	with connect_to(K) as s:
		s.sendall(b"GET http://switch.test:%d/ HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n" % SWITCH)
		equal(read_answer_head(s)[0], 101)
		s.sendall(b"ping")
		equal(read_exactly(s, 4), b"ping")


@case
def http_1_0_is_served():
	said = raw(b"GET http://a.test:%d/old HTTP/1.0\r\n\r\n" % A)
	true(said.startswith(b"HTTP/1.1 200 "), said)
	equal(heads[-1][1], "GET /old HTTP/1.0")
	equal(raw(b"CONNECT a.test:%d HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n" % A)[:12], b"HTTP/1.1 200")


@case
def a_broken_request_is_not_passed_on():
	seen = len(heads)
	for text in ("POST http://a.test:%d/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		     "GET http://a.test:%d/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "GET http://a.test:%d/ HTTP/1.1\r\n\r\n",
		     "GET http://u:p@a.test:%d/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET http://a.test:%d/#f HTTP/1.1\r\nHost: x\r\n\r\n"):
		equal(raw((text % A).encode())[:12], b"HTTP/1.1 400", text)
	equal(len(heads), seen)


# ------------------------------------------------------------------ via

@case
def a_tunnel_through_the_proxy_further_up():
	for s in (line(K, "yes.via:443", b"one "), http_connect(K, "yes.via:443", b"one ", "Proxy-Authorization: Basic eDp5\r\n")[2],
		  socks(K, "yes.via", 443, b"one ")[1]):
		with s:
			s.sendall(b"two")
			s.shutdown(socket.SHUT_WR)
			equal(read_all(s), b"ONE TWO")
		equal(asked[-1], ("CONNECT yes.via:443 HTTP/1.1", {"host": "yes.via:443"}))
	proxy.wait_log(r"name=yes\.via:443 rule=\S+:\d+ target=127\.0\.0\.1:%d .*bytes_up=7 .*reason=done protocol=line" % PORTS["UP"])


@case
def what_comes_with_the_proxys_answer_is_the_tunnels():
	for s in line(K, "early.via:443", b"x"), http_connect(K, "early.via:443", b"x")[2], socks(K, "early.via", 443, b"x")[1]:
		with s:
			s.shutdown(socket.SHUT_WR)
			equal(read_all(s), b"220 hi X")
	with line(K, "named.yes:443", b"x") as s:
		s.shutdown(socket.SHUT_WR)
		equal(read_all(s), b"X", "a proxy that is a name")
	with line(K, "slow.via:443", b"x") as s:
		s.shutdown(socket.SHUT_WR)
		equal(read_all(s), b"X", "byte by byte")


@case
def nothing_of_the_clients_reaches_a_proxy_that_refuses():
	for name, code in ("no", 403), ("auth", 407):
		said = outcome(K, name + ".via", 443)
		equal(said[:3], (b"", 502, GENERAL), name)
		equal(said[3], "the proxy 127.0.0.1:%d answered %d" % (PORTS["UP"], code))
		for s in (line(K, name + ".via:443", b"GET http://a.test/ HTTP/1.1\r\n\r\n"),):
			with s:
				equal(read_all(s), b"")
	until(lambda: len(after) >= 8, "the proxy further up has seen the ends")
	equal(set(after), {b""})
	proxy.wait_log(r"name=no\.via:443 .*reason=via_refused protocol=line error=\"the proxy 127\.0\.0\.1:\d+ answered 403\"")


@case
def an_answer_that_is_none_is_502():
	for name in "rubbish", "bare", "gone", "half", "long":
		equal(outcome(K, name + ".via", 443)[:3], (b"", 502, GENERAL), name)
	proxy.wait_log(r"name=long\.via:443 .*reason=answer_malformed .*the head is too large")
	equal(outcome(K, "nobody.via", 443)[:3], (b"", 502, REFUSED))


@case
def a_silent_proxy_is_given_up_within_timeout_connect():
	where = "unix:%s/hurry.sock" % DIR
	equal(outcome(where, "silent.via", 443)[:3], (b"", 504, TTL))
	proxy.wait_log(r"name=silent\.via:443 .*reason=connect_timeout", 3)


@case
def absolute_form_goes_on_as_it_is_and_the_connection_is_kept_for_any_host():
	with connect_to(K) as s:
		equal(ask(s, "http://one.via/p?q", headers=["Proxy-Authorization: Basic eDp5"]).body, b"via")
		equal(asked[-1], ("GET http://one.via/p?q HTTP/1.1", {"host": "one.via"}))
		equal(ask(s, "http://two.via/").body, b"again")
		equal(asked[-1], "another")
	equal(int(raw(b"GET http://three.via:81/ HTTP/1.1\r\nHost: x\r\n\r\n")[9:12]), 403)


# ------------------------------------------------------------------ clients as they are

def curl(*args):
	return subprocess.run(["curl", "-sS", "--max-time", str(WAIT), *args], capture_output=True, text=True)


@case
def curl_through_each_of_its_proxies():
	for proxy_url in "http://127.0.0.1:%d", "socks5://127.0.0.1:%d", "socks5h://127.0.0.1:%d":
		x = proxy_url % TCP
		hosts = ["--resolve", "a.test:%d:127.0.0.1" % A] if x.startswith("socks5:") else []
		done = curl("-x", x, *hosts, "http://a.test:%d/curl" % A)
		equal((json.loads(done.stdout or "{}").get("enclave"), done.returncode), ("a", 0), x + done.stderr)
	done = curl("-x", "http://127.0.0.1:%d" % TCP, "--cacert", os.path.join(DIR, "tls.crt"), "https://tls.test:%d/" % TLS)
	equal(json.loads(done.stdout or "{}").get("enclave"), "tls", done.stderr)
	done = curl("-x", "http://127.0.0.1:%d" % TCP, "-p", "http://a.test:%d/1" % A, "http://a.test:%d/2" % A)
	equal(done.stdout.count('"a"'), 2, done.stderr)
	# A Unix socket that vouches, which curl takes for a SOCKS proxy since 7.84.
	done = curl("-x", "socks5h://localhost" + DIR + "/k.sock", "http://a.test:%d/" % A)
	true('"a"' in done.stdout, done.stderr)


@case
def curl_says_why_it_was_refused():
	x = "127.0.0.1:%d" % TCP
	true(" 403" in curl("-x", "http://" + x, "https://refused.test/").stderr, "CONNECT")
	equal(curl("-x", "http://" + x, "-o", "/dev/null", "-w", "%{http_code}", "http://refused.test/").stdout, "403")
	done = curl("-x", "socks5h://" + x, "http://refused.test/")
	true(done.returncode == 97 and "(2)" in done.stderr, done.stderr)
	done = curl("-x", "socks5h://" + x, "http://10.1.2.3/")
	true(done.returncode == 97 and "(2)" in done.stderr, done.stderr)


@case
def wget_and_python_with_their_variables():
	env = dict(os.environ, http_proxy="http://127.0.0.1:%d" % TCP, https_proxy="http://127.0.0.1:%d" % TCP, no_proxy="")
	done = subprocess.run(["wget", "-q", "-T", "30", "-t", "1", "-O", "-", "http://a.test:%d/wget" % A], capture_output=True, text=True, env=env)
	equal(json.loads(done.stdout or "{}").get("request"), "GET /wget HTTP/1.1", done.stderr)
	done = subprocess.run(["wget", "-q", "-T", "30", "-t", "1", "-O", "-", "--ca-certificate", os.path.join(DIR, "tls.crt"),
			       "https://tls.test:%d/wget" % TLS], capture_output=True, text=True, env=env)
	equal(json.loads(done.stdout or "{}").get("enclave"), "tls", done.stderr)
	opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": env["http_proxy"], "https": env["https_proxy"]}),
		urllib.request.HTTPSHandler(context=ssl._create_unverified_context()))
	equal(json.load(opener.open("http://a.test:%d/python" % A, timeout=30))["enclave"], "a")
	equal(json.load(opener.open("https://tls.test:%d/python" % TLS, timeout=30))["enclave"], "tls")


def need(tool):
	path = shutil.which(tool)
	if not path:
		raise Skip("no %s here" % tool)
	return path


def stored(files):
	"""The answers of a server of these paths."""
	def answer(start):
		body = files.get(start.split()[1].split("?")[0])
		if body is None:
			return b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"
		return b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body
	return answer


repository = {}
shop = Server(http_handler("shop", lambda start, headers, body: (heads.append(("shop", start, headers, body)), stored(repository)(start))[1]), "tcp:127.0.0.1:0")
SHOP = int(shop.address.rsplit(":", 1)[1])
shopping = Teeproxy('''
	resolver { hosts $DIR/hosts; server 127.0.0.1:$NODNS }
	frontend egress { listen 127.0.0.1:$TCP; from any to { 127.0.0.0/8:$SHOP 127.0.0.0/8:$TLS } -> direct }
''', ports=["TCP"], env={"SHOP": str(SHOP), "TLS": str(TLS), "NODNS": str(free_port())})
SHOPPING = "127.0.0.1:%d" % shopping.port("TCP")


@case
def apt_through_acquire_http_proxy():
	need("apt-get")
	repository["/./Packages"] = b"Package: hello\nVersion: 1\nArchitecture: all\nFilename: ./hello.deb\nSize: 4\nSHA256: " + \
		hashlib.sha256(b"deb!").hexdigest().encode() + b"\nDescription: x\n\n"
	repository["/./hello.deb"] = repository["/hello.deb"] = b"deb!"
	root = os.path.join(DIR, "apt")
	for sub in "lists/partial", "archives/partial", "etc":
		os.makedirs(os.path.join(root, sub))
	with open(os.path.join(root, "sources.list"), "w") as f:
		f.write("deb [trusted=yes] http://a.test:%d ./\n" % SHOP)
	open(os.path.join(root, "status"), "w").close()
	options = ["-o", "Dir::Etc=%s/etc" % root, "-o", "Dir::Etc::sourcelist=%s/sources.list" % root, "-o", "Dir::State=" + root,
		   "-o", "Dir::State::status=%s/status" % root, "-o", "Dir::Cache=" + root, "-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=0",
		   "-o", "Acquire::http::Proxy=http://%s/" % SHOPPING, "-o", "Acquire::https::Proxy=http://%s/" % SHOPPING]
	done = subprocess.run(["apt-get", *options, "update"], capture_output=True, text=True)
	equal(done.returncode, 0, done.stdout + done.stderr)
	done = subprocess.run(["apt-get", *options, "download", "hello"], capture_output=True, text=True, cwd=root)
	names = [name for name in os.listdir(root) if name.endswith(".deb")]
	equal((done.returncode, len(names)), (0, 1), done.stdout + done.stderr)
	equal(open(os.path.join(root, names[0]), "rb").read(), b"deb!")
	shopping.wait_log(r"method=GET name=a\.test:%d path=\S*hello\.deb status=200" % SHOP)


@case
def pip_through_its_proxy():
	wheel = io.BytesIO()
	with zipfile.ZipFile(wheel, "w") as z:
		z.writestr("tiny.py", "")
		z.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
		z.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
		z.writestr("tiny-1.dist-info/RECORD", "")
	repository["/simple/tiny/"] = b'<a href="/tiny-1-py3-none-any.whl">tiny-1-py3-none-any.whl</a>'
	repository["/tiny-1-py3-none-any.whl"] = wheel.getvalue()
	if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
		raise Skip("no pip here")
	done = subprocess.run([sys.executable, "-m", "pip", "--isolated", "download", "--no-cache-dir", "--disable-pip-version-check", "--retries", "0",
			       "--proxy", "http://" + SHOPPING, "--trusted-host", "a.test", "--index-url", "http://a.test:%d/simple/" % SHOP, "--no-deps",
			       "-d", os.path.join(DIR, "wheels"), "tiny"], capture_output=True, text=True)
	equal((done.returncode, os.listdir(os.path.join(DIR, "wheels")) if not done.returncode else ""), (0, ["tiny-1-py3-none-any.whl"]),
	      done.stdout + done.stderr)


JAVA = r"""
import java.io.*;
import java.net.*;
import java.net.http.*;

class Ask {
	public static void main(String[] a) throws Exception {
		InetSocketAddress proxy = new InetSocketAddress("127.0.0.1", Integer.parseInt(a[0]));
		HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).proxy(ProxySelector.of(proxy)).build();
		for (int i = 0; i < 2; i++)
			System.out.println(client.send(HttpRequest.newBuilder(URI.create(a[1])).build(), HttpResponse.BodyHandlers.ofString()).body());
		URLConnection c = new URL(a[1]).openConnection(new Proxy(Proxy.Type.SOCKS, proxy));
		System.out.println(new BufferedReader(new InputStreamReader(c.getInputStream())).readLine());
	}
}
"""


@case
def javas_clients_through_http_and_socks():
	java = need("java")
	need("javac")	# without it java runs no source either
	repository["/java"] = b"from the shop"
	source = os.path.join(DIR, "Ask.java")
	with open(source, "w") as f:
		f.write(JAVA)
	done = subprocess.run([java, source, SHOPPING.split(":")[1], "http://a.test:%d/java" % SHOP], capture_output=True, text=True)
	equal(done.stdout.split("\n")[:3], ["from the shop"] * 3, done.stderr)
	shopping.wait_log("protocol=socks5")


run()
