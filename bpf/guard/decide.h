// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Whether a packet of a blocked source is dropped. Few packets get here, so that expiry,
 * the deadline, protocol and destination are examined here, and not for all packets.
 */
#ifndef EBPF_TCP_DECIDE_H
#define EBPF_TCP_DECIDE_H

#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "addresses.h"
#include "block.h"
#include "packet.h"

#define NEXT (-1) /* TCX_NEXT and TC_ACT_UNSPEC */
#define DROP 2 /* TCX_DROP and TC_ACT_SHOT */

/* Set at load. */
const volatile bool only_tcp = true;
const volatile bool only_local = true;
const volatile __u64 jiffies_per_second = 250;

/* Set at load: CPUs share places. Atomic additions take 5 ns each. */
const volatile bool share_places;

static __always_inline void count_block(struct block *block, __u64 now, __u32 bytes)
{
	struct block_counts *counts = &block->counts[bpf_get_smp_processor_id() % BLOCK_PLACES];

	if (share_places) {
		__sync_fetch_and_add(&counts->packets, 1);
		__sync_fetch_and_add(&counts->bytes, bytes);
	} else {
		counts->packets++;
		counts->bytes += bytes;
	}
	block->last = now;
}

static __always_inline int count_outcome(struct __sk_buff *skb, enum outcome outcome)
{
	__u32 zero = 0;
	struct outcome_counts *counts = bpf_map_lookup_elem(&totals, &zero);

	if (counts) {
		counts->packets[outcome]++;
		counts->bytes[outcome] += skb->len;
	}
	return NEXT;
}

/* CPUs that begin a second at a time may let some packets more pass. */
static __always_inline bool is_within_limit(struct block *block, __u64 now)
{
	if (now - block->window >= jiffies_per_second) {
		block->window = now;
		block->taken = 0;
	}
	/* Before 5.12 an atomic addition has no result. */
	__sync_fetch_and_add(&block->taken, 1);
	return *(volatile __u64 *)&block->taken <= block->limit;
}

/*
 * Whether a packet of IPv6 with extension headers carries TCP. Malformed ones do: they would
 * be reported, and they are the source's. A global function, which verifiers look at by
 * itself: 6.18 stumbles over pointers to the stack of a caller here.
 */
__noinline int is_extended_tcp(struct __sk_buff *skb, __u32 network)
{
	struct parsed parsed = { .network = network };

	return parse_ipv6(skb, &parsed) != PARSE_OTHER;
}

/* Whether the guard is there for this packet, beyond its source. */
static __always_inline bool is_in_scope(struct __sk_buff *skb, const struct parsed *parsed)
{
	struct address local;

	if (parsed->family == 4) {
		struct ipv4_header buffer;
		const struct ipv4_header *ip = header_at(skb, parsed->network, &buffer);

		if (!ip || (only_tcp && ip->start.protocol != IPPROTO_TCP))
			return false;
		local = mapped4(ip->destination);
	} else {
		struct ipv6_header buffer;
		const struct ipv6_header *ip = header_at(skb, parsed->network, &buffer);

		if (!ip || (only_tcp && ip->start.next_header != IPPROTO_TCP &&
			    !is_extended_tcp(skb, parsed->network)))
			return false;
		local = *(const struct address *)ip->destination;
	}
	return !only_local || is_local(local.halves[0], local.halves[1]);
}

static __always_inline int decide(struct __sk_buff *skb, const struct parsed *parsed,
				  const struct address *source, struct block *block)
{
	__u64 now = bpf_jiffies64();

	if (now >= block->until || !is_in_scope(skb, parsed))
		return NEXT;
	if (now >= state.deadline)
		return count_outcome(skb, OUTCOME_OPEN);
	if (block->flags & BLOCK_HAS_ALLOWED && is_allowed(source)) {
		__sync_fetch_and_add(&block->passed, 1);
		return count_outcome(skb, OUTCOME_ALLOWED);
	}
	if (block->flags & BLOCK_LIMIT && is_within_limit(block, now)) {
		__sync_fetch_and_add(&block->passed, 1);
		block->last = now;
		return count_outcome(skb, OUTCOME_WITHIN_LIMIT);
	}
	count_block(block, now, skb->len);
	return block->flags & BLOCK_DRY_RUN ? NEXT : DROP;
}

#endif
