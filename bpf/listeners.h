// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The listening sockets that are followed, and what their queues turned away. */
#ifndef EBPF_TCP_LISTENERS_H
#define EBPF_TCP_LISTENERS_H

#include "maps.h"

#include <bpf/bpf_core_read.h>

/*
 * Listening sockets by address. The state hook inserts at LISTEN and deletes at its
 * end, the start-up scan inserts those it finds (BPF_NOEXIST), user space deletes
 * those that ended unseen. Full: the listener is told of as any other, with
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
 * Enters a listener; false if the map has no room. One that is there already is
 * another's whose end was missed (flags BPF_ANY, from the state hook), or the same
 * (BPF_NOEXIST, from a scan, which meets a socket once per descriptor).
 */
static __always_inline bool follow_listener(__u64 key, const struct listener *listener, __u64 flags)
{
	long error = bpf_map_update_elem(&listeners, &key, listener, flags);

	return !error || error == -EEXIST;
}

#endif
