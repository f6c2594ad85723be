# SPDX-License-Identifier: Apache-2.0
# Examples, each of which `make check` loads; teeproxy.conf is also what a first
# install finds.  An edited one is never overwritten, nor removed.

example_confs = \
	conf/acme.conf \
	conf/demo.conf \
	conf/egress.conf \
	conf/kms.conf \
	conf/reclaim.conf

examplesdir = $(docdir)/examples
dist_examples_DATA = $(example_confs)
EXTRA_DIST += conf/teeproxy.conf dist/teeproxy.service.in dist/teeproxy.sysusers

systemdsystemunit_DATA = dist/teeproxy.service
CLEANFILES += dist/teeproxy.service
dist/teeproxy.service: $(top_srcdir)/dist/teeproxy.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) dist && $(SED) -e 's,[@]sbindir[@],$(sbindir),g' \
		-e 's,[@]sysconfdir[@],$(sysconfdir),g' $(top_srcdir)/dist/teeproxy.service.in > $@

install-data-local:
	$(MKDIR_P) "$(DESTDIR)$(sysconfdir)/teeproxy" "$(DESTDIR)$(prefix)/lib/sysusers.d"
	test -f "$(DESTDIR)$(sysconfdir)/teeproxy/teeproxy.conf" || \
		$(INSTALL_DATA) $(top_srcdir)/conf/teeproxy.conf "$(DESTDIR)$(sysconfdir)/teeproxy/teeproxy.conf"
	$(INSTALL_DATA) $(top_srcdir)/dist/teeproxy.sysusers "$(DESTDIR)$(prefix)/lib/sysusers.d/teeproxy.conf"

uninstall-local:
	if cmp -s $(top_srcdir)/conf/teeproxy.conf "$(DESTDIR)$(sysconfdir)/teeproxy/teeproxy.conf"; then \
		rm -f "$(DESTDIR)$(sysconfdir)/teeproxy/teeproxy.conf"; fi
	rm -f "$(DESTDIR)$(prefix)/lib/sysusers.d/teeproxy.conf"
