// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The packet vantage point: what sockets cannot tell.
 *
 *   tc_ingress_eth, tc_egress_eth  on devices with Ethernet headers
 *   tc_ingress_l3, tc_egress_l3    on devices without (tun, ppp, WireGuard)
 *
 *   fastpath.h   counts nearly every packet        -> interfaces, packet_counters
 *   counters.h   counts the others, malformed ones and fragments included
 *   selected.h   selected packets                  -> records
 *   attempts.h   SYN, SYN-ACK and what ends an attempt
 *                                                  -> half_open_handshakes, records
 *   refused.h    resets that refuse an attempt     -> records, port_counters
 *   ../sources   what sources do                    -> sources, source_rest
 *   addresses.h  which addresses are this host's   <- local_addresses, local_prefixes
 *   flow.h       the addresses and ports of a packet
 *   packet.h     from a frame to the TCP header, with ../lib/headers.h
 *
 * A packet of no interest is parsed in registers and costs one map lookup, for the
 * counters. The port table and the interfaces are variables, whose addresses are in the
 * code. Every other feature is a constant that is set at load, and the verifier
 * removes the code of those that are off.
 *
 * Server-side means: the local port has a listener in this namespace and the local
 * address is this host's. The address is looked up only if LOOK_AT_ADDRESS says that
 * packets of other hosts pass (forwarding, bridges, macvlan).
 *
 * The programs never decide about a packet: TCX_NEXT, which is TC_ACT_UNSPEC.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "addresses.h"
#include "attempts.h"
#include "counters.h"
#include "fastpath.h"
#include "filter.h"
#include "flow.h"
#include "maps.h"
#include "options.h"
#include "packet.h"
#include "ports.h"
#include "refused.h"
#include "segments.h"
#include "selected.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define NEXT (-1) /* TCX_NEXT and TC_ACT_UNSPEC */

/* -- packets that need more than the fast path ---------------------------------- */

static __noinline bool has_selected_client(struct __sk_buff *skb, const struct parsed *parsed,
					   bool egress)
{
	struct address address;

	read_address(skb, parsed, !egress, &address);
	return is_client_selected((__u8 *)&address);
}

/* Everything that the fast path leaves. */
static __noinline int look_closely(struct __sk_buff *skb, bool ethernet, bool egress)
{
	struct parsed parsed = {};
	struct interface_counters *counters;
	struct address local;
	__u16 port;
	int result = parse_packet(skb, ethernet, &parsed);

	if (result == PARSE_OTHER)
		return NEXT;
	if (count_sources && !egress && result != PARSE_FRAGMENT)
		count_segment_of_source(skb, &parsed);
	if (count_sources && resets_at_egress && result == PARSE_SEGMENT) {
		if (egress && parsed.class == PACKET_RST)
			count_reset_of_source(skb, &parsed);
		else if (!egress && parsed.class == PACKET_SYN_ACK)
			note_syn_ack(skb, &parsed);
	}
	if (result == PARSE_FRAGMENT || parsed.malformed)
		count_unusual(&parsed, skb->ifindex, result, egress);
	if (result != PARSE_SEGMENT)
		return NEXT;

	/* The port may listen at another address. */
	if (egress && refused_at_egress && parsed.class == PACKET_RST)
		find_refused(skb, &parsed);
	port = egress ? parsed.source : parsed.destination;
	if (!ports.listening[port_index(port)])
		return NEXT;
	if (filter_clients && !has_selected_client(skb, &parsed, egress))
		return NEXT;
	counters = counters_of(skb->ifindex, egress);
	if (!counters)
		return NEXT;
	if (look_further & LOOK_AT_ADDRESS) {
		read_address(skb, &parsed, egress, &local);
		if (!is_local(local.halves[0], local.halves[1])) {
			counters->forwarded += parsed.segments;
			return NEXT;
		}
	}
	count_segments_of(counters, parsed.class, parsed.segments, parsed.wire);
	if (track_half_open && is_half_open_packet(parsed.class, egress) &&
	    follow_half_open(skb, &parsed, egress) && count_sources)
		count_half_open_reset(skb, &parsed);
	if ((class_mask || sample_rate) && is_selected(&parsed))
		emit_packet(skb, &parsed, egress);
	return NEXT;
}

/* -- programs ------------------------------------------------------------------ */

/* What look_further asks for needs more registers, hence a function of its own. */
#define LOOK(name, ethernet, egress)                                                               \
	static __noinline int name##_further(struct __sk_buff *skb)                                \
	{                                                                                          \
		if (look_further & LOOK_AT_ALL || !count_ordinary(skb, ethernet, egress, true))    \
			look_closely(skb, ethernet, egress);                                       \
		return NEXT;                                                                       \
	}                                                                                          \
                                                                                                   \
	SEC("tc")                                                                                  \
	int name(struct __sk_buff *skb)                                                            \
	{                                                                                          \
		if (unlikely(look_further))                                                        \
			return name##_further(skb);                                                \
		if (!count_ordinary(skb, ethernet, egress, false))                                 \
			look_closely(skb, ethernet, egress);                                       \
		return NEXT;                                                                       \
	}

LOOK(tc_ingress_eth, true, false)
LOOK(tc_egress_eth, true, true)
LOOK(tc_ingress_l3, false, false)
LOOK(tc_egress_l3, false, true)
