/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_LOCAL_H
#define NET_LOCAL_H

#include <stdbool.h>

#include "base/ip.h"

/*
 * Whether packets to this address end at this machine.  The kernel is asked, each time, by
 * a bind that it only grants for such an address: that knows of addresses that came later
 * and of routes of type local, which no list of interfaces has.  Where the question cannot
 * be asked, and with net.ipv4.ip_nonlocal_bind, every address is.
 */
bool net_is_local(const struct ip_addr *a);

#endif
