// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Attempts that never became a connection: always counted, told of when asked for. */
#ifndef EBPF_TCP_FAILED_H
#define EBPF_TCP_FAILED_H

#include "emit.h"
#include "ports.h"

const volatile bool emit_failed;
/* Records per second, on all CPUs. */
const volatile __u32 failed_per_second = 1000;

/* port is 0 where nobody listens, so that a port scan can't fill the counters. */
static __always_inline void attempt_failed(const struct flow *flow, __u32 netns, __u16 port,
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
	ledger_add(LEDGER_PRODUCED_FAILED, 1);
	if (!within_rate(RATE_FAILED, failed_per_second, now)) {
		ledger_add(LEDGER_LOST_RATE_FAILED, 1);
		return;
	}
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		ledger_add(LEDGER_LOST_RING_FAILED, 1);
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
