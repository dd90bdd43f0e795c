// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The listening sockets that are followed, and what their queues turned away. */
#ifndef EBPF_TCP_LISTENERS_H
#define EBPF_TCP_LISTENERS_H

#include "maps.h"
#include "shares.h"

#include <bpf/bpf_core_read.h>

/*
 * Listening sockets by address. The state hook inserts at LISTEN and deletes at its
 * end, the start-up scan inserts those it finds (BPF_NOEXIST), user space deletes
 * those that ended unseen. Full: the listener is reported as any other, with
 * listen_record.followed unset, for which user space counts a loss; its queues are
 * then not reported. Preallocated, about 2 MiB: what a tracing program may allocate
 * (BPF_F_NO_PREALLOC) is not safe in every context before 6.1. Size set at load.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct listener);
} listeners SEC(".maps");

/*
 * Counts an overflow of the accept queue of a listening socket. Segments of one
 * listener arrive on all CPUs.
 */
static __always_inline void count_overflow(const struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct listener *listener = bpf_map_lookup_elem(&listeners, &key);

	if (listener)
		__sync_fetch_and_add(&listener->overflows, 1);
}

/*
 * Enters a listener; enum followed. One that is there already stays: a scan meets a
 * socket once per descriptor.
 */
static __always_inline __u8 follow_listener(__u64 key, const struct listener *listener)
{
	long error;

	if (bpf_map_lookup_elem(&listeners, &key))
		return FOLLOWED;
	if (!may_take(listener->netns, ROOM_LISTENERS))
		return FOLLOWED_NOT_SHARE;
	error = bpf_map_update_elem(&listeners, &key, listener, BPF_NOEXIST);
	if (!error)
		count_room(listener->netns, ROOM_LISTENERS, 1);
	return !error || error == -EEXIST ? FOLLOWED : FOLLOWED_NOT;
}

/* Deletes the entry of a listener of a namespace; false if it was not there. */
static __always_inline bool delete_listener(__u64 key, __u32 netns)
{
	if (bpf_map_delete_elem(&listeners, &key))
		return false;
	count_room(netns, ROOM_LISTENERS, -1);
	return true;
}

#endif
