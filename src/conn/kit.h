/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the connections of a worker share and hand to each other: worker.kit.  All of it
 * goes when there is no connection left.
 */
#ifndef CONN_KIT_H
#define CONN_KIT_H

#include "base/list.h"
#include "conn/http_exchange.h"
#include "conn/pump.h"

struct conn_kit {
	struct pump_kit pump;
	struct http_spares spares;
	int closing, n_closing;	/* descriptors in a row, to be closed at the end of the turn */
	struct list resting;	/* dead connections whose server's socket is used again: reuse.h */
	unsigned n_resting;
	bool ending;	/* nobody rests any more */
	size_t peak;	/* connections, since memory was last given back */
};

#endif
