# SPDX-License-Identifier: Apache-2.0
# Unit tests are cmocka programs that print TAP; scripts print TAP too.  One
# test a block, so that branches merge.

TEST_EXTENSIONS = .sh .py
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
SH_LOG_DRIVER = $(LOG_DRIVER)
PY_LOG_DRIVER = $(LOG_DRIVER)
PY_LOG_COMPILER = /usr/bin/python3
AM_TESTS_ENVIRONMENT = \
	TEEPROXY='$(abs_top_builddir)/teeproxy' \
	top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)' \
	CMOCKA_MESSAGE_OUTPUT=TAP PYTHONDONTWRITEBYTECODE=1; \
	export TEEPROXY top_srcdir top_builddir CMOCKA_MESSAGE_OUTPUT PYTHONDONTWRITEBYTECODE;

# Fuzz targets, their replay and the differential test.
include tests/fuzz/local.mk

unit_ldadd = $(TEEPROXY_LIBS) $(TEEPROXY_LIBADD) $(CMOCKA_LIBS)

if HAVE_CMOCKA
unit_tests = \
	tests/unit/test_aws_answers \
	tests/unit/test_aws_endpoints \
	tests/unit/test_aws_kms \
	tests/unit/test_aws_plan \
	tests/unit/test_aws_queue \
	tests/unit/test_aws_retry \
	tests/unit/test_base_ip \
	tests/unit/test_base_slice \
	tests/unit/test_conn_http_exchange \
	tests/unit/test_conn_pump \
	tests/unit/test_engine_limits \
	tests/unit/test_engine_pool \
	tests/unit/test_engine_sources \
	tests/unit/test_engine_timers \
	tests/unit/test_log_log \
	tests/unit/test_net_dial \
	tests/unit/test_net_local \
	tests/unit/test_net_race \
	tests/unit/test_net_resolve \
	tests/unit/test_route_address_class \
	tests/unit/test_route_explain \
	tests/unit/test_route_path \
	tests/unit/test_route_policy \
	tests/unit/test_route_property \
	tests/unit/test_route_rules \
	tests/unit/test_wire_egress_request \
	tests/unit/test_wire_host_name \
	tests/unit/test_wire_http_body \
	tests/unit/test_wire_http_forward \
	tests/unit/test_wire_http_head \
	tests/unit/test_wire_json_reader \
	tests/unit/test_wire_json_stream \
	tests/unit/test_wire_proxy_header \
	tests/unit/test_wire_tls_hello
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)

EXTRA_DIST += tests/golden/kms.golden
tests_unit_test_aws_kms_SOURCES = tests/unit/test_aws_kms.c
tests_unit_test_aws_kms_LDADD = $(unit_ldadd)

tests_unit_test_aws_answers_SOURCES = tests/unit/test_aws_answers.c
tests_unit_test_aws_answers_LDADD = $(unit_ldadd)

tests_unit_test_aws_endpoints_SOURCES = tests/unit/test_aws_endpoints.c
tests_unit_test_aws_endpoints_LDADD = $(unit_ldadd)

tests_unit_test_aws_plan_SOURCES = tests/unit/test_aws_plan.c
tests_unit_test_aws_plan_LDADD = $(unit_ldadd)

tests_unit_test_aws_queue_SOURCES = tests/unit/test_aws_queue.c
tests_unit_test_aws_queue_LDADD = $(unit_ldadd)

tests_unit_test_aws_retry_SOURCES = tests/unit/test_aws_retry.c
tests_unit_test_aws_retry_LDADD = $(unit_ldadd)

tests_unit_test_base_ip_SOURCES = tests/unit/test_base_ip.c
tests_unit_test_base_ip_LDADD = $(unit_ldadd)

tests_unit_test_base_slice_SOURCES = tests/unit/test_base_slice.c
tests_unit_test_base_slice_LDADD = $(unit_ldadd)

tests_unit_test_conn_pump_SOURCES = tests/unit/test_conn_pump.c
tests_unit_test_conn_pump_LDADD = $(unit_ldadd)

tests_unit_test_engine_limits_SOURCES = tests/unit/test_engine_limits.c
tests_unit_test_engine_limits_LDADD = $(unit_ldadd)

tests_unit_test_engine_pool_SOURCES = tests/unit/test_engine_pool.c
tests_unit_test_engine_pool_LDADD = $(unit_ldadd)

tests_unit_test_engine_sources_SOURCES = tests/unit/test_engine_sources.c
tests_unit_test_engine_sources_LDADD = $(unit_ldadd)

tests_unit_test_engine_timers_SOURCES = tests/unit/test_engine_timers.c
tests_unit_test_engine_timers_LDADD = $(unit_ldadd)

tests_unit_test_log_log_SOURCES = tests/unit/test_log_log.c
tests_unit_test_log_log_LDADD = $(unit_ldadd)

tests_unit_test_net_dial_SOURCES = tests/unit/test_net_dial.c
tests_unit_test_net_dial_LDADD = $(unit_ldadd)

tests_unit_test_net_local_SOURCES = tests/unit/test_net_local.c
tests_unit_test_net_local_LDADD = $(unit_ldadd)

tests_unit_test_net_race_SOURCES = tests/unit/test_net_race.c
tests_unit_test_net_race_LDADD = $(unit_ldadd)

tests_unit_test_net_resolve_SOURCES = tests/unit/net_name_server.h tests/unit/test_net_resolve.c
tests_unit_test_net_resolve_LDADD = $(unit_ldadd)

tests_unit_test_route_address_class_SOURCES = tests/unit/test_route_address_class.c
tests_unit_test_route_address_class_LDADD = $(unit_ldadd)

tests_unit_test_route_explain_SOURCES = tests/unit/test_route_explain.c
tests_unit_test_route_explain_LDADD = $(unit_ldadd)

tests_unit_test_route_path_SOURCES = tests/unit/test_route_path.c
tests_unit_test_route_path_LDADD = $(unit_ldadd)

tests_unit_test_route_policy_SOURCES = tests/unit/test_route_policy.c
tests_unit_test_route_policy_LDADD = $(unit_ldadd)

tests_unit_test_route_property_SOURCES = tests/unit/test_route_property.c
tests_unit_test_route_property_LDADD = $(unit_ldadd)

tests_unit_test_route_rules_SOURCES = tests/unit/test_route_rules.c
tests_unit_test_route_rules_LDADD = $(unit_ldadd)

tests_unit_test_wire_egress_request_SOURCES = tests/unit/test_wire_egress_request.c
tests_unit_test_wire_egress_request_LDADD = $(unit_ldadd)

tests_unit_test_wire_host_name_SOURCES = tests/unit/test_wire_host_name.c
tests_unit_test_wire_host_name_LDADD = $(unit_ldadd)

tests_unit_test_wire_http_body_SOURCES = tests/unit/test_wire_http_body.c
tests_unit_test_wire_http_body_LDADD = $(unit_ldadd)

tests_unit_test_wire_http_head_SOURCES = tests/unit/test_wire_http_head.c
tests_unit_test_wire_http_head_LDADD = $(unit_ldadd)

tests_unit_test_wire_json_reader_SOURCES = tests/unit/test_wire_json_reader.c
tests_unit_test_wire_json_reader_LDADD = $(unit_ldadd)

tests_unit_test_wire_json_stream_SOURCES = tests/unit/test_wire_json_stream.c
tests_unit_test_wire_json_stream_LDADD = $(unit_ldadd)

tests_unit_test_wire_proxy_header_SOURCES = tests/unit/test_wire_proxy_header.c
tests_unit_test_wire_proxy_header_LDADD = $(unit_ldadd)

tests_unit_test_wire_tls_hello_SOURCES = tests/unit/test_wire_tls_hello.c
tests_unit_test_wire_tls_hello_LDADD = $(unit_ldadd)

tests_unit_test_wire_http_forward_SOURCES = tests/unit/test_wire_http_forward.c
tests_unit_test_wire_http_forward_LDADD = $(unit_ldadd)

tests_unit_test_conn_http_exchange_SOURCES = tests/unit/test_conn_http_exchange.c
tests_unit_test_conn_http_exchange_LDADD = $(unit_ldadd)
endif

dist_check_SCRIPTS += tests/conf/run.py
TESTS += tests/conf/run.py
# Shared by the parsers' tests.
EXTRA_DIST += tests/unit/cuts.h

EXTRA_DIST += tests/conf/accept tests/conf/explain tests/conf/format tests/conf/import tests/conf/reject

# End to end: what the scripts share is in e2e/lib, described at its top.
EXTRA_DIST += tests/e2e/lib/dns_server.py
EXTRA_DIST += tests/e2e/lib/egress_clients.py
EXTRA_DIST += tests/e2e/lib/teeproxy_test.py

dist_check_SCRIPTS += tests/e2e/lib-selftest.py
TESTS += tests/e2e/lib-selftest.py

dist_check_SCRIPTS += tests/conf/examples.sh
TESTS += tests/conf/examples.sh

# The demo, guests with a real AF_VSOCK, and what is too long for every push.
EXTRA_DIST += tests/check-all.sh tests/demo/demo.py tests/fresh/check-fresh.sh \
	tests/vm/FACTS.md tests/vm/README.md tests/vm/check-vsock.sh tests/vm/lib.sh tests/vm/run.sh \
	tests/vm/guest/enclavectl tests/vm/guest/init tests/vm/nitro-enclave.py \
	tests/vm/nitro-in-parent.py tests/vm/src/enclave.c tests/vm/src/vsk.c \
	tests/vm/src/vsock-switch.c tests/vm/vsock-in-guest.py
.PHONY: check-all check-fresh check-nitro check-vsock
check-vsock: teeproxy
	@$(AM_TESTS_ENVIRONMENT) $(top_srcdir)/tests/vm/check-vsock.sh vsock
check-nitro: teeproxy
	@$(AM_TESTS_ENVIRONMENT) $(top_srcdir)/tests/vm/check-vsock.sh nitro
check-fresh:
	$(top_srcdir)/tests/fresh/check-fresh.sh
check-all: all
	@$(AM_TESTS_ENVIRONMENT) $(top_srcdir)/tests/check-all.sh

dist_check_SCRIPTS += tests/install/installed.sh
TESTS += tests/install/installed.sh

dist_check_SCRIPTS += tests/source/layers.py
TESTS += tests/source/layers.py

dist_check_SCRIPTS += tests/conf/manual.py
TESTS += tests/conf/manual.py

dist_check_SCRIPTS += tests/conf/misspelled.py
TESTS += tests/conf/misspelled.py

dist_check_SCRIPTS += tests/conf/check-json.py
TESTS += tests/conf/check-json.py

dist_check_SCRIPTS += tests/e2e/http-route.py tests/e2e/http-bodies.py
TESTS += tests/e2e/http-route.py tests/e2e/http-bodies.py

dist_check_SCRIPTS += tests/e2e/backends.py
TESTS += tests/e2e/backends.py

dist_check_SCRIPTS += tests/e2e/websocket-silence.py
TESTS += tests/e2e/websocket-silence.py

dist_check_SCRIPTS += tests/e2e/https-route.py
TESTS += tests/e2e/https-route.py

dist_check_SCRIPTS += tests/e2e/tcp-relay.py
TESTS += tests/e2e/tcp-relay.py

dist_check_SCRIPTS += tests/e2e/names-and-ttl.py tests/e2e/resolv-conf-changes.py tests/e2e/uds-vsock.py
TESTS += tests/e2e/names-and-ttl.py tests/e2e/resolv-conf-changes.py tests/e2e/uds-vsock.py

dist_check_SCRIPTS += tests/e2e/master-watches-the-engine.py
TESTS += tests/e2e/master-watches-the-engine.py

dist_check_SCRIPTS += tests/e2e/reload-loses-nothing.py
TESTS += tests/e2e/reload-loses-nothing.py

dist_check_SCRIPTS += tests/e2e/refuses-to-start.py
TESTS += tests/e2e/refuses-to-start.py

dist_check_SCRIPTS += tests/e2e/send-proxy.py
TESTS += tests/e2e/send-proxy.py

dist_check_SCRIPTS += tests/e2e/accept-proxy.py
TESTS += tests/e2e/accept-proxy.py

dist_check_SCRIPTS += tests/e2e/limits.py
TESTS += tests/e2e/limits.py

dist_check_SCRIPTS += tests/e2e/many-rules.py
TESTS += tests/e2e/many-rules.py

EXTRA_DIST += tests/acme/acme.py
TESTS += tests/acme/acme.py
include tests/bench/local.mk


dist_check_SCRIPTS += tests/demo/demo-answers.sh tests/demo/demo-keep.py
TESTS += tests/demo/demo-answers.sh tests/demo/demo-keep.py

EXTRA_DIST += tests/e2e/https-clients.py tests/e2e/tcp-bulk.py
TESTS += tests/e2e/https-clients.py tests/e2e/tcp-bulk.py

# What stands for AWS; its own test asks it with AWS's client library.
EXTRA_DIST += tests/e2e/lib/aws_keys.py tests/e2e/lib/aws_standin.py
dist_check_SCRIPTS += tests/e2e/aws-standin-selftest.py
TESTS += tests/e2e/aws-standin-selftest.py

dist_check_SCRIPTS += tests/e2e/egress-http.py
TESTS += tests/e2e/egress-http.py

dist_check_SCRIPTS += tests/e2e/egress-leaving.py
TESTS += tests/e2e/egress-leaving.py

dist_check_SCRIPTS += tests/e2e/egress-limits.py
TESTS += tests/e2e/egress-limits.py

dist_check_SCRIPTS += tests/e2e/egress-names.py
TESTS += tests/e2e/egress-names.py

dist_check_SCRIPTS += tests/e2e/egress-policy.py
TESTS += tests/e2e/egress-policy.py

dist_check_SCRIPTS += tests/e2e/aws-calls.py tests/e2e/aws-credentials.py tests/e2e/aws-memory.py
TESTS += tests/e2e/aws-calls.py tests/e2e/aws-credentials.py tests/e2e/aws-memory.py

dist_check_SCRIPTS += tests/e2e/egress-protocols.py
TESTS += tests/e2e/egress-protocols.py

# mode kms against the stand-in of AWS.
EXTRA_DIST += tests/e2e/lib/kms_test.py
dist_check_SCRIPTS += tests/e2e/kms-keys.py tests/e2e/kms-operations.py tests/e2e/kms-trouble.py tests/e2e/kms-wire.py
TESTS += tests/e2e/kms-keys.py tests/e2e/kms-operations.py tests/e2e/kms-trouble.py tests/e2e/kms-wire.py

dist_check_SCRIPTS += tests/e2e/tcp-edges.py
TESTS += tests/e2e/tcp-edges.py
dist_check_SCRIPTS += tests/e2e/server-sockets.py
TESTS += tests/e2e/server-sockets.py
dist_check_SCRIPTS += tests/e2e/relay-stress.py
TESTS += tests/e2e/relay-stress.py
