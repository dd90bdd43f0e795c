// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* From a packet to the segment of an inspected port. */
#ifndef EBPF_TCP_INSPECT_SEGMENT_OF_H
#define EBPF_TCP_INSPECT_SEGMENT_OF_H

#include "kernel.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "addresses.h"
#include "filter.h"
#include "flow.h"
#include "options.h"
#include "packet.h"
#include "ports.h"
#include "wanted.h"

/*
 * The window of each inspected port, as its binary logarithm, with BODIES_WANTED; 0 = not
 * inspected. The index is the port in network byte order. Set at load.
 *
 * Segments that begin within the window behind what is wanted are copied, whole. Those beyond
 * wait for user space, or for the other side, to say what is wanted.
 */
const volatile __u8 inspected_ports[65536];

/* Whether packets of other hosts pass; user space sets it, as in LOOK_AT_ADDRESS. */
volatile __u32 look_at_address;

/*
 * The members are set one by one and late, because clearing all of it would cost packets of other
 * ports as much as looking at their headers.
 */
struct segment {
	struct address local;
	struct address remote;
	__u64 time; /* the rest as in the record */
	__u64 acknowledged;
	__u64 follow; /* what follow_frames said */
	__u32 retransmits;
	__u32 sequence;
	__u32 acknowledgment;
	__u32 start; /* the first of all its bytes */
	__u32 first; /* with SEGMENT_BEGINS: of the first byte to the server */
	__u32 offset; /* of the payload in the packet */
	__u32 payload;
	__u32 limit; /* bytes that may be copied */
	__be16 local_port;
	__be16 remote_port;
	__u8 flags;
	__u8 known; /* enum segment_known */
	__u8 egress;
	__u8 tell; /* 1 = the record has to tell the connection */
	__u8 number; /* as in the record */
};

#define NO_LIMIT 0xffffffff

/* What only segments that cross have. */
static __always_inline void begin_segment(struct segment *segment)
{
	segment->time = 0;
	segment->acknowledged = 0;
	segment->follow = 0;
	segment->retransmits = 0;
	segment->start = 0;
	segment->first = 0;
	segment->limit = NO_LIMIT;
	segment->known = 0;
	segment->number = 0;
	segment->tell = false;
}

static __always_inline bool is_inspected(__be16 port)
{
	__u32 index = port;

	/* Verifiers of the 6.1 class: see is_port_selected. */
	asm volatile("%0 &= 0xffff" : "+r"(index));
	return inspected_ports[index] && ports.listening[index];
}

#define BODIES_WANTED 0x80

static __always_inline bool are_bodies_wanted(const struct segment *segment)
{
	__u32 index = segment->local_port;

	asm volatile("%0 &= 0xffff" : "+r"(index));
	return inspected_ports[index] & BODIES_WANTED;
}

/* Whether a distance is at least the window of the segment's port. */
static __always_inline bool exceeds_window(const struct segment *segment, __u32 distance)
{
	__u32 index = segment->local_port;

	asm volatile("%0 &= 0xffff" : "+r"(index));
	return distance >> (inspected_ports[index] & 31);
}

/*
 * The window of HTTP/2 where frames begin nobody knows where, as a binary logarithm: what passes
 * until user space has read all and says where a frame begins. Heads of requests can be anywhere
 * in it.
 */
#define WIDE_WINDOW 22

/* Whether a distance behind the number of a word is at least its window. */
static __always_inline bool exceeds(const struct segment *segment, __u64 word, __u32 distance)
{
	if ((word & (WORD_FRAMES | WORD_WHOLE)) == WORD_WHOLE)
		return distance >> WIDE_WINDOW;
	return exceeds_window(segment, distance);
}

/* Whether a distance is at least an eighth of the port's window. */
static __always_inline bool exceeds_eighth(const struct segment *segment, __u32 distance)
{
	__u32 index = segment->local_port;

	asm volatile("%0 &= 0xffff" : "+r"(index));
	return (__u64)distance << 3 >> (inspected_ports[index] & 31);
}

/* The same for both directions of a connection. User space computes it, too. */
static __always_inline __u64 hash_of(const struct segment *segment)
{
	__u64 hash = wanted_seed ^ netns;

	if (segment->remote.halves[0] | segment->local.halves[0]) { /* not IPv4 */
		hash = fold(hash, segment->remote.halves[0]);
		hash = fold(hash, segment->local.halves[0]);
	}
	hash = fold(hash, segment->remote.halves[1]);
	hash = fold(hash, segment->local.halves[1]);
	return fold(hash, (__u32)segment->remote_port << 16 | segment->local_port);
}

/* Packets that are only forwarded, and clients that the configuration leaves out. */
static __always_inline bool is_wanted_flow(const struct segment *segment)
{
	if (look_at_address && !is_local(segment->local.halves[0], segment->local.halves[1]))
		return false;
	return !filter_clients || is_client_selected((const __u8 *)&segment->remote);
}

enum ordinary {
	ORDINARY, /* a segment of an inspected port */
	ORDINARY_UNINTERESTING,
	ORDINARY_NOT, /* look closely */
};

static __always_inline enum ordinary read_ordinary_tcp(struct __sk_buff *skb, const void *ip,
						       bool ipv4, __u32 link, bool egress,
						       struct segment *segment)
{
	const struct tcp_start *tcp = ip + (ipv4 ? IPV4_HEADER_LEN : IPV6_HEADER_LEN);
	const struct address *addresses = ip + IPV6_SOURCE;
	__be16 port = egress ? tcp->source : tcp->destination;
	__be16 length = ipv4 ? *(__be16 *)(ip + IPV4_LENGTH) : *(__be16 *)(ip + IPV6_LENGTH);
	__u32 end = link + (ipv4 ? 0 : IPV6_HEADER_LEN) + bpf_ntohs(length), header;

	if (!is_inspected(port))
		return ORDINARY_UNINTERESTING;
	header = (void *)tcp - ip + link + (tcp->offset >> 4) * 4;
	if (!length || end > skb->len || tcp->offset >> 4 < 5 || header > end)
		return ORDINARY_NOT;
	if (end == header && !(tcp->flags & (TCP_SYN | TCP_FIN | TCP_RST)))
		return ORDINARY_UNINTERESTING;
	if (ipv4) {
		__be32 source = *(__be32 *)(ip + IPV4_SOURCE);
		__be32 destination = *(__be32 *)(ip + IPV4_DESTINATION);

		segment->local = mapped(egress ? source : destination);
		segment->remote = mapped(egress ? destination : source);
	} else {
		segment->local = addresses[!egress];
		segment->remote = addresses[egress];
	}
	segment->local_port = port;
	segment->remote_port = egress ? tcp->destination : tcp->source;
	segment->sequence = bpf_ntohl(tcp->sequence);
	segment->acknowledgment = bpf_ntohl(tcp->acknowledgment);
	segment->offset = header;
	segment->payload = end - header;
	segment->flags = tcp->flags;
	segment->egress = egress;
	return is_wanted_flow(segment) ? ORDINARY : ORDINARY_UNINTERESTING;
}

/*
 * Whether a packet is surely of a port that is not inspected, which most are. Without IP options
 * and extension headers the port has its place, and a fragment that has none there crosses
 * neither way.
 */
static __always_inline bool is_elsewhere(struct __sk_buff *skb, bool ethernet, bool egress)
{
	__u32 link = ethernet ? ETHERNET_HEADER_LEN : 0;
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	const void *ip = data + link;
	const struct tcp_start *tcp;
	__be32 start;

	if (ip + IPV4_HEADER_LEN + TCP_HEADER_LEN > data_end)
		return false;
	start = ethernet ? *(__be32 *)(ip - sizeof(__be16))
			 : (__u16)skb->protocol | (__u32) * (__be16 *)ip << 16;
	if ((start & bpf_htonl(0xffffff00)) == bpf_htonl(ETHERTYPE_IPV4 << 16 | 0x4500)) {
		tcp = ip + IPV4_HEADER_LEN;
	} else if ((start & bpf_htonl(0xfffff000)) ==
		   bpf_htonl((__u32)ETHERTYPE_IPV6 << 16 | 0x6000)) {
		if (*(__u8 *)(ip + IPV6_NEXT_HEADER) != IPPROTO_TCP ||
		    ip + IPV6_HEADER_LEN + TCP_HEADER_LEN > data_end)
			return false;
		tcp = ip + IPV6_HEADER_LEN;
	} else {
		return false;
	}
	return !inspected_ports[egress ? tcp->source : tcp->destination];
}

/* A packet without IP options or extension headers, with its headers in the linear area. */
static __always_inline enum ordinary read_ordinary(struct __sk_buff *skb, bool ethernet,
						   bool egress, struct segment *segment)
{
	__u32 link = ethernet ? ETHERNET_HEADER_LEN : 0;
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	const void *ip = data + link;
	__be32 start;

	if (ip + IPV4_HEADER_LEN + TCP_HEADER_LEN > data_end)
		return ORDINARY_NOT;
	start = ethernet ? *(__be32 *)(ip - sizeof(__be16))
			 : (__u16)skb->protocol | (__u32) * (__be16 *)ip << 16;
	if ((start & bpf_htonl(0xffffff00)) == bpf_htonl(ETHERTYPE_IPV4 << 16 | 0x4500)) {
		__be32 form = *(__be32 *)(ip + IPV4_FRAGMENT) & bpf_htonl(0xbfff00ff);

		if (form != bpf_htonl(IPPROTO_TCP))
			return (form & bpf_htonl(0xff)) == bpf_htonl(IPPROTO_TCP)
				       ? ORDINARY_NOT
				       : ORDINARY_UNINTERESTING;
		return read_ordinary_tcp(skb, ip, true, link, egress, segment);
	}
	if ((start & bpf_htonl(0xfffff000)) == bpf_htonl((__u32)ETHERTYPE_IPV6 << 16 | 0x6000)) {
		if (*(__u8 *)(ip + IPV6_NEXT_HEADER) != IPPROTO_TCP ||
		    ip + IPV6_HEADER_LEN + TCP_HEADER_LEN > data_end)
			return ORDINARY_NOT;
		return read_ordinary_tcp(skb, ip, false, link, egress, segment);
	}
	return ORDINARY_NOT;
}

/* Any other packet; false if it is no segment of an inspected port. */
static __always_inline bool read_segment(struct __sk_buff *skb, bool ethernet, bool egress,
					 struct segment *segment)
{
	struct parsed parsed = {};
	struct tcp_start tcp;

	if (parse_packet(skb, ethernet, &parsed) != PARSE_SEGMENT || parsed.first_fragment ||
	    parsed.malformed == MALFORMED_TCP_OFFSET)
		return false;
	if (!read_header(skb, parsed.transport, &tcp))
		return false;
	segment->local_port = egress ? tcp.source : tcp.destination;
	segment->remote_port = egress ? tcp.destination : tcp.source;
	if (!is_inspected(segment->local_port))
		return false;
	if (!parsed.payload && !(tcp.flags & (TCP_SYN | TCP_FIN | TCP_RST)))
		return false;
	read_address(skb, &parsed, egress, &segment->local);
	read_address(skb, &parsed, !egress, &segment->remote);
	segment->sequence = bpf_ntohl(tcp.sequence);
	segment->acknowledgment = bpf_ntohl(tcp.acknowledgment);
	segment->offset = parsed.end - parsed.payload;
	segment->payload = parsed.payload;
	segment->flags = tcp.flags;
	segment->egress = egress;
	return is_wanted_flow(segment);
}

#endif
