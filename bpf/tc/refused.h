// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Refused attempts, by the reset that leaves the host. */
#ifndef EBPF_TCP_REFUSED_H
#define EBPF_TCP_REFUSED_H

#include "failed.h"
#include "filter.h"
#include "flow.h"
#include "halfopen.h"
#include "options.h"
#include "packet.h"
#include "refusals.h"

const volatile bool refused_at_egress;

/*
 * The kernel answers a SYN to a port without a listener with a reset that acknowledges, with
 * sequence number and window 0. So does a firewall that rejects a SYN. Resets of a listener
 * or a connection have the sequence number that the client expects.
 */
static __noinline int find_refused(struct __sk_buff *skb, const struct parsed *parsed)
{
	FLOW_KEY key = { .netns = netns };
	struct tcp_start tcp;
	struct address *local;

	if ((parsed->flags & TCP_SIX_FLAGS) != (TCP_RST | TCP_ACK))
		return 0;
	if (!read_header(skb, parsed->transport, &tcp) || tcp.sequence || tcp.window)
		return 0;
	read_packet_flow(skb, parsed, true, &key.flow);
	if (tracepoint_reports_refused &&
	    is_refusal_noted(&key.flow, bpf_ntohl(tcp.acknowledgment)))
		return 0;
	local = (struct address *)key.flow.local;
	if (look_further & LOOK_AT_ADDRESS && !is_local(local->halves[0], local->halves[1]))
		return 0;
	if (!is_flow_selected(&key.flow))
		return 0;
	if (track_half_open)
		forget_half_open(&key);
	report_failed_attempt(&key.flow, netns, 0, skb->ifindex, FAILURE_REFUSED);
	return 0;
}

#endif
