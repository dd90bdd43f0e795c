// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Selection by the configuration: local ports and client addresses. */
#ifndef EBPF_TCP_FILTER_H
#define EBPF_TCP_FILTER_H

#include "maps.h"

/* Off unless configured; the verifier then removes the lookups below. */
const volatile bool filter_ports;
const volatile bool filter_clients;
const volatile bool clients_included_by_default = true;
/* 1 = selected. Set at load together with filter_ports. */
const volatile __u8 selected_ports[65536];

static __always_inline bool is_port_selected(__u16 port)
{
	__u32 index = port;

	/*
	 * Older verifiers (6.1, for example) assume that a byte swap yields a number of any
	 * size. Clang knows better and removes a mask written in C.
	 */
	asm volatile("%0 &= 0xffff" : "+r"(index));
	return !filter_ports || selected_ports[index];
}

static __always_inline bool is_client_selected(const __u8 address[16])
{
	struct client_key key = { .prefixlen = 128 };
	__u32 *included;

	if (!filter_clients)
		return true;
	__builtin_memcpy(key.address, address, 16);
	included = bpf_map_lookup_elem(&client_filter, &key);
	return included ? *included : clients_included_by_default;
}

static __always_inline bool is_flow_selected(const struct flow *flow)
{
	return is_port_selected(flow->local_port) && is_client_selected(flow->remote);
}

#endif
