/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An address as the configuration writes it: where to listen, whom to reach.
 *
 * Pure: text to struct and back.  src/net/address.h makes socket addresses of it.
 */
#ifndef CONFIG_ADDRESS_H
#define CONFIG_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"

enum address_kind {
	ADDRESS_TCP_ANY,	/* *:443 - both families; listening only */
	ADDRESS_TCP_IP,		/* 127.0.0.1:80, [::1]:80 */
	ADDRESS_TCP_NAME,	/* host.example:443 - resolved, and again when its TTL ends */
	ADDRESS_VSOCK,		/* vsock:16:8443, vsock:*:5000, vsock:tee-k:8443 */
	ADDRESS_UNIX,		/* unix:/run/teeproxy/k.sock */
	ADDRESS_UNIX_ABSTRACT,	/* unix:@name */
	ADDRESS_UDS_VSOCK,	/* uds-vsock:/run/vm/v.sock:8443 (Firecracker, Cloud Hypervisor) */
};

#define ADDRESS_CID_ANY UINT32_MAX	/* VMADDR_CID_ANY */

struct address {
	enum address_kind kind;
	struct ip_addr ip;	/* TCP_IP */
	const char *name;	/* TCP_NAME: lower-case host; UNIX*: path or name; UDS_VSOCK: path */
	uint32_t cid;		/* VSOCK */
	uint32_t port;		/* TCP*: 1-65535; VSOCK and UDS_VSOCK: 32 bits */
	const char *text;	/* as it is shown to people, canonical */
};

#endif
