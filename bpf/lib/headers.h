// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * From an IP header to a TCP header: one parser with two readers. packet.h reads the
 * context of a TC program, segment.h reads a kernel buffer.
 *
 * The file that includes this one first defines its reader:
 *
 *   packet_t                              a context or a number: 5.10's verifier allows
 *                                         nothing else as an argument of global functions
 *   header_at(packet, offset, buffer)     a pointer to a header, or to its copy in
 *                                         *buffer; NULL if it can't be read
 *   read_header(packet, offset, to)       copies a header; false if it can't be read
 *   packet_length(packet)                 no header goes beyond this offset
 *   is_length_in_buffer(packet, field)    true if an IP length field is no length (BIG TCP)
 */
#ifndef EBPF_TCP_HEADERS_H
#define EBPF_TCP_HEADERS_H

#define NEXT_HOP_BY_HOP 0
#define NEXT_ROUTING 43
#define NEXT_FRAGMENT 44
#define NEXT_AUTHENTICATION 51
#define NEXT_DESTINATION 60
/* More than any well-meaning sender uses. */
#define EXTENSION_HEADERS 8

#define IP_MORE_FRAGMENTS 0x2000
#define IP_FRAGMENT_OFFSET 0x1fff
#define IPV6_FRAGMENT_OFFSET 0xfff8
#define IPV6_MORE_FRAGMENTS 0x0001

#define TCP_HEADER_LEN 20
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct ipv4_start {
	__u8 version_length;
	__u8 service;
	__be16 total_length;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
};

struct ipv4_header {
	struct ipv4_start start;
	__be32 source;
	__be32 destination;
	/* options follow */
};

struct ipv6_start {
	__u8 version_class;
	__u8 class_label;
	__be16 label;
	__be16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
};

struct ipv6_header {
	struct ipv6_start start;
	__be32 source[4];
	__be32 destination[4];
};

struct extension_header {
	__u8 next_header;
	__u8 length;
	__be16 fragment; /* in a fragment header */
};

struct tcp_start {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledgment;
	__u8 offset;
	__u8 flags;
	__be16 window;
};

/* As int, so that sums with them stay 32 bits wide. */
#define HEADER_OFFSET(type, member) ((int)__builtin_offsetof(type, member))

#define IPV4_HEADER_LEN ((int)sizeof(struct ipv4_header))
#define IPV4_LENGTH HEADER_OFFSET(struct ipv4_start, total_length)
#define IPV4_FRAGMENT HEADER_OFFSET(struct ipv4_start, fragment)
#define IPV4_SOURCE HEADER_OFFSET(struct ipv4_header, source)
#define IPV4_DESTINATION HEADER_OFFSET(struct ipv4_header, destination)
#define IPV6_HEADER_LEN ((int)sizeof(struct ipv6_header))
#define IPV6_LENGTH HEADER_OFFSET(struct ipv6_start, payload_length)
#define IPV6_NEXT_HEADER HEADER_OFFSET(struct ipv6_start, next_header)
#define IPV6_SOURCE HEADER_OFFSET(struct ipv6_header, source)
#define IPV6_DESTINATION HEADER_OFFSET(struct ipv6_header, destination)

/* The outcome of parsing. */
enum parse_result {
	PARSE_SEGMENT = 0, /* ports, flags and class are set */
	PARSE_OTHER, /* not TCP */
	PARSE_FRAGMENT, /* TCP, but a fragment without the ports */
	PARSE_MALFORMED, /* no port could be read; malformed says why */
};

struct parsed {
	__u32 network; /* offset of the IP header */
	__u32 transport; /* offset of the TCP header */
	__u32 end; /* offset of the end of the datagram; link padding may follow */
	__u32 payload; /* TCP payload of all segments */
	__u32 segments; /* more than one in a super-packet */
	__u32 wire; /* bytes on the wire of all segments, link headers included */
	__u16 source;
	__u16 destination;
	__u8 family; /* 4 or 6 */
	__u8 flags; /* TCP flag byte */
	__u8 class; /* enum packet_class */
	__u8 malformed; /* enum malformed */
	__u8 options_len;
	__u8 reserved;
	__u8 first_fragment; /* more fragments follow, and headers may continue there */
	__u8 pad;
};

static __always_inline int set_malformed(struct parsed *parsed, enum malformed kind)
{
	parsed->malformed = kind;
	return PARSE_MALFORMED;
}

static __always_inline int parse_ipv4(packet_t packet, struct parsed *parsed)
{
	__u32 header, available = packet_length(packet) - parsed->network, length;
	struct ipv4_start buffer;
	const struct ipv4_start *ip = header_at(packet, parsed->network, &buffer);

	if (!ip)
		return set_malformed(parsed, MALFORMED_IP_TRUNCATED);
	if (ip->version_length >> 4 != 4)
		return set_malformed(parsed, MALFORMED_IP_HEADER);
	if (ip->protocol != IPPROTO_TCP)
		return PARSE_OTHER;
	header = (ip->version_length & 15) * 4;
	if (header < IPV4_HEADER_LEN)
		return set_malformed(parsed, MALFORMED_IP_HEADER);
	if (header > available)
		return set_malformed(parsed, MALFORMED_IP_TRUNCATED);
	length = bpf_ntohs(ip->total_length);
	if (is_length_in_buffer(packet, ip->total_length))
		length = available;
	if (length < header || length > available)
		return set_malformed(parsed, MALFORMED_IP_LENGTH);
	if (ip->fragment & bpf_htons(IP_FRAGMENT_OFFSET))
		return PARSE_FRAGMENT;
	parsed->first_fragment = !!(ip->fragment & bpf_htons(IP_MORE_FRAGMENTS));
	parsed->transport = parsed->network + header;
	parsed->end = parsed->network + length;
	return PARSE_SEGMENT;
}

static __always_inline bool is_extension(__u8 next)
{
	return next == NEXT_HOP_BY_HOP || next == NEXT_ROUTING || next == NEXT_DESTINATION ||
	       next == NEXT_FRAGMENT || next == NEXT_AUTHENTICATION;
}

/* What skip_extensions returns if the chain does not end in TCP: a negative number. */
static __always_inline int no_segment(enum parse_result result, enum malformed kind)
{
	return -(int)(result | kind << 8);
}

/* A bit beside the offset that skip_extensions returns. */
#define FIRST_FRAGMENT (1 << 24)

/* Walks from the first extension header, of type next; returns the offset of TCP. */
__noinline int skip_extensions(packet_t packet, __u32 offset, __u32 next, __u32 end)
{
	struct extension_header header;
	__u32 first_fragment = 0;

#pragma unroll
	for (int i = 0; i < EXTENSION_HEADERS; i++) {
		__u32 length;

		if (!is_extension(next))
			break;
		/* Only the first header may be hop-by-hop options. */
		if (i && next == NEXT_HOP_BY_HOP)
			return no_segment(PARSE_MALFORMED, MALFORMED_IP_HEADER);
		if (!read_header(packet, offset, &header))
			return no_segment(PARSE_MALFORMED, MALFORMED_IP_TRUNCATED);
		length = (header.length + 1) * 8;
		if (next == NEXT_AUTHENTICATION)
			length = (header.length + 2) * 4;
		if (next == NEXT_FRAGMENT) {
			length = 8;
			if (header.fragment & bpf_htons(IPV6_FRAGMENT_OFFSET))
				return no_segment(header.next_header == IPPROTO_TCP ? PARSE_FRAGMENT
										    : PARSE_OTHER,
						  MALFORMED_NONE);
			if (header.fragment & bpf_htons(IPV6_MORE_FRAGMENTS))
				first_fragment = FIRST_FRAGMENT;
		}
		offset += length;
		if (offset > packet_length(packet))
			return no_segment(PARSE_MALFORMED, MALFORMED_IP_TRUNCATED);
		if (offset > end)
			return no_segment(PARSE_MALFORMED, MALFORMED_IP_LENGTH);
		next = header.next_header;
	}
	if (next == IPPROTO_TCP)
		return (offset & (FIRST_FRAGMENT - 1)) | first_fragment;
	/* The chain is longer than EXTENSION_HEADERS. */
	if (is_extension(next))
		return no_segment(PARSE_MALFORMED, MALFORMED_IP_HEADER);
	return no_segment(PARSE_OTHER, MALFORMED_NONE);
}

static __always_inline int parse_ipv6(packet_t packet, struct parsed *parsed)
{
	__u32 available = packet_length(packet) - parsed->network, length;
	struct ipv6_start buffer;
	const struct ipv6_start *ip = header_at(packet, parsed->network, &buffer);
	int found;

	if (!ip)
		return set_malformed(parsed, MALFORMED_IP_TRUNCATED);
	if (ip->version_class >> 4 != 6)
		return set_malformed(parsed, MALFORMED_IP_HEADER);
	if (ip->next_header != IPPROTO_TCP && !is_extension(ip->next_header))
		return PARSE_OTHER;
	if (available < IPV6_HEADER_LEN)
		return set_malformed(parsed, MALFORMED_IP_TRUNCATED);
	length = IPV6_HEADER_LEN + bpf_ntohs(ip->payload_length);
	if (is_length_in_buffer(packet, ip->payload_length))
		length = available;
	if (length > available)
		return set_malformed(parsed, MALFORMED_IP_LENGTH);
	parsed->transport = parsed->network + IPV6_HEADER_LEN;
	parsed->end = parsed->network + length;
	if (ip->next_header == IPPROTO_TCP)
		return PARSE_SEGMENT;
	found = skip_extensions(packet, parsed->transport, ip->next_header, parsed->end);
	if (found > 0) {
		parsed->transport = found & (FIRST_FRAGMENT - 1);
		parsed->first_fragment = !!(found & FIRST_FRAGMENT);
		return PARSE_SEGMENT;
	}
	parsed->malformed = -found >> 8;
	return -found & 0xff;
}

#endif
