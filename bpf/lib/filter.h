// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the configuration selects: local ports and client addresses. */
#ifndef EBPF_TCP_FILTER_H
#define EBPF_TCP_FILTER_H

#include "maps.h"

/* Off unless configured: the loads below are then dead code for the verifier. */
const volatile bool filter_ports;
const volatile bool filter_clients;
const volatile bool clients_included_by_default = true;
/* 1 = selected. Set before load when filter_ports is. */
const volatile __u8 selected_ports[65536];

static __always_inline bool is_port_selected(__u16 port)
{
	__u32 index = port;

	/*
	 * Older verifiers (6.1's is one) take what a byte swap leaves for a number of
	 * any size, and clang, which knows better, drops a mask written in C.
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
