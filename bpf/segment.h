// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The headers of a kernel buffer, for tracepoints that have nothing else. */
#ifndef EBPF_TCP_SEGMENT_H
#define EBPF_TCP_SEGMENT_H

#include "socket.h"

/* What a drop or a socketless reset needs of a segment's headers. */
struct segment {
	struct flow flow; /* local = destination: the segment is inbound */
	__u8 flags;
};

struct ipv4_header {
	__u8 version_ihl;
	__u8 tos;
	__be16 total_length;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__u16 checksum;
	__be32 source;
	__be32 destination;
};

struct ipv6_header {
	__be32 version_class_label;
	__be16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	__u32 source[4];
	__u32 destination[4];
};

struct tcp_header {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledgment;
	__u8 offset;
	__u8 flags;
	__be16 window;
};

#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_ACK 0x10
#define IP_OFFSET 0x1fff

/* The interface that a buffer came in by; 0 = unknown. */
static __always_inline __u32 buffer_ifindex(const struct sk_buff *skb)
{
	return bpf_core_field_exists(struct sk_buff, skb_iif) ? BPF_CORE_READ(skb, skb_iif) : 0;
}

/* Headers of a buffer that may be at any stage of its way; false if not TCP. */
static __always_inline bool read_segment(const struct sk_buff *skb, struct segment *segment)
{
	const unsigned char *network =
		BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header);
	struct tcp_header tcp;
	__u8 version = 0;
	__u32 length;

	bpf_probe_read_kernel(&version, sizeof(version), network);
	if (version >> 4 == 4) {
		struct ipv4_header ip;

		if (bpf_probe_read_kernel(&ip, sizeof(ip), network) || ip.protocol != IPPROTO_TCP ||
		    ip.fragment & bpf_htons(IP_OFFSET))
			return false;
		length = (ip.version_ihl & 15) * 4;
		map_ipv4(segment->flow.local, ip.destination);
		map_ipv4(segment->flow.remote, ip.source);
	} else if (version >> 4 == 6) {
		struct ipv6_header ip;

		if (bpf_probe_read_kernel(&ip, sizeof(ip), network) ||
		    ip.next_header != IPPROTO_TCP)
			return false;
		length = sizeof(ip);
		copy_ipv6(segment->flow.local, ip.destination);
		copy_ipv6(segment->flow.remote, ip.source);
	} else {
		return false;
	}
	if (bpf_probe_read_kernel(&tcp, sizeof(tcp), network + length))
		return false;
	segment->flow.local_port = bpf_ntohs(tcp.destination);
	segment->flow.remote_port = bpf_ntohs(tcp.source);
	segment->flags = tcp.flags;
	return true;
}

#endif
