// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The headers of a kernel buffer, for tracepoints that have only the buffer. */
#ifndef EBPF_TCP_SEGMENT_H
#define EBPF_TCP_SEGMENT_H

#include "socket.h"
#include "values.h"

/* -- the reader that headers.h asks for ---------------------------------------- */

/* The address of the network header, as a number; offsets start there. */
typedef __u64 packet_t;

#define read_header(network, offset, to)                                                           \
	(!bpf_probe_read_kernel(to, sizeof(*(to)), (const void *)((network) + (offset))))
#define header_at(network, offset, buffer) (read_header(network, offset, buffer) ? (buffer) : NULL)

/* read_segment checks the end of the headers afterwards. */
#define packet_length(network) 0x7fffffU
#define is_length_in_buffer(network, field) (!(field))

#include "headers.h"

/* What a drop, or a reset without a socket, needs from the headers of a segment. */
struct segment {
	struct flow flow; /* local = destination: the segment is inbound */
	__u32 answer; /* what a reset in answer to it acknowledges */
	__u32 acknowledged; /* where a reset without ACK in answer to it is */
	__u8 flags;
};

static __always_inline void read_flow(packet_t network, bool ipv4, struct flow *flow)
{
	if (ipv4) {
		__be32 addresses[2] = {};

		read_header(network, IPV4_SOURCE, &addresses);
		map_ipv4(flow->remote, addresses[0]);
		map_ipv4(flow->local, addresses[1]);
	} else {
		read_header(network, IPV6_SOURCE, &flow->remote);
		read_header(network, IPV6_DESTINATION, &flow->local);
	}
}

/* The interface on which a buffer arrived; 0 = unknown. */
static __always_inline __u32 buffer_ifindex(const struct sk_buff *skb)
{
	return bpf_core_field_exists(struct sk_buff, skb_iif) ? BPF_CORE_READ(skb, skb_iif) : 0;
}

/* Reads the headers of a buffer at any stage of its path; false if it is not TCP. */
static __always_inline bool read_segment(const struct sk_buff *skb, struct segment *segment)
{
	__u32 offset = BPF_CORE_READ(skb, network_header);
	packet_t network = (__u64)BPF_CORE_READ(skb, head) + offset;
	struct parsed parsed = {};
	struct tcp_start tcp;
	__u8 version = 0;
	int result;

	read_header(network, 0, &version);
	version >>= 4;
	if (version != 4 && version != 6)
		return false;
	result = version == 4 ? parse_ipv4(network, &parsed) : parse_ipv6(network, &parsed);
	if (result != PARSE_SEGMENT)
		return false;
	/* Behind the tail are leftovers of another buffer. */
	if (offset + parsed.transport + sizeof(tcp) > BPF_CORE_READ(skb, tail))
		return false;
	if (!read_header(network, parsed.transport, &tcp))
		return false;
	read_flow(network, version == 4, &segment->flow);
	segment->flow.local_port = bpf_ntohs(tcp.destination);
	segment->flow.remote_port = bpf_ntohs(tcp.source);
	segment->flags = tcp.flags;
	segment->acknowledged = bpf_ntohl(tcp.acknowledgment);
	segment->answer = bpf_ntohl(tcp.sequence) + !!(tcp.flags & TCP_SYN) +
			  !!(tcp.flags & TCP_FIN) + parsed.end - parsed.transport -
			  (tcp.offset >> 4) * 4;
	return true;
}

#endif
