// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Local ports: which have listeners, and the counters of each. */
#ifndef EBPF_TCP_PORTS_H
#define EBPF_TCP_PORTS_H

#include "emit.h"
#include "filter.h"
#include "shares.h"

#include <bpf/bpf_endian.h>

static __always_inline __u8 flow_family(const struct flow *flow)
{
	const __u32 *words = (const __u32 *)flow->local;

	return !words[0] && !words[1] && words[2] == bpf_htonl(0xffff) ? 4 : 6;
}

static __always_inline void count_port(const struct port_counter_key *key, __u64 n)
{
	__u64 *count = bpf_map_lookup_elem(&port_counters, key);

	if (count) {
		__sync_fetch_and_add(count, n);
		return;
	}
	if (!has_room(key->netns, ROOM_PORT_COUNTERS)) {
		count_lost(EVENT_PORT_COUNT, CAUSE_MAP_SHARE, n);
		return;
	}
	/* If another CPU inserts between the two, add to its entry. */
	if (!bpf_map_update_elem(&port_counters, key, &n, BPF_NOEXIST)) {
		count_room(key->netns, ROOM_PORT_COUNTERS, 1);
		return;
	}
	count = bpf_map_lookup_elem(&port_counters, key);
	if (count)
		__sync_fetch_and_add(count, n);
	else
		count_lost(EVENT_PORT_COUNT, CAUSE_MAP_FULL, n);
}

static __always_inline void count_connection(const struct connection *connection, __u8 count,
					     __u64 n)
{
	struct port_counter_key key = {
		.netns = connection->netns,
		.port = connection->flow.local_port,
		.family = flow_family(&connection->flow),
		.count = count,
	};

	count_port(&key, n);
}

static __always_inline bool is_listening_port(__u32 netns, __u16 port)
{
	struct port_key key = { .netns = netns, .port = port };

	return bpf_map_lookup_elem(&listening_ports, &key) != NULL;
}

/* The index of a port in a port table. */
static __always_inline __u32 port_index(__u16 port)
{
	__u32 index = bpf_htons(port);

	/* Verifiers of the 6.1 class: see is_port_selected. */
	asm volatile("%0 &= 0xffff" : "+r"(index));
	return index;
}

static __always_inline void mark_listening(__u32 netns, __u16 port)
{
	struct port_key key = { .netns = netns, .port = port };
	__u32 one = 1, first = 0;
	void *array;

	bpf_map_update_elem(&listening_ports, &key, &one, BPF_ANY);
	array = bpf_map_lookup_elem(&port_tables, &netns);
	if (array) {
		struct port_table *table = bpf_map_lookup_elem(array, &first);

		/* User space gives it a place. */
		if (table && is_port_selected(port) && !table->listening[port_index(port)])
			table->listening[port_index(port)] = PORT_LISTENS;
	}
}

#endif
