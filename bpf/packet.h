// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * From a frame to the fields of a TCP segment.
 *
 * Fast path first: headers that lie in the buffer's linear area are copied from
 * there; only what lies outside is fetched with bpf_skb_load_bytes. What skb->len
 * does not cover is truncated, whatever the headers say.
 *
 * A tag that the kernel (or the card) moved to the buffer's metadata is no longer in
 * the data, so the Ethernet header shows the inner protocol; in-band tags are walked.
 *
 * Written for verifiers of the 5.10 class: they forget the bounds of a number that
 * was on the stack as 32 bits, so every offset is masked where it meets a pointer,
 * and they refuse variable offsets into the stack, so options are never indexed there.
 * Loops are in global functions, which the verifier looks at once and not once per
 * way that leads there; those take and return nothing but numbers.
 */
#ifndef EBPF_TCP_PACKET_H
#define EBPF_TCP_PACKET_H

#include "kernel.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "records.h"

#define ETHERNET_HEADER_LEN 14
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8
#define ETHERTYPE_QINQ_OLD 0x9100
#define VLAN_TAG_LEN 4
#define VLAN_TAGS 3

#define NEXT_HOP_BY_HOP 0
#define NEXT_ROUTING 43
#define NEXT_FRAGMENT 44
#define NEXT_AUTHENTICATION 51
#define NEXT_DESTINATION 60
/* More than any sender that means well has use for. */
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
#define TCP_SIX_FLAGS 0x3f
#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
/* NOP NOP TIMESTAMP 10: the options of nearly every segment after the handshake. */
#define TCP_TIMESTAMP_ONLY 0x0101080a
#define TCP_TIMESTAMP_LEN 12

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

struct ipv6_start {
	__u8 version_class;
	__u8 class_label;
	__be16 label;
	__be16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
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

#define IPV4_HEADER_LEN 20
#define IPV4_LENGTH 2
#define IPV4_FRAGMENT 6
#define IPV4_SOURCE 12
#define IPV4_DESTINATION 16
#define IPV6_HEADER_LEN 40
#define IPV6_LENGTH 4
#define IPV6_NEXT_HEADER 6
#define IPV6_SOURCE 8
#define IPV6_DESTINATION 24

/* What parse_packet leaves. */
enum parse_result {
	PARSE_SEGMENT = 0, /* ports, flags and class are set */
	PARSE_OTHER, /* not TCP */
	PARSE_FRAGMENT, /* TCP, but not the fragment with the ports */
	PARSE_MALFORMED, /* no port could be read; malformed says why */
};

struct parsed {
	__u32 network; /* offset of the IP header */
	__u32 transport; /* offset of the TCP header */
	__u32 end; /* offset of the datagram's end: link padding is behind it */
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
	__u8 first_fragment; /* more follow: headers may go on in the next */
	__u8 pad;
};

/* Far above any header that is parsed, far below the verifier's own limit. */
#define OFFSET_MASK 0x7fff

/*
 * Points to a header where it is, or to the copy in *buffer if it is outside the
 * linear area; NULL if the frame ends before. A macro for the sake of the type. The
 * mask is in assembly, or the compiler drops what it can prove and the verifier cannot.
 */
#define header_at(skb, offset, buffer)                                                             \
	({                                                                                         \
		void *data_ = (void *)(long)(skb)->data;                                           \
		void *data_end_ = (void *)(long)(skb)->data_end;                                   \
		__u64 offset_ = (offset);                                                          \
		const typeof(*(buffer)) *at_;                                                      \
                                                                                                   \
		asm volatile("%[at] &= %[mask]" : [at] "+r"(offset_) : [mask] "i"(OFFSET_MASK));   \
		at_ = data_ + offset_;                                                             \
		if ((void *)(at_ + 1) > data_end_)                                                 \
			at_ = bpf_skb_load_bytes(skb, offset_, buffer, sizeof(*(buffer)))          \
				      ? NULL                                                       \
				      : (buffer);                                                  \
		at_;                                                                               \
	})

/*
 * Copies *to from offset; false if the frame ends before. Not by header_at: to the
 * verifier its two pointers might be equal, and *to then uninitialised.
 */
#define read_header(skb, offset, to)                                                               \
	({                                                                                         \
		void *data_ = (void *)(long)(skb)->data;                                           \
		void *data_end_ = (void *)(long)(skb)->data_end;                                   \
		__u64 offset_ = (offset);                                                          \
		bool ok_;                                                                          \
                                                                                                   \
		asm volatile("%[at] &= %[mask]" : [at] "+r"(offset_) : [mask] "i"(OFFSET_MASK));   \
		ok_ = data_ + offset_ + sizeof(*(to)) <= data_end_;                                \
		if (ok_)                                                                           \
			*(to) = *(typeof(to))(data_ + offset_);                                    \
		else                                                                               \
			ok_ = !bpf_skb_load_bytes(skb, offset_, to, sizeof(*(to)));                \
		ok_;                                                                               \
	})

static __always_inline __u32 ip_family(__be16 type)
{
	if (type == bpf_htons(ETHERTYPE_IPV4))
		return 4;
	return type == bpf_htons(ETHERTYPE_IPV6) ? 6 : 0;
}

static __always_inline bool is_tag(__be16 type)
{
	return type == bpf_htons(ETHERTYPE_VLAN) || type == bpf_htons(ETHERTYPE_QINQ) ||
	       type == bpf_htons(ETHERTYPE_QINQ_OLD);
}

/* Behind in-band tags: offset << 8 | family, or 0 if there is no IP. */
__noinline int skip_tags(struct __sk_buff *skb)
{
	__u32 offset = ETHERNET_HEADER_LEN;
	__be16 type;

#pragma unroll
	for (int i = 0; i < VLAN_TAGS; i++) {
		offset += VLAN_TAG_LEN;
		if (!read_header(skb, offset - sizeof(type), &type))
			return 0;
		if (!is_tag(type))
			break;
	}
	return ip_family(type) ? offset << 8 | ip_family(type) : 0;
}

static __always_inline int malformed(struct parsed *parsed, enum malformed kind)
{
	parsed->malformed = kind;
	return PARSE_MALFORMED;
}

/* BIG TCP: above 64 KiB the length field is 0 and only the buffer knows. */
static __always_inline bool length_in_buffer(struct __sk_buff *skb, __be16 field)
{
	return !field && (skb->gso_segs > 1 || skb->gso_size);
}

static __always_inline int parse_ipv4(struct __sk_buff *skb, struct parsed *parsed)
{
	__u32 header, available = skb->len - parsed->network, length;
	struct ipv4_start buffer;
	const struct ipv4_start *ip = header_at(skb, parsed->network, &buffer);

	if (!ip)
		return malformed(parsed, MALFORMED_IP_TRUNCATED);
	if (ip->version_length >> 4 != 4)
		return malformed(parsed, MALFORMED_IP_HEADER);
	if (ip->protocol != IPPROTO_TCP)
		return PARSE_OTHER;
	header = (ip->version_length & 15) * 4;
	if (header < IPV4_HEADER_LEN)
		return malformed(parsed, MALFORMED_IP_HEADER);
	if (header > available)
		return malformed(parsed, MALFORMED_IP_TRUNCATED);
	length = bpf_ntohs(ip->total_length);
	if (length_in_buffer(skb, ip->total_length))
		length = available;
	if (length < header || length > available)
		return malformed(parsed, MALFORMED_IP_LENGTH);
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

/* What an extension chain ends in when it is not TCP: a negative number. */
static __always_inline int no_segment(enum parse_result result, enum malformed kind)
{
	return -(int)(result | kind << 8);
}

/* Goes with the offset that skip_extensions returns. */
#define FIRST_FRAGMENT (1 << 24)

/* From the first extension header, of type next, to the offset of TCP. */
__noinline int skip_extensions(struct __sk_buff *skb, __u32 offset, __u32 next, __u32 end)
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
		if (!read_header(skb, offset, &header))
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
		if (offset > skb->len)
			return no_segment(PARSE_MALFORMED, MALFORMED_IP_TRUNCATED);
		if (offset > end)
			return no_segment(PARSE_MALFORMED, MALFORMED_IP_LENGTH);
		next = header.next_header;
	}
	if (next == IPPROTO_TCP)
		return (offset & (FIRST_FRAGMENT - 1)) | first_fragment;
	/* Still in the chain after as many headers as we follow. */
	if (is_extension(next))
		return no_segment(PARSE_MALFORMED, MALFORMED_IP_HEADER);
	return no_segment(PARSE_OTHER, MALFORMED_NONE);
}

static __always_inline int parse_ipv6(struct __sk_buff *skb, struct parsed *parsed)
{
	__u32 available = skb->len - parsed->network, length;
	struct ipv6_start buffer;
	const struct ipv6_start *ip = header_at(skb, parsed->network, &buffer);
	int found;

	if (!ip)
		return malformed(parsed, MALFORMED_IP_TRUNCATED);
	if (ip->version_class >> 4 != 6)
		return malformed(parsed, MALFORMED_IP_HEADER);
	if (ip->next_header != IPPROTO_TCP && !is_extension(ip->next_header))
		return PARSE_OTHER;
	if (available < IPV6_HEADER_LEN)
		return malformed(parsed, MALFORMED_IP_TRUNCATED);
	length = IPV6_HEADER_LEN + bpf_ntohs(ip->payload_length);
	if (length_in_buffer(skb, ip->payload_length))
		length = available;
	if (length > available)
		return malformed(parsed, MALFORMED_IP_LENGTH);
	parsed->transport = parsed->network + IPV6_HEADER_LEN;
	parsed->end = parsed->network + length;
	if (ip->next_header == IPPROTO_TCP)
		return PARSE_SEGMENT;
	found = skip_extensions(skb, parsed->transport, ip->next_header, parsed->end);
	if (found > 0) {
		parsed->transport = found & (FIRST_FRAGMENT - 1);
		parsed->first_fragment = !!(found & FIRST_FRAGMENT);
		return PARSE_SEGMENT;
	}
	parsed->malformed = -found >> 8;
	return -found & 0xff;
}

/* Walks the options between two offsets; not 0 if one's length cannot be. */
__noinline int check_options(struct __sk_buff *skb, __u32 offset, __u32 end)
{
	__u8 kind, length;

	for (int i = 0; i < TCP_OPTIONS_LEN; i++) {
		if (offset >= end)
			return 0;
		if (!read_header(skb, offset, &kind))
			return -1;
		if (kind == TCP_OPTION_END)
			return 0;
		if (kind == TCP_OPTION_NOP) {
			offset++;
			continue;
		}
		if (offset + 1 >= end || !read_header(skb, offset + 1, &length))
			return -1;
		if (length < 2 || offset + length > end)
			return -1;
		offset += length;
	}
	return 0;
}

static __always_inline bool options_malformed(struct __sk_buff *skb, const struct parsed *parsed)
{
	__u32 offset = parsed->transport + TCP_HEADER_LEN;
	__be32 start;

	if (!parsed->options_len)
		return false;
	if (parsed->options_len == TCP_TIMESTAMP_LEN && read_header(skb, offset, &start) &&
	    start == bpf_htonl(TCP_TIMESTAMP_ONLY))
		return false;
	return check_options(skb, offset, offset + parsed->options_len) != 0;
}

/* The first class that fits, but what no sane stack sends is of none of them. */
static __always_inline enum packet_class classify(__u8 flags, __u32 payload)
{
	if ((flags & (TCP_SYN | TCP_RST | TCP_FIN | TCP_ACK)) == TCP_ACK)
		return payload ? PACKET_DATA : PACKET_ACK;
	switch (flags & (TCP_SYN | TCP_RST | TCP_FIN | TCP_ACK)) {
	case TCP_SYN:
		return PACKET_SYN;
	case TCP_SYN | TCP_ACK:
		return PACKET_SYN_ACK;
	case TCP_RST:
	case TCP_RST | TCP_ACK:
		return PACKET_RST;
	case TCP_FIN | TCP_ACK:
		return PACKET_FIN;
	default:
		return PACKET_ABNORMAL;
	}
}

static __always_inline bool flags_malformed(__u8 flags)
{
	return !(flags & TCP_SIX_FLAGS) || (flags & (TCP_SYN | TCP_FIN)) == (TCP_SYN | TCP_FIN) ||
	       (flags & (TCP_SYN | TCP_RST)) == (TCP_SYN | TCP_RST);
}

/* Segments of a super-packet, and the bytes they are on the wire. */
static __always_inline void count_segments(struct __sk_buff *skb, struct parsed *parsed,
					   __u32 header_end)
{
	__u32 size = skb->gso_size, segments = size ? skb->gso_segs : 1;

	/* Devices and senders that are not trusted leave the count to whoever segments. */
	if (!segments)
		segments = (parsed->payload + size - 1) / size;
	parsed->segments = segments ? segments : 1;
	/* A tag in the metadata is on the wire, but not in the length. */
	if (skb->vlan_present)
		header_end += VLAN_TAG_LEN;
	parsed->wire = skb->len + (parsed->segments - 1) * header_end;
	if (skb->vlan_present)
		parsed->wire += VLAN_TAG_LEN;
}

static __always_inline int parse_tcp(struct __sk_buff *skb, struct parsed *parsed)
{
	__u32 available = parsed->end - parsed->transport, header;
	struct tcp_start buffer;
	const struct tcp_start *tcp = header_at(skb, parsed->transport, &buffer);

	if (available < TCP_HEADER_LEN || !tcp)
		return malformed(parsed, MALFORMED_TCP_TRUNCATED);
	parsed->source = bpf_ntohs(tcp->source);
	parsed->destination = bpf_ntohs(tcp->destination);
	parsed->flags = tcp->flags;
	parsed->reserved = tcp->offset & 15;
	header = (tcp->offset >> 4) * 4;
	if (header > available && parsed->first_fragment) {
		/* The rest of the options is in the next fragment. */
		header = available;
		parsed->options_len = header - TCP_HEADER_LEN;
	} else if (header < TCP_HEADER_LEN || header > available) {
		parsed->malformed = MALFORMED_TCP_OFFSET;
		header = available;
	} else {
		parsed->options_len = header - TCP_HEADER_LEN;
		if (options_malformed(skb, parsed))
			parsed->malformed = MALFORMED_TCP_OPTIONS;
		else if (flags_malformed(tcp->flags))
			parsed->malformed = MALFORMED_TCP_FLAGS;
		else if (!tcp->source || !tcp->destination)
			parsed->malformed = MALFORMED_TCP_PORT;
	}
	parsed->payload = available - header;
	parsed->class = classify(tcp->flags, parsed->payload);
	count_segments(skb, parsed, parsed->transport + header);
	return PARSE_SEGMENT;
}

/* Sets the offset of the IP header and the family; false if there is none. */
static __always_inline bool find_network(struct __sk_buff *skb, bool ethernet,
					 struct parsed *parsed)
{
	__be16 type;
	int found;

	if (!ethernet) {
		parsed->family = ip_family(skb->protocol);
		return parsed->family;
	}
	if (!read_header(skb, ETHERNET_HEADER_LEN - sizeof(type), &type))
		return false;
	parsed->network = ETHERNET_HEADER_LEN;
	parsed->family = ip_family(type);
	if (!is_tag(type))
		return parsed->family;
	found = skip_tags(skb);
	parsed->network = found >> 8;
	parsed->family = found;
	return found;
}

static __always_inline int parse_packet(struct __sk_buff *skb, bool ethernet, struct parsed *parsed)
{
	int result;

	if (!find_network(skb, ethernet, parsed))
		return PARSE_OTHER;
	result = parsed->family == 4 ? parse_ipv4(skb, parsed) : parse_ipv6(skb, parsed);
	return result == PARSE_SEGMENT ? parse_tcp(skb, parsed) : result;
}

#endif
