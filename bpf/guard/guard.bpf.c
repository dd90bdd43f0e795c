// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The guard: drops packets of blocked sources before the stack and the observing programs
 * see them.
 *
 *   guard_ingress_eth  on devices with Ethernet headers
 *   guard_ingress_l3   on devices without (tun, ppp, WireGuard)
 *   guard_egress       does nothing: a packet program has both directions
 *   change_block       changes blocks in place; user space runs it
 *   clock_read         reads the clock of the blocks; user space runs it
 *
 *   block.h    what is blocked                -> blocked, networks, allowed, state, totals
 *   decide.h   what happens to a packet of a blocked source
 *   change.h   what user space asks the programs for
 *
 * A packet costs one load while nothing is blocked, else one lookup. Everything fails open:
 * a packet that can't be read passes, and so does every packet after the deadline.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "block.h"
#include "change.h"
#include "decide.h"
#include "packet.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The source of a packet; false if there is none, or none of interest. */
static __always_inline bool read_source(struct __sk_buff *skb, bool ethernet, struct parsed *parsed,
					struct address *source)
{
	struct address buffer6;
	const struct address *in_place;

	if (!find_network(skb, ethernet, parsed))
		return false;
	if (parsed->family == 4) {
		struct ipv4_header buffer;
		const struct ipv4_header *ip = header_at(skb, parsed->network, &buffer);

		if (!ip || (only_tcp && ip->start.protocol != IPPROTO_TCP))
			return false;
		*source = mapped4(ip->source);
		return true;
	}
	/* Not read_header, with which verifiers of 6.18 lose the stack slots of *source. */
	in_place = header_at(skb, parsed->network + IPV6_SOURCE, &buffer6);
	if (!in_place)
		return false;
	*source = *in_place;
	return true;
}

/* A function of its own, so that the programs save no registers while nothing is blocked. */
static __noinline int guard(struct __sk_buff *skb, bool ethernet)
{
	struct parsed parsed = {};
	struct address source;
	struct block *block;

	if (!read_source(skb, ethernet, &parsed, &source))
		return NEXT;
	block = block_of(&source, parsed.family == 4);
	return block ? decide(skb, &parsed, &source, block) : NEXT;
}

SEC("tc")
int guard_ingress_eth(struct __sk_buff *skb)
{
	return state.active ? guard(skb, true) : NEXT;
}

SEC("tc")
int guard_ingress_l3(struct __sk_buff *skb)
{
	return state.active ? guard(skb, false) : NEXT;
}

SEC("tc")
int guard_egress(struct __sk_buff *skb __attribute__((unused)))
{
	return NEXT;
}

SEC("tc")
int change_block(struct __sk_buff *skb)
{
	return change_in_place(skb);
}

SEC("tc")
int clock_read(struct __sk_buff *skb)
{
	return read_clock(skb);
}
