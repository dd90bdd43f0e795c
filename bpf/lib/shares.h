// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Fair shares: no network namespace takes a map from the others.
 *
 * While a map is less than three quarters full, whoever comes first is served. From
 * there on a namespace other than the collector's own may hold a quarter of its
 * entries, and gets no further one above that. The kernel counts what it enters and
 * deletes, per map and per namespace; what user space deletes it reports in counters of
 * its own, so that nobody overwrites the other's. Counters wrap; only differences count.
 */
#ifndef EBPF_TCP_SHARES_H
#define EBPF_TCP_SHARES_H

#include "maps.h"

/* The collector's network namespace, which has no share but all that is free. */
const volatile __u32 own_netns;
/* Entries that each map has room for; 0 = no shares, as where the kernel is replayed. */
const volatile __u32 room_capacity[ROOMS];

static __always_inline __u32 quarter(__u32 of)
{
	return (of + 3) / 4;
}

static __always_inline __u32 three_quarters(__u32 of)
{
	return of - of / 4;
}

/* The counts of a namespace, with its first entry made; NULL if there is no room. */
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

/* Whether a namespace may have one more entry of a map. */
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

/* n = 1: an entry of a map was made for a namespace; -1: it was deleted. */
static __always_inline void count_room(__u32 netns, enum room room, __s32 n)
{
	struct namespace_share *rooms;
	struct room_totals *totals;
	__u32 first = 0;

	if (!room_capacity[room])
		return;
	totals = bpf_map_lookup_elem(&rooms_taken, &first);
	if (totals)
		__sync_fetch_and_add(&totals->taken.entries[room], n);
	if (netns == own_netns)
		return;
	rooms = rooms_of(netns);
	if (rooms)
		__sync_fetch_and_add(&rooms->taken.entries[room], n);
}

#endif
