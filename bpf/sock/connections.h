// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The connections that are followed, and their ids. */
#ifndef EBPF_TCP_CONNECTIONS_H
#define EBPF_TCP_CONNECTIONS_H

#include "emit.h"
#include "maps.h"
#include "shares.h"

/*
 * Enters a connection. -EEXIST: the key exists; -EDQUOT: the namespace holds its share;
 * any other error: the map is full.
 */
static __always_inline long enter_connection(__u64 key, const struct connection *connection)
{
	long error;

	if (!has_room(connection->netns, ROOM_CONNECTIONS))
		return -EDQUOT;
	/*
	 * Atomic operations wait until all earlier stores are done, and those of the insert go
	 * to memory that this CPU does not have in its cache. So count before.
	 */
	count_room(connection->netns, ROOM_CONNECTIONS, 1);
	error = bpf_map_update_elem(&connections, &key, connection, BPF_NOEXIST);
	if (error)
		count_room(connection->netns, ROOM_CONNECTIONS, -1);
	return error;
}

/* Deletes the entry of a connection of a namespace; false if it was not there. */
static __always_inline bool delete_connection(__u64 key, __u32 netns)
{
	if (bpf_map_delete_elem(&connections, &key))
		return false;
	count_room(netns, ROOM_CONNECTIONS, -1);
	return true;
}

/* Nearly every connection is accepted within this time, in nanoseconds. */
#define FULL_MATTERS 60000000000ULL

/* When a connection of a namespace last found no room; 0 = never. */
static __always_inline __u64 last_full(__u32 netns)
{
	const struct namespace_share *share = bpf_map_lookup_elem(&namespace_rooms, &netns);
	__u32 zero = 0;
	const __u64 *last = bpf_map_lookup_elem(&connections_full, &zero);
	__u64 full = last ? *last : 0;

	return share && share->refused > full ? share->refused : full;
}

static __always_inline bool is_full_lately(__u32 netns, __u64 now)
{
	__u64 last = last_full(netns);

	return last && now - last < FULL_MATTERS;
}

/* A connection is counted, but has no entry because of an error of enter_connection. */
static __noinline __attribute__((unused)) void count_not_followed(long error, __u32 netns,
								  __u64 now)
{
	struct namespace_share *share = NULL;
	__u32 zero = 0;
	__u64 *last;

	count_lost(EVENT_CONNECTION, error == -EDQUOT ? CAUSE_MAP_SHARE : CAUSE_MAP_FULL, 1);
	if (error == -EDQUOT)
		share = bpf_map_lookup_elem(&namespace_rooms, &netns);
	last = share ? &share->refused : bpf_map_lookup_elem(&connections_full, &zero);
	if (last)
		*last = now;
}

/* An id is a count, then the CPU, then the space: small counts make small numbers. */
#define ID_SPACE_BITS 3
#define ID_CPU_BITS 16
_Static_assert(ID_SPACES <= 1 << ID_SPACE_BITS, "id spaces need more bits");

/*
 * CPU and a count per CPU are unique without an atomic fetch, which needs 5.12. Before 6.1
 * a program can interrupt itself: two connections that open in the same instant on one
 * CPU could get the same id.
 */
static __always_inline __u64 take_id(enum id_space space)
{
	__u32 zero = 0;
	struct ids *ids = bpf_map_lookup_elem(&connection_ids, &zero);

	if (!ids)
		return 0;
	return ++ids->next[space] << (ID_CPU_BITS + ID_SPACE_BITS) |
	       (__u64)bpf_get_smp_processor_id() << ID_SPACE_BITS | (__u64)space;
}

#endif
