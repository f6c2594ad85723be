/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the connections of a worker share and hand to each other: worker.kit.  All of it
 * goes when there is no connection left.
 */
#ifndef CONN_KIT_H
#define CONN_KIT_H

#include "conn/http_exchange.h"
#include "conn/pump.h"

struct conn_kit {
	struct pump_kit pump;
	struct http_spares spares;
	size_t peak;	/* connections, since memory was last given back */
};

#endif
