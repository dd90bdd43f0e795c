// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The listening sockets that are followed, and their overflows. */
#ifndef EBPF_TCP_LISTENERS_H
#define EBPF_TCP_LISTENERS_H

#include "maps.h"
#include "shares.h"

#include <bpf/bpf_core_read.h>

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
 * Enters a listener; returns enum followed. An existing entry stays: a scan finds a
 * socket once per descriptor.
 */
static __always_inline __u8 follow_listener(__u64 key, const struct listener *listener)
{
	long error;

	if (bpf_map_lookup_elem(&listeners, &key))
		return FOLLOWED_YES;
	if (!has_room(listener->netns, ROOM_LISTENERS))
		return FOLLOWED_NOT_SHARE;
	error = bpf_map_update_elem(&listeners, &key, listener, BPF_NOEXIST);
	if (!error)
		count_room(listener->netns, ROOM_LISTENERS, 1);
	return !error || error == -EEXIST ? FOLLOWED_YES : FOLLOWED_NOT;
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
