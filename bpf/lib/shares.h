// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Fair shares: no network namespace can fill a map at the expense of the others.
 *
 * While a map is less than three quarters full, every namespace gets entries. After that,
 * a namespace may hold a quarter of the entries, and gets no further ones. The collector's
 * own namespace has no such limit. Programs count what they insert and delete, per map
 * and per namespace. User space counts what it deletes in maps of its own, so that neither
 * side overwrites the counts of the other. Counts wrap; only differences matter.
 */
#ifndef EBPF_TCP_SHARES_H
#define EBPF_TCP_SHARES_H

#include "maps.h"

/* The collector's network namespace, which may take any free entry. */
const volatile __u32 own_netns;
/* Entries that each map has room for; 0 = no shares. */
const volatile __u32 room_capacity[ROOMS];
/* How many entries of the connections a CPU keeps from the total at most; 0 or 1 = none. */
const volatile __u32 room_batch;

static __always_inline __u32 quarter(__u32 of)
{
	return (of + 3) / 4;
}

static __always_inline __u32 three_quarters(__u32 of)
{
	return of - of / 4;
}

/* Inserts the counts of a namespace; NULL if there is no room. */
static __noinline struct namespace_share *enter_namespace(__u32 netns)
{
	struct namespace_share none = {};

	bpf_map_update_elem(&namespace_rooms, &netns, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&namespace_rooms, &netns);
}

static __always_inline struct namespace_share *rooms_of(__u32 netns)
{
	struct namespace_share *rooms = bpf_map_lookup_elem(&namespace_rooms, &netns);

	return rooms ? rooms : enter_namespace(netns);
}

/* Whether a namespace holds its quarter of a map. */
static __noinline bool is_share_used(__u32 netns, __u32 room)
{
	const struct namespace_share *rooms = rooms_of(netns);
	const struct room_counts *returned = bpf_map_lookup_elem(&namespace_returns, &netns);
	__s32 held;

	if (!rooms || room >= ROOMS)
		return true;
	held = rooms->taken.entries[room];
	if (returned)
		held -= returned->entries[room];
	return held >= (__s32)quarter(room_capacity[room]);
}

/* Whether a namespace may insert one more entry into a map. */
static __always_inline bool has_room(__u32 netns, enum room room)
{
	const struct room_totals *totals;
	__u32 first = 0;
	__s32 held;

	if (netns == own_netns || !room_capacity[room])
		return true;
	totals = bpf_map_lookup_elem(&rooms_taken, &first);
	if (!totals)
		return true;
	held = totals->taken.entries[room] - totals->returned.entries[room];
	if (held < (__s32)three_quarters(room_capacity[room]))
		return true;
	return !is_share_used(netns, room);
}

/*
 * Adds to what this CPU has pending, and returns what has to go to the total. A connection
 * begins on one CPU and often ends on another, so that the total of each would move between
 * their caches. Atomic, because the hook of a softirq can run inside that of a process: what
 * it adds in between stays pending.
 */
static __always_inline __s32 add_pending(enum room room, __s32 n)
{
	struct room_counts *pending;
	__u32 first = 0;
	__s32 all;

	if (room != ROOM_CONNECTIONS || room_batch <= 1)
		return n;
	pending = bpf_map_lookup_elem(&rooms_pending, &first);
	if (!pending)
		return n;
	__sync_fetch_and_add(&pending->entries[room], n);
	all = *(volatile __s32 *)&pending->entries[room];
	if (all < (__s32)room_batch && all > -(__s32)room_batch)
		return 0;
	__sync_fetch_and_add(&pending->entries[room], -all);
	return all;
}

/* n = 1: an entry of a map was inserted for a namespace; -1: it was deleted. */
static __always_inline void count_room(__u32 netns, enum room room, __s32 n)
{
	struct namespace_share *rooms;
	struct room_totals *totals;
	__u32 first = 0;
	__s32 to_total;

	if (!room_capacity[room])
		return;
	to_total = add_pending(room, n);
	if (to_total) {
		totals = bpf_map_lookup_elem(&rooms_taken, &first);
		if (totals)
			__sync_fetch_and_add(&totals->taken.entries[room], to_total);
	}
	if (netns == own_netns)
		return;
	rooms = rooms_of(netns);
	if (rooms)
		__sync_fetch_and_add(&rooms->taken.entries[room], n);
}

#endif
