// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Copies wanted bytes to user space. Payload is never in the linear area on veth, lo, or
 * after sendfile, so bpf_skb_load_bytes fetches it. A record has one of three sizes, because
 * reserving a size that is known at load is cheaper than bpf_ringbuf_output. What is larger
 * than the largest goes in several pieces.
 */
#ifndef EBPF_TCP_INSPECT_COPY_H
#define EBPF_TCP_INSPECT_COPY_H

#include "kernel.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "options.h"
#include "segment_of.h"

/* Atomic, because a hook of a softirq can run inside that of a process. */
#define COUNT_INSPECTED(member, n)                                                                 \
	({                                                                                         \
		__u32 first_ = 0;                                                                  \
		struct inspect_counts *counts_ = bpf_map_lookup_elem(&inspect_counts, &first_);    \
                                                                                                   \
		if (counts_)                                                                       \
			__sync_fetch_and_add(&counts_->member, n);                                 \
	})

#define SMALL_PIECE 512
#define MEDIUM_PIECE 2048
#define LARGE_PIECE 16384
/* The largest packet without BIG TCP. */
#define PIECES 5

/*
 * size is a power of two. Verifiers of the 6.1 class forget the bounds of a length that the
 * compiler compares in its own way, so its bound is in assembly.
 */
#define PIECE(name, size)                                                                          \
	static __noinline int name(struct __sk_buff *skb, const struct segment_record *header,     \
				   __u32 offset)                                                   \
	{                                                                                          \
		__u64 last = (__u64)header->length - 1;                                            \
		bool empty = !header->length;                                                      \
		struct segment_record *record;                                                     \
                                                                                                   \
		record = bpf_ringbuf_reserve(&segments, sizeof(*record) + (size), 0);              \
		if (!record)                                                                       \
			return -1;                                                                 \
		*record = *header;                                                                 \
		asm volatile("%0 &= %1" : "+r"(last) : "i"((size) - 1));                           \
		if (!empty && bpf_skb_load_bytes(skb, offset, record + 1, last + 1)) {             \
			bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);                             \
			return -1;                                                                 \
		}                                                                                  \
		bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);                                      \
		return 0;                                                                          \
	}

PIECE(copy_small, SMALL_PIECE)
PIECE(copy_medium, MEDIUM_PIECE)
PIECE(copy_large, LARGE_PIECE)

/*
 * The record that is being filled, for copy_piece. Packet programs run with softirqs off, so a
 * CPU fills one at a time.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct segment_record);
} segment_header SEC(".maps");

/* A global function, which the verifier checks once and not once per piece. */
__noinline int copy_piece(struct __sk_buff *skb, __u32 offset, __u32 sequence, __u32 length,
			  __u32 left)
{
	__u32 first = 0;
	struct segment_record *header = bpf_map_lookup_elem(&segment_header, &first);

	if (!header)
		return -1;
	header->sequence = sequence;
	header->length = length;
	header->left = left;
	if (length <= SMALL_PIECE)
		return copy_small(skb, header, offset);
	if (length <= MEDIUM_PIECE)
		return copy_medium(skb, header, offset);
	return copy_large(skb, header, offset);
}

/* The connection of an answer, as the socket hooks know it. */
static __always_inline bool tell_connection(struct __sk_buff *skb, struct segment_record *record)
{
	struct bpf_sock *sk = skb->sk;
	const struct connection *connection;
	__u64 key;

	if (!sk)
		return false;
	key = (__u64)bpf_skc_to_tcp_sock(sk);
	if (!key)
		return false;
	connection = bpf_map_lookup_elem(&connections, &key);
	if (!connection)
		return false;
	record->connection = connection->id;
	record->owner = connection->owner;
	return true;
}

static __always_inline void count_retransmits(struct __sk_buff *skb, struct segment_record *record)
{
	struct bpf_sock *sk = skb->sk;
	struct bpf_tcp_sock *tcp;

	if (!sk)
		return;
	tcp = bpf_tcp_sock(sk);
	if (!tcp)
		return;
	record->retransmits = tcp->total_retrans;
	record->known |= SEGMENT_SOCKET;
}

static __always_inline void fill_header(struct __sk_buff *skb, const struct segment *segment,
					struct segment_record *header)
{
	header->head.kind = RECORD_SEGMENT;
	header->head.netns = netns;
	header->head.time = bpf_ktime_get_boot_ns();
	*(struct address *)header->flow.local = segment->local;
	*(struct address *)header->flow.remote = segment->remote;
	header->flow.local_port = bpf_ntohs(segment->local_port);
	header->flow.remote_port = bpf_ntohs(segment->remote_port);
	header->ifindex = skb->ifindex;
	header->connection = 0;
	header->acknowledged = segment->acknowledged;
	header->acknowledgment = segment->acknowledgment;
	header->start = segment->start;
	header->first = segment->first;
	header->flags = segment->flags;
	header->egress = segment->egress;
	header->known = segment->known;
}

/* Returns whether the record told the connection, if that was asked for. */
static __always_inline bool copy_segment(struct __sk_buff *skb, const struct segment *segment,
					 bool tell)
{
	__u32 offset = segment->offset, sequence = segment->sequence, rest = segment->payload;
	__u32 first = 0, most = rest < segment->limit ? rest : segment->limit;
	struct segment_record *header = bpf_map_lookup_elem(&segment_header, &first);
	bool told = false, lost = false;

	if (!header)
		return false;
	fill_header(skb, segment, header);
	if (segment->egress) {
		count_retransmits(skb, header);
		if (tell)
			told = tell_connection(skb, header);
	}
	COUNT_INSPECTED(bytes, most);
	COUNT_INSPECTED(segments, 1);
	for (int i = 0; i < PIECES; i++) {
		__u32 length = most < LARGE_PIECE ? most : LARGE_PIECE;

		rest -= length;
		most -= length;
		if (copy_piece(skb, offset, sequence, length, rest)) {
			lost = true;
			break;
		}
		if (!most)
			break;
		COUNT_INSPECTED(segments, 1);
		offset += length;
		sequence += length;
	}
	if (lost)
		COUNT_INSPECTED(lost, 1);
	return told && !lost;
}

/* -- connections without an entry ------------------------------------------------- */

#define JOIN_WINDOWS 1024
/* A connection without an entry may cost this many bytes of body in a second. */
#define JOIN_BYTES 16384

struct join_window {
	__u32 second;
	__u32 bytes;
};

/*
 * Bytes of connections that joined in the current second, by the hash of the connection. The
 * programs write. Never full: connections with the same place share its bytes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, JOIN_WINDOWS);
	__type(key, __u32);
	__type(value, struct join_window);
} join_windows SEC(".maps");

/* A method begins with a capital letter, a status line with HTTP. */
static __always_inline bool looks_like_head(struct __sk_buff *skb, const struct segment *segment)
{
	__u32 start = 0;

	if (segment->payload < sizeof(start) ||
	    bpf_skb_load_bytes(skb, segment->offset, &start, sizeof(start)))
		return false;
	if (segment->egress)
		return start == bpf_htonl(0x48545450);
	return (start & 0xff) >= 'A' && (start & 0xff) <= 'Z';
}

/*
 * Whether a segment of a connection without an entry is copied, and how much of it. Such
 * connections can displace each other with every segment, so their bodies are bounded.
 */
static __noinline bool may_join(struct __sk_buff *skb, struct segment *segment, __u64 hash)
{
	__u32 index = hash >> 32 & (JOIN_WINDOWS - 1), second, bytes;
	struct join_window *window;

	if (looks_like_head(skb, segment))
		return true;
	window = bpf_map_lookup_elem(&join_windows, &index);
	if (!window)
		return false;
	second = bpf_ktime_get_boot_ns() >> 30; /* 1.07 s */
	if (window->second != second) {
		window->second = second;
		window->bytes = 0;
	}
	bytes = window->bytes;
	if (bytes >= JOIN_BYTES)
		return false;
	if (segment->payload > JOIN_BYTES - bytes)
		segment->limit = JOIN_BYTES - bytes;
	__sync_fetch_and_add(&window->bytes,
			     segment->payload < segment->limit ? segment->payload : segment->limit);
	return true;
}

#endif
