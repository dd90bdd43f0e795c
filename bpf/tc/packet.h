// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * From a frame to the fields of a TCP segment.
 *
 * Headers in the linear area of the buffer are copied from there. Only headers outside it
 * are fetched with bpf_skb_load_bytes. A packet ends at skb->len, whatever its headers say.
 *
 * If the kernel or the card moved a VLAN tag to the metadata of the buffer, the Ethernet
 * header shows the inner protocol. Tags in the data are skipped.
 *
 * Verifiers of the 5.10 class need some care:
 *   - they forget the bounds of a 32-bit number on the stack, so every offset is masked
 *     where it is added to a pointer;
 *   - they refuse variable offsets into the stack, so options are never indexed there;
 *   - loops are in global functions, which they verify once and not once per path. Those
 *     take a context or numbers, and return a number.
 */
#ifndef EBPF_TCP_PACKET_H
#define EBPF_TCP_PACKET_H

#include "kernel.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "values.h"

/* -- the reader that headers.h asks for ---------------------------------------- */

typedef struct __sk_buff *packet_t;

/* Far above any header offset, far below the limit of the verifier. */
#define OFFSET_MASK 0x7fff

/*
 * Points to a header in place, or to the copy in *buffer if it is outside the linear area;
 * NULL if the frame ends before. A macro, because the type varies. The mask is in assembly:
 * the compiler would remove it, because it can prove what the verifier cannot.
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
 * Copies *to from offset; false if the frame ends before. Without header_at: the verifier
 * would assume that its two pointers may be equal, and *to uninitialised.
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

#define packet_length(skb) ((skb)->len)

/* BIG TCP: above 64 KiB the length field is 0, and only the buffer has the length. */
static __always_inline bool is_length_in_buffer(struct __sk_buff *skb, __be16 field)
{
	return !field && (skb->gso_segs > 1 || skb->gso_size);
}

#include "headers.h"

#define ETHERNET_HEADER_LEN 14
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8
#define ETHERTYPE_QINQ_OLD 0x9100
#define VLAN_TAG_LEN 4
#define VLAN_TAGS 3

/* include/uapi/linux/if_packet.h: a packet to this host, by its hardware address. */
#define PACKET_HOST 0

#define TCP_SIX_FLAGS 0x3f
#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
/* NOP NOP TIMESTAMP 10: the options of nearly every segment after the handshake. */
#define TCP_TIMESTAMP_ONLY 0x0101080a
#define TCP_TIMESTAMP_LEN 12

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

/* Skips the tags in the data; returns offset << 8 | family, or 0 if there is no IP. */
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

/* Walks the options between two offsets; not 0 if the length of one is impossible. */
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

static __always_inline bool has_malformed_options(struct __sk_buff *skb,
						  const struct parsed *parsed)
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

/* The class of a segment; PACKET_ABNORMAL for combinations that no stack sends. */
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

static __always_inline bool has_malformed_flags(__u8 flags)
{
	return !(flags & TCP_SIX_FLAGS) || (flags & (TCP_SYN | TCP_FIN)) == (TCP_SYN | TCP_FIN) ||
	       (flags & (TCP_SYN | TCP_RST)) == (TCP_SYN | TCP_RST);
}

/* Counts the segments of a super-packet, and their bytes on the wire. */
static __always_inline void count_segments(struct __sk_buff *skb, struct parsed *parsed,
					   __u32 header_end)
{
	__u32 size = skb->gso_size, segments = size ? skb->gso_segs : 1;

	/* Untrusted devices and senders leave gso_segs to the code that segments. */
	if (!segments)
		segments = (parsed->payload + size - 1) / size;
	parsed->segments = segments ? segments : 1;
	/* A tag in the metadata is on the wire, but not in skb->len. */
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
		return set_malformed(parsed, MALFORMED_TCP_TRUNCATED);
	parsed->source = bpf_ntohs(tcp->source);
	parsed->destination = bpf_ntohs(tcp->destination);
	parsed->flags = tcp->flags;
	parsed->reserved = tcp->offset & 15;
	header = (tcp->offset >> 4) * 4;
	if (header > available && parsed->first_fragment) {
		/* The other options are in the next fragment. */
		header = available;
		parsed->options_len = header - TCP_HEADER_LEN;
	} else if (header < TCP_HEADER_LEN || header > available) {
		parsed->malformed = MALFORMED_TCP_OFFSET;
		header = available;
	} else {
		parsed->options_len = header - TCP_HEADER_LEN;
		if (has_malformed_options(skb, parsed))
			parsed->malformed = MALFORMED_TCP_OPTIONS;
		else if (has_malformed_flags(tcp->flags))
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
