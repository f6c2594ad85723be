#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Names in mode egress, with a name server of the test's own: what each answer leads to, which addresses of a
name are dialled, names that change under way, look-ups that never end, and their cap."""
import os
import resource
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *
from egress_clients import *
from dns_server import DnsServer, turns

WAITING = 2000
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, 65536), hard))


def tell(name):
	"""Says which server this is, then echoes."""
	def handler(s, peer):
		s.sendall(name.encode() + b" ")
		echo_handler(s, peer)
	return handler


def ipv6():
	try:
		return Server(tell("six"), "tcp:[::1]:0", name="six")
	except OSError:
		return None


one = Server(tell("one"), "tcp:127.0.0.1:0", name="one")
PORT = int(one.address.rsplit(":", 1)[1])
two = Server(tell("two"), "tcp:127.0.0.2:%d" % PORT, name="two")
six = ipv6()
SIX = int(six.address.rsplit(":", 1)[1]) if six else PORT
inside = Server(tell("inside"), name="inside")

dns = DnsServer({
	"a.test": ["127.0.0.1"], "b.test": ["127.0.0.2"], "both.test": ["127.0.0.1", "127.0.0.2"],
	"six.test": ["::1"], "dual.test": ["::1", "127.0.0.1"],
	"half.test": ["127.0.0.1", "AAAA silent"], "broken-half.test": ["127.0.0.1", "AAAA servfail"],
	"cname.test": ["cname mid.test"], "mid.test": ["cname a.test"], "loop.test": ["cname loop.test"],
	"zero.test": ["127.0.0.1 ttl 0"], "brief.test": ["127.0.0.1 ttl 1"],
	"nx.test": "nxdomain", "fail.test": "servfail", "refused.test": "refused", "empty.test": "nodata", "mute.test": "silent",
	"fresh.test": ["127.0.0.1"], "*.fresh.test": ["127.0.0.1"],
	"big.test": ["truncate", "127.0.0.1"],
	"forty.test": ["127.0.1.%d" % i for i in range(1, 40)] + ["127.0.0.1"],
	"forty-refused.test": ["10.0.0.%d" % i for i in range(1, 40)] + ["127.0.0.1"],
	"mixed.test": ["10.0.0.1", "169.254.169.254", "127.0.0.2", "fd00::1"],
	"private.test": ["192.168.1.1"], "metadata.test": ["169.254.169.254", "fd00:ec2::254"], "nat64.test": ["64:ff9b::a00:1"],
	"mapped.test": ["::ffff:10.0.0.1"], "zero-address.test": ["0.0.0.0", "::"],
	"rebind.test": turns(["93.184.216.34 ttl 0"], ["127.0.0.1 ttl 0"]),
	"public-and-own.test": ["127.0.0.1", "93.184.216.34"],
	"*.never.test": "silent",
})
with open(os.path.join(DIR, "hosts"), "w") as hosts:
	hosts.write("127.0.0.2 host.test\n")
proxy = Teeproxy('''
	global { workers 2; max-connections 4000 }
	enclave tee-k { cid 16; max-lookups 4000 }
	enclave tee-t { cid 17; max-lookups 5 }
	resolver { server $DNS; hosts $DIR/hosts }
	frontend egress {
		listen unix:$DIR/k.sock as tee-k
		listen unix:$DIR/t.sock as tee-t
		timeout hello 60s
		from any to 127.0.0.0/8:$PORT  -> direct
		from any to [::1/128]:$SIX     -> direct
		from any to *:$PORT            -> direct
		from any to *:443              -> direct
	}
	frontend careful mode egress {
		listen unix:$DIR/careful.sock
		from any to 127.0.0.2/32:*     -> reject
		from any to 93.184.216.34/32:* -> $INSIDE
		from any to { a.test:80 nx.test:80 fail.test:80 mute.test:80 } -> $INSIDE
		from any to { a.test:81 nx.test:81 } -> drop
		from any to 127.0.0.0/8:$PORT  -> direct
		from any to *:*                -> direct
	}
	frontend rebound mode egress {
		listen unix:$DIR/rebound.sock
		from any to 93.184.216.34/32:443 -> $INSIDE
		from any to *:443              -> direct
	}
''', env={"DNS": dns.address, "PORT": str(PORT), "SIX": str(SIX) if SIX != PORT else str(PORT + 1 if PORT < 65535 else 1), "INSIDE": inside.address})
K, T, CAREFUL, REBOUND = ("unix:%s/%s.sock" % (DIR, n) for n in ("k", "t", "careful", "rebound"))


def who(where, name, port=PORT):
	"""Which server is behind the name: its word, or b"" for nobody."""
	with line(where, "%s:%d" % (name, port), b"x") as s:
		s.shutdown(socket.SHUT_WR)
		return read_all(s)


@case
def names_lead_to_their_addresses():
	for name, want in ("a", b"one x"), ("b", b"two x"), ("cname", b"one x"), ("mid", b"one x"), ("big", b"one x"), \
			("zero", b"one x"), ("brief", b"one x"), ("half", b"one x"), ("broken-half", b"one x"):
		equal(who(K, name + ".test"), want, name)
		equal(who(K, name.upper() + ".Test."), want, name)
	true(dns.count("big.test", "A", "tcp") >= 1, "asked again over TCP")
	true(who(K, "both.test") in (b"one x", b"two x"), "either")
	proxy.wait_log(r"name=cname\.test:%d rule=\S+:\d+ target=127\.0\.0\.1:%d hello_ms=\d+ lookup_ms=\d+ connect_ms=\d+ total_ms=\d+ "
		       r"bytes_up=1 bytes_down=5 reason=done protocol=line" % (PORT, PORT))


@case
def all_three_protocols_look_names_up():
	equal(socks(K, "b.test", PORT)[0], 0)
	equal(http_connect(K, "b.test:%d" % PORT)[0], 200)


@case
def a_name_with_ipv6():
	if not six:
		raise Skip("no IPv6 here")
	equal(who(K, "six.test", SIX), b"six x")
	equal(who(K, "dual.test", SIX), b"six x")
	equal(who(K, "dual.test"), b"one x", "::1 is not open on this port")


@case
def failures_have_their_statuses_codes_and_reasons():
	for name, status, reason in (("nx", 502, "name_unknown"), ("empty", 502, "name_unknown"), ("not-there", 502, "name_unknown"),
				     ("fail", 502, "lookup_failed"), ("refused", 502, "lookup_failed"), ("mute", 504, "lookup_timeout")):
		said = outcome(K, name + ".test", 443)
		equal(said[:3], (b"", status, HOST), name)
		true(said[3].startswith(name + ".test: "), said)
		proxy.wait_log(r"name=%s\.test:443 .*reason=%s protocol=line" % (name, reason))
	true(outcome(K, "loop.test", 443)[1] in (502, 504), "a CNAME loop ends")


@case
def what_cannot_be_a_name_is_not_asked_for():
	for name in "a" * 64 + ".test", ".".join(["a" * 62] * 4) + ".bb":	# a label of 64 bytes; 254 in all
		
		equal(outcome(K, name, 443)[:3], (b"", 502, HOST), name)
		equal(dns.count(name), 0)


@case
def forty_addresses_are_tried_until_one_connects():
	equal(who(K, "forty.test"), b"one x")
	equal(who(K, "forty-refused.test"), b"one x")


@case
def allowed_addresses_are_used_and_refused_ones_never():
	equal(who(K, "mixed.test"), b"two x")
	proxy.wait_log(r"name=mixed\.test:%d rule=\S+ target=127\.0\.0\.2:%d .*reason=done" % (PORT, PORT))
	for name, why in (("private", "192.168.1.1 is private"), ("metadata", "metadata service"), ("nat64", "64:ff9b::a00:1 is private"),
			  ("mapped", "10.0.0.1 is private"), ("zero-address", "this network|unspecified"), ("a", "127.0.0.1 is loopback")):
		said = outcome(K, name + ".test", 443)
		equal(said[:3], (b"", 403, NOT_ALLOWED), name)
		true(re.search(r"\.conf:\d+: address policy: .*(%s)" % why, said[3]), said[3])
	proxy.wait_log(r"name=metadata\.test:443 rule=\S+ .*reason=address_refused protocol=line error=")


@case
def a_name_that_is_rebound_gains_nothing():
	equal(who(REBOUND, "rebind.test", 443), b"inside x", "the public address, by its rule")
	# Each worker has its own cache, and keeps an answer for a second at least.
	until(lambda: [http_connect(REBOUND, "rebind.test:443")[0] for _ in range(8)] == [403] * 8, "its second answer is refused")
	proxy.wait_log(r"name=rebind\.test:443 .*reason=address_refused .*127\.0\.0\.1 is loopback")


@case
def an_answer_of_a_short_ttl_is_followed():
	equal(who(K, "brief.test"), b"one x")
	dns.zone["brief.test"] = ["127.0.0.2 ttl 1"]
	until(lambda: who(K, "brief.test") == b"two x", "the new address")
	dns.zone["brief.test"] = "nxdomain"
	until(lambda: who(K, "brief.test") == b"", "the name is gone")


@case
def a_rule_for_addresses_stops_a_name_that_leads_there():
	equal(outcome(CAREFUL, "b.test", PORT)[:3], (b"", 403, NOT_ALLOWED))
	true(outcome(CAREFUL, "b.test", PORT)[3].endswith(": reject"), "reject")
	equal(who(CAREFUL, "both.test"), b"one x", "the other address goes")
	equal(who(CAREFUL, "a.test", 80), b"inside x")
	equal(who(CAREFUL, "public-and-own.test", 444), b"inside x", "the address that a rule leads elsewhere")


@case
def a_failed_look_up_that_only_a_rule_for_addresses_asked_for_is_no_failure():
	for name in "nx", "fail", "mute":
		equal(who(CAREFUL, name + ".test", 80), b"inside x", name)
	equal(outcome(CAREFUL, "nx.test", 82)[:3], (b"", 502, HOST), "direct needs an address")
	with line(CAREFUL, "nx.test:81") as s:
		equal(read_all(s), b"", "drop")


@case
def look_ups_of_one_name_are_shared_and_kept():
	dns.zone["shared.test"] = ["127.0.0.1 ttl 600"]
	before = dns.count("shared.test")
	clients = [line(K, "shared.test:%d" % PORT, b"x") for _ in range(50)]
	for s in clients:
		with s:
			s.shutdown(socket.SHUT_WR)
			equal(read_all(s), b"one x")
	true(dns.count("shared.test") - before <= 2 * 2, "asked once by each worker, for A and AAAA")


@case
def an_enclave_waits_for_so_many_names_and_no_more():
	held = []
	def fill():
		# Five that wait; they give up after seconds, so that a slow machine may need another try.
		held.extend(line(T, "%d.never.test:443" % (len(held) + i)) for i in range(5))
		said = outcome(T, "%d.fresh.test" % len(held), 443)
		return said if said[1:3] == (503, GENERAL) else None
	said = until(fill, "the sixth is refused")
	true("max-lookups" in said[3], said)
	equal(who(T, "127.0.0.2"), b"two x", "what needs no look-up goes on")
	equal(who(T, "host.test"), b"two x", "nor does the hosts file")
	equal(who(K, "b.test"), b"two x", "the other enclave goes on")
	proxy.wait_log(r"enclave=tee-t .*name=\d+\.fresh\.test:443 .*reason=enclave_lookups protocol=socks5 refused=\d+")
	for s in held:
		with s:
			equal(read_all(s), b"")
	until(lambda: who(T, "b.test") == b"two x", "and it too, after they have ended")


@case
def a_name_that_is_known_waits_for_nothing_and_needs_no_place():
	single = Teeproxy('''
		global workers 1
		enclave tee-t { cid 17; max-lookups 1 }
		resolver { server $DNS }
		frontend egress { listen unix:$DIR/single.sock as tee-t; timeout hello 60s; from any to 127.0.0.0/8:$PORT -> direct; from any to *:443 -> direct }
	''', env={"DNS": dns.address, "PORT": str(PORT)})
	where = "unix:%s/single.sock" % DIR
	equal(who(where, "a.test"), b"one x")
	held = []
	def full():
		held.append(line(where, "%d.never.test:443" % (1000 + len(held))))
		said = http_connect(where, "%d.fresh.test:443" % len(held))
		said[2].close()
		known = who(where, "a.test")
		return (said[0] == 503) and [known]
	equal(until(full, "the place is taken"), [b"one x"])
	for s in held:
		s.close()
	single.stop()


@case
def while_2000_wait_for_names_that_never_resolve_the_next_is_served_and_ends():
	if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2 * WAITING + 500:
		raise Skip("too few descriptors")
	rounds = itertools.count()

	def fill_and_ask():
		"""How many waited while the others were served; None where this machine took longer than they wait."""
		n = next(rounds)
		held = [line(K, "w%d.%d.never.test:443" % (i, n)) for i in range(WAITING)]
		equal(who(K, "127.0.0.1"), b"one x")
		equal(who(K, "host.test"), b"two x", "a name of the hosts file")
		looked_up = who(K, "n%d.fresh.test" % n)
		waiting = WAITING - len(re.findall(r"name=w\d+\.%d\.never\.test:443 " % n, proxy.log()))
		for s in held:
			with s:
				equal(read_all(s), b"")
		proxy.wait_log(r"name=w\d+\.%d\.never\.test:443 .*reason=lookup_timeout" % n, WAITING)
		return waiting if looked_up == b"one x" else None
	print("# %d waited" % until(fill_and_ask, "they wait while it is served and ends, a name that must be looked up, too"))
	until(lambda: who(K, "fresh.test") == b"one x", "names are looked up as before")


run()
