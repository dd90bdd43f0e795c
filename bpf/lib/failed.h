// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Failed attempts: always counted, and reported as records if the configuration asks. */
#ifndef EBPF_TCP_FAILED_H
#define EBPF_TCP_FAILED_H

#include "emit.h"
#include "ports.h"

const volatile bool emit_failed;
/* Records per second, on all CPUs. */
const volatile __u32 failed_per_second = 1000;

/*
 * Counts one more record of a namespace, unless its share of this second is used. The
 * records of a second are shared like the entries of a map, see shares.h.
 */
static __always_inline bool take_share_of_failed(__u32 netns, __u64 now)
{
	struct namespace_share *rooms;
	const struct rate *all;
	__u32 which = RATE_FAILED;

	if (netns == own_netns)
		return true;
	rooms = rooms_of(netns);
	all = bpf_map_lookup_elem(&rates, &which);
	if (!rooms || !all)
		return true;
	if (now - all->window < SECOND && all->count >= three_quarters(failed_per_second) &&
	    now - rooms->failed.window < SECOND &&
	    rooms->failed.count >= quarter(failed_per_second))
		return false;
	count_in_window(&rooms->failed, now);
	return true;
}

/* port is 0 if it has no listener, so that a port scan can't fill the counters. */
static __always_inline void report_failed_attempt(const struct flow *flow, __u32 netns, __u16 port,
						  __u32 ifindex, enum failure failure)
{
	struct port_counter_key key = {
		.netns = netns,
		.detail = failure,
		.port = port,
		.family = flow_family(flow),
		.count = PORT_FAILED,
	};
	__u64 now = bpf_ktime_get_boot_ns();
	struct failed_record *record;

	count_port(&key, 1);
	if (!emit_failed)
		return;
	count_produced(EVENT_FAILED);
	if (!take_share_of_failed(netns, now)) {
		count_lost(EVENT_FAILED, CAUSE_RATE_SHARE, 1);
		return;
	}
	if (!count_within_rate(RATE_FAILED, failed_per_second, now)) {
		count_lost(EVENT_FAILED, CAUSE_RATE_LIMITED, 1);
		return;
	}
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		count_lost(EVENT_FAILED, CAUSE_RING_FULL, 1);
		return;
	}
	record->head.kind = RECORD_FAILED;
	record->head.netns = netns;
	record->head.time = now;
	record->flow = *flow;
	record->failure = failure;
	record->ifindex = ifindex;
	record->pad = 0;
	submit(record);
}

#endif
