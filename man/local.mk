# SPDX-License-Identifier: Apache-2.0

dist_man_MANS = man/teeproxy.8 man/teeproxy.conf.5
