// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Whose packet it is: its addresses and ports, seen from this host. */
#ifndef EBPF_TCP_TC_FLOW_H
#define EBPF_TCP_TC_FLOW_H

#include "addresses.h"
#include "packet.h"

static __always_inline void read_address(struct __sk_buff *skb, const struct parsed *parsed,
					 bool source, struct address *to)
{
	__be32 ipv4 = 0;

	*to = mapped(0);
	/* The headers were there when they were parsed, so this does not fail. */
	if (parsed->family == 4) {
		read_header(skb, parsed->network + (source ? IPV4_SOURCE : IPV4_DESTINATION),
			    &ipv4);
		*to = mapped(ipv4);
	} else {
		read_header(skb, parsed->network + (source ? IPV6_SOURCE : IPV6_DESTINATION), to);
	}
}

static __always_inline void read_packet_flow(struct __sk_buff *skb, const struct parsed *parsed,
					     bool egress, struct flow *flow)
{
	read_address(skb, parsed, egress, (struct address *)flow->local);
	read_address(skb, parsed, !egress, (struct address *)flow->remote);
	flow->local_port = egress ? parsed->source : parsed->destination;
	flow->remote_port = egress ? parsed->destination : parsed->source;
}

/* This host's side of a packet. */
static __always_inline bool is_packet_local(const void *ip, bool ipv4, bool egress)
{
	const struct address *address = ip + (egress ? IPV6_SOURCE : IPV6_DESTINATION);
	struct address ipv4_mapped;

	if (!ipv4)
		return is_local(address->halves[0], address->halves[1]);
	ipv4_mapped = mapped(*(__be32 *)(ip + (egress ? IPV4_SOURCE : IPV4_DESTINATION)));
	return is_local(ipv4_mapped.halves[0], ipv4_mapped.halves[1]);
}

#endif
