#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Targets that are names: looked up, kept for their TTL, raced, and failing with a reason."""
import os, sys
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/e2e/lib"))
from teeproxy_test import *
from dns_server import DnsServer, turns


def greet(s, peer):
	"""Says first which address was reached, then echoes."""
	s.sendall(b"%s\n" % s.getsockname()[0].encode())
	while True:
		some = s.recv(1 << 16)
		if not some:
			return
		s.sendall(some)


greeters = [Server(greet, "tcp:127.0.0.2:0")]
PORT = greeters[0].listener.getsockname()[1]
for host in ("127.0.0.3", "127.0.0.4"):
	greeters.append(Server(greet, "tcp:%s:%d" % (host, PORT)))
web = Server(http_handler("web"), "tcp:127.0.0.5:%d" % PORT)
DEAD = "127.0.0.9"	# nobody listens there

dns = DnsServer({
	"plain.test": ["127.0.0.2"],
	"both.test": ["::1", "127.0.0.2"],
	"short.test": turns(["127.0.0.2 ttl 1"], ["127.0.0.3 ttl 300"]),
	"zero.test": turns(["127.0.0.2 ttl 0"], ["127.0.0.3 ttl 300"]),
	"chain.test": turns(["cname middle.test ttl 1"], ["cname plain.test ttl 300"]),
	"middle.test": ["cname end.test ttl 300"],
	"end.test": ["127.0.0.4 ttl 300"],
	"dead-first.test": [DEAD, "127.0.0.2"],
	"dead.test": [DEAD],
	"forty.test": ["127.0.1.%d" % i for i in range(1, 40)] + ["127.0.0.2"],
	"big.test": ["truncate", "127.0.0.2"],
	"absent.test": "nxdomain",
	"empty.test": "nodata",
	"servfail.test": "servfail",
	"silent.test": "silent",
	"half.test": ["127.0.0.2", "AAAA silent"],
	"stale.test": ["127.0.0.2 ttl 1"],
	"shared.test": "silent",
	"brief.test": "silent",
	"endless.test": "silent",
	"web.test": ["127.0.0.5"],
})
TCP = ["plain", "both", "short", "zero", "chain", "dead-first", "dead", "forty", "big", "absent", "empty",
       "servfail", "silent", "half", "stale", "shared"]
hosts = os.path.join(DIR, "hosts")


def write_hosts(text):
	with open(hosts + ".new", "w") as f:
		f.write(text)
	os.rename(hosts + ".new", hosts)


write_hosts("127.0.0.3 filed.test\n")
proxy = Teeproxy('''
	global workers 1
	resolver { server $DNS; hosts $DIR/hosts; stale 1h }
	backend mixed {
		server tcp:dead.test:$PORT
		server tcp:absent.test:$PORT
		server tcp:plain.test:$PORT
		connect-retries 2
	}
''' + "".join("frontend %s mode tcp { listen 127.0.0.1:$%s; timeout connect 20s; default -> tcp:%s.test:$PORT }\n" %
	      (name, name.upper().replace("-", "_"), name) for name in TCP) + '''
	frontend mixed mode tcp { listen 127.0.0.1:$MIXED; default -> mixed }
	frontend filed mode tcp { listen 127.0.0.1:$FILED; default -> tcp:filed.test:$PORT }
	frontend local mode tcp { listen 127.0.0.1:$LOCAL; default -> tcp:localhost:$PORT }
	frontend brief mode tcp { listen 127.0.0.1:$BRIEF; timeout connect 200ms; default -> tcp:brief.test:$PORT }
	frontend life mode tcp { listen 127.0.0.1:$LIFE; timeout lifetime 200ms; default -> tcp:endless.test:$PORT }
	frontend http {
		listen 127.0.0.1:$WEB
		host good.test -> tcp:web.test:$PORT
		host bad.test -> tcp:absent.test:$PORT
	}
	frontend https {
		listen 127.0.0.1:$TLS
		sni bad.test -> tcp:absent.test:$PORT
	}
''', ports=[name.upper().replace("-", "_") for name in TCP] + ["MIXED", "FILED", "LOCAL", "BRIEF", "LIFE", "WEB", "TLS"],
	env={"DNS": dns.address, "PORT": str(PORT)})


def dial(name):
	return connect_to(address_of(proxy.port(name.upper().replace("-", "_"))))


def reached(name):
	"""The address of the server that greets through this frontend, or "" where none does."""
	with dial(name) as s:
		return read_line(s)


def read_line(s):
	return s.makefile("r").readline().strip()


@case
def a_name_leads_to_its_address_and_bytes_go_both_ways():
	with dial("plain") as s:
		equal(read_line(s), "127.0.0.2")
		s.sendall(b"there and back")
		s.shutdown(socket.SHUT_WR)
		equal(read_all(s), b"there and back")
	proxy.wait_log(r"frontend=plain .*target=plain.test:%d address=127.0.0.2:%d .*lookup_ms=\d+ .*reason=done" %
		       (PORT, PORT))


@case
def an_answer_is_kept_and_shared_by_all_targets_of_the_name():
	for _ in range(5):
		equal(reached("plain"), "127.0.0.2")
	equal(dns.count("plain.test", "A"), 1)
	equal(dns.count("plain.test", "AAAA"), 1)


@case
def when_the_ttl_ends_the_name_is_looked_up_again():
	equal(reached("short"), "127.0.0.2")
	equal(dns.count("short.test", "A"), 1)
	until(lambda: reached("short") == "127.0.0.3", "the second address")
	equal(dns.count("short.test", "A"), 2)


@case
def a_ttl_of_zero_is_followed_too():
	equal(reached("zero"), "127.0.0.2")
	until(lambda: reached("zero") == "127.0.0.3", "the second address")
	equal(dns.count("zero.test", "A"), 2)


@case
def the_smallest_ttl_of_a_chain_counts():
	equal(reached("chain"), "127.0.0.4")
	until(lambda: reached("chain") == "127.0.0.2", "the end of the new chain")
	equal(dns.count("chain.test", "A"), 2)


@case
def an_address_that_refuses_is_passed_over():
	equal(reached("dead-first"), "127.0.0.2")
	equal(reached("both"), "127.0.0.2")
	proxy.wait_log(r"frontend=dead-first .*address=127.0.0.2:")


@case
def of_forty_addresses_the_last_is_reached():
	equal(reached("forty"), "127.0.0.2")
	equal(dns.count("forty.test", transport="tcp"), 0)


@case
def an_answer_cut_short_is_asked_for_over_tcp():
	equal(reached("big"), "127.0.0.2")
	true(dns.count("big.test", "A", "tcp") == 1, "one query over TCP")


@case
def a_name_without_addresses_ends_with_name_unknown():
	for name in ("absent", "empty"):
		equal(reached(name), "")
		proxy.wait_log("frontend=%s .*reason=name_unknown" % name)


@case
def a_server_that_fails_is_told_and_remembered():
	for _ in range(3):
		equal(reached("servfail"), "")
	proxy.wait_log(r'frontend=servfail .*reason=lookup_failed', 3)
	true(dns.count("servfail.test", "A") <= 4, "the failure is remembered")


@case
def an_address_where_nobody_listens_ends_with_connect_failed():
	equal(reached("dead"), "")
	proxy.wait_log(r'frontend=dead .*reason=connect_failed error="nobody listens there"')


@case
def silence_of_the_servers_holds_up_nobody_else_and_ends():
	with dial("silent") as s:
		for _ in range(20):
			equal(reached("plain"), "127.0.0.2")
		true(not re.search("frontend=silent ", proxy.log()), "the silent look-up is under way")
		equal(read_line(s), "")
	proxy.wait_log("frontend=silent .*reason=lookup_timeout")


@case
def timeout_connect_bounds_the_look_up():
	equal(reached("brief"), "")
	proxy.wait_log(r"frontend=brief .*reason=connect_timeout")


@case
def one_family_that_is_silent_does_not_keep_the_other():
	equal(reached("half"), "127.0.0.2")


@case
def many_who_wait_for_one_name_share_its_look_up():
	with contextlib.ExitStack() as stack:
		waiting = [stack.enter_context(dial("shared")) for _ in range(200)]
		until(lambda: dns.count("shared.test", "A") >= 1, "the look-up")
		dns.zone["shared.test"] = ["127.0.0.3"]	# heard by the second try
		for s in waiting:
			equal(read_line(s), "127.0.0.3")
	true(dns.count("shared.test", "A") <= 2, "one query and its second try")


@case
def an_expired_answer_serves_while_the_servers_fail_but_not_past_nxdomain():
	equal(reached("stale"), "127.0.0.2")
	for behaviour in ("servfail", "silent"):
		dns.behaviour = behaviour
		asked = dns.count("stale.test", "A")
		# Until it has expired, was asked for in vain, and still was served.
		until(lambda: reached("stale") == "127.0.0.2" and dns.count("stale.test", "A") > asked,
		      "a stale answer through " + behaviour)
		equal(reached("stale"), "127.0.0.2")
	dns.behaviour = None
	dns.zone["stale.test"] = "nxdomain"
	until(lambda: reached("stale") == "", "the end of the stale answer")
	proxy.wait_log("frontend=stale .*reason=name_unknown")


@case
def servers_of_a_backend_may_be_names_and_are_tried_in_turn():
	for _ in range(3):
		equal(reached("mixed"), "127.0.0.2")


@case
def the_hosts_file_comes_first_and_is_read_again():
	equal(reached("filed"), "127.0.0.3")
	write_hosts("127.0.0.4 filed.test other.test\n")
	until(lambda: reached("filed") == "127.0.0.4", "the new hosts file")
	equal(dns.count("filed.test"), 0)


@case
def localhost_is_never_asked_for():
	equal(reached("local"), "")	# nobody listens on 127.0.0.1
	proxy.wait_log("frontend=local .*reason=connect_failed")
	equal(dns.count("localhost"), 0)


@case
def mode_http_reaches_names_and_answers_502_where_there_is_none():
	equal(http_get(proxy.port("WEB"), "good.test").body["enclave"], "web")
	proxy.wait_log(r"name=good.test .*address=127.0.0.5:\d+ .*lookup_ms=\d+")
	true(" 502 " in http_get(proxy.port("WEB"), "bad.test").start, "502")
	proxy.wait_log("name=bad.test .*status=502 .*reason=name_unknown")


@case
def mode_https_ends_where_the_name_is_none():
	try:
		tls_connect(proxy.port("TLS"), "bad.test").close()
	except OSError:
		pass
	proxy.wait_log(r"frontend=https .*name=bad.test .*reason=name_unknown")


@case
def a_connection_may_end_while_its_name_is_looked_up():
	equal(reached("life"), "")
	proxy.wait_log("frontend=life .*reason=lifetime")


@case
def the_next_server_is_asked_where_one_is_not_there():
	gone = DnsServer({})
	gone.close()
	try:
		six = DnsServer({"plain.test": ["127.0.0.4"]}, "::1")
	except OSError:
		raise Skip("no IPv6 here")
	second = Teeproxy('''
		resolver { server $GONE $SIX }
		frontend plain mode tcp { listen 127.0.0.1:$PLAIN; default -> tcp:plain.test:$PORT }
	''', ports=["PLAIN"], env={"GONE": gone.address, "SIX": six.address, "PORT": str(PORT)})
	with connect_to(address_of(second.port("PLAIN"))) as s:
		equal(read_line(s), "127.0.0.4")
	second.stop()


@case
def no_socket_stays_when_all_clients_have_gone():
	until(lambda: proxy.sockets() <= quiet, "the connections' sockets go")


quiet = proxy.sockets()
run()
