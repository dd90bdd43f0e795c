// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Submitting records to the ring, and counting losses in the ledger. */
#ifndef EBPF_TCP_EMIT_H
#define EBPF_TCP_EMIT_H

#include "maps.h"

/* Fill level, in bytes, at which the drain is woken before its timer. */
const volatile __u64 ring_wakeup_bytes = 1 << 20;

/*
 * Adds to a member of this CPU's ledger. Atomic, because the hook of a softirq can run
 * inside that of a process.
 */
#define LEDGER_ADD(member, n)                                                                      \
	({                                                                                         \
		__u32 first_ = 0;                                                                  \
		struct ledger *ledger_ = bpf_map_lookup_elem(&ledger, &first_);                    \
                                                                                                   \
		if (ledger_)                                                                       \
			__sync_fetch_and_add(&ledger_->member, n);                                 \
	})

static __always_inline void count_produced(enum event event)
{
	LEDGER_ADD(produced[event], 1);
}

static __always_inline void count_lost(enum event event, enum cause cause, __u64 n)
{
	LEDGER_ADD(lost[event][cause], n);
}

/* Wide enough for the records that all CPUs reserve at the same time. */
#define RING_WAKEUP_BAND 16384

/*
 * A wake-up costs far more than a submit, and the drain also reads on a timer. Wake it only
 * if the ring fills faster than that, and only while the level passes the mark. Otherwise
 * every record would wake the drain when it is slowest.
 */
static __always_inline void submit(void *record)
{
	__u64 flags = BPF_RB_NO_WAKEUP;
	__u64 level = bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA);

	if (level >= ring_wakeup_bytes && level < ring_wakeup_bytes + RING_WAKEUP_BAND)
		flags = BPF_RB_FORCE_WAKEUP;
	bpf_ringbuf_submit(record, flags);
}

#define SECOND 1000000000ULL

/* Counts one in a window of a second; begins a new window after the last. */
static __always_inline void count_in_window(struct rate *rate, __u64 now)
{
	if (now - rate->window >= SECOND) {
		rate->window = now;
		rate->count = 0;
	}
	__sync_fetch_and_add(&rate->count, 1);
}

/*
 * Counts one, unless the limit of this second is reached. One window for all CPUs. Check
 * and add are two steps (an atomic fetch needs 5.12), so CPUs that race may exceed the
 * limit by one each.
 */
static __always_inline bool count_within_rate(__u32 which, __u32 limit, __u64 now)
{
	struct rate *rate = bpf_map_lookup_elem(&rates, &which);

	if (!rate)
		return false;
	if (now - rate->window < SECOND && rate->count >= limit)
		return false;
	count_in_window(rate, now);
	return true;
}

#endif
