// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Copies wanted bytes to user space. Payload is never in the linear area on veth, lo, or
 * after sendfile, so bpf_skb_load_bytes fetches it. A record has one of six sizes, because
 * reserving a size that is known at load is cheaper than bpf_ringbuf_output. What is larger
 * than the largest goes in several pieces.
 */
#ifndef EBPF_TCP_INSPECT_COPY_H
#define EBPF_TCP_INSPECT_COPY_H

#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "options.h"
#include "segment_of.h"

/*
 * Packet programs run with softirqs off, so that one at a time adds on a CPU. The map has one
 * entry, so a look-up never fails.
 */
#define COUNT_INSPECTED(member, n)                                                                 \
	({                                                                                         \
		__u32 first_ = 0;                                                                  \
		struct inspect_counts *counts_ = bpf_map_lookup_elem(&inspect_counts, &first_);    \
                                                                                                   \
		if (counts_)                                                                       \
			counts_->member += n;                                                      \
	})

#define TINY_PIECE 256
#define SMALL_PIECE 512
#define MEDIUM_PIECE 2048
#define PAGE_PIECE 4096
#define TWO_PAGE_PIECE 8192
#define LARGE_PIECE 16384
/* The largest packet with BIG TCP: 8 times 65535 bytes, GSO_MAX_SIZE of the kernel. */
#define PIECES 32

/* The connection of an answer, as the socket hooks know it; NULL if it is not to be told. */
static __always_inline const struct connection *connection_of(struct __sk_buff *skb,
							      const struct segment *segment)
{
	struct bpf_sock *sk = skb->sk;
	__u64 key;

	if (!segment->tell || !sk)
		return NULL;
	key = (__u64)bpf_skc_to_tcp_sock(sk);
	return key ? bpf_map_lookup_elem(&connections, &key) : NULL;
}

/* All but what differs between the pieces of a segment. */
static __always_inline void fill_record(struct __sk_buff *skb, const struct segment *segment,
					const struct connection *told,
					struct segment_record *record)
{
	record->head.kind = RECORD_SEGMENT;
	record->head.netns = netns;
	record->head.time = segment->time;
	*(struct address *)record->flow.local = segment->local;
	*(struct address *)record->flow.remote = segment->remote;
	record->flow.local_port = bpf_ntohs(segment->local_port);
	record->flow.remote_port = bpf_ntohs(segment->remote_port);
	record->ifindex = skb->ifindex;
	record->acknowledged = segment->acknowledged;
	record->acknowledgment = segment->acknowledgment;
	record->start = segment->start;
	record->first = segment->first;
	record->retransmits = segment->retransmits;
	record->flags = segment->flags;
	record->egress = segment->egress;
	record->known = segment->known;
	record->number = segment->number;
	record->connection = 0;
	if (told) {
		record->connection = told->id;
		record->owner = told->owner;
	}
}

/*
 * size is a power of two. Verifiers of the 6.1 class forget the bounds of a length that the
 * compiler compares in its own way, so its bound is in assembly.
 */
#define PIECE(name, size)                                                                          \
	static __noinline int name(struct __sk_buff *skb, const struct segment *segment, __u32 at, \
				   __u32 length, const struct connection *told)                    \
	{                                                                                          \
		__u64 last = (__u64)length - 1;                                                    \
		bool empty = !length;                                                              \
		struct segment_record *record;                                                     \
                                                                                                   \
		record = bpf_ringbuf_reserve(&segments, sizeof(*record) + (size), 0);              \
		if (!record)                                                                       \
			return -1;                                                                 \
		fill_record(skb, segment, told, record);                                           \
		record->sequence = segment->sequence + at;                                         \
		record->length = length;                                                           \
		record->left = segment->payload - at - length;                                     \
		asm volatile("%0 &= %1" : "+r"(last) : "i"((size) - 1));                           \
		if (!empty &&                                                                      \
		    bpf_skb_load_bytes(skb, segment->offset + at, record + 1, last + 1)) {         \
			bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);                             \
			return -1;                                                                 \
		}                                                                                  \
		bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);                                      \
		return 0;                                                                          \
	}

PIECE(copy_tiny, TINY_PIECE)
PIECE(copy_small, SMALL_PIECE)
PIECE(copy_medium, MEDIUM_PIECE)
PIECE(copy_page, PAGE_PIECE)
PIECE(copy_two_pages, TWO_PAGE_PIECE)
PIECE(copy_large, LARGE_PIECE)

/*
 * The segment that is being read, for follow_frames and copy_piece. Packet programs run with
 * softirqs off, so a CPU copies one at a time.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct segment);
} copied_segment SEC(".maps");

/* Gives a segment to global functions, which take no pointers to it. */
static __always_inline bool hand_over(const struct segment *segment)
{
	__u32 first = 0;
	struct segment *copied = bpf_map_lookup_elem(&copied_segment, &first);

	if (copied)
		*copied = *segment;
	return copied;
}

/* A global function, which the verifier checks once and not once per piece. */
__noinline int copy_piece(struct __sk_buff *skb, __u32 at, __u32 length)
{
	__u32 first = 0;
	const struct segment *segment = bpf_map_lookup_elem(&copied_segment, &first);
	const struct connection *told;

	if (!segment)
		return -1;
	told = connection_of(skb, segment);
	if (length <= SMALL_PIECE)
		return copy_small(skb, segment, at, length, told);
	if (length <= MEDIUM_PIECE)
		return copy_medium(skb, segment, at, length, told);
	if (length <= PAGE_PIECE)
		return copy_page(skb, segment, at, length, told);
	if (length <= TWO_PAGE_PIECE)
		return copy_two_pages(skb, segment, at, length, told);
	return copy_large(skb, segment, at, length, told);
}

/*
 * Returns how many bytes of copied_segment were copied: all, or those before the piece that found
 * no room. A global function, and the bounds of a length are hidden, or the verifier would follow
 * each piece of each size on each path.
 */
__noinline __u32 copy_pieces(struct __sk_buff *skb, __u32 most)
{
	__u32 at = 0, first = 0;
	struct segment *segment = bpf_map_lookup_elem(&copied_segment, &first);

	if (!segment)
		return 0;
	for (int i = 0; i < PIECES && at < most; i++) {
		__u32 length = most - at;

		segment->known &= ~SEGMENT_MORE;
		if (length > LARGE_PIECE)
			segment->known |= SEGMENT_MORE;
		asm volatile("" : "+r"(length));
		if (length > LARGE_PIECE)
			length = LARGE_PIECE;
		if (copy_piece(skb, at, length))
			return at;
		at += LARGE_PIECE;
	}
	return at < most ? at : most;
}

/* Since 5.18, commit 8d21ec0e46ed. */
struct __sk_buff___typed {
	__u8 tstamp_type;
} __attribute__((preserve_access_index));

/*
 * When TCP sent a packet of a socket, on the monotonic clock; 0 = not known. A clock read would
 * take longer than all else that is done for a segment.
 */
static __always_inline __u64 sent_at(struct __sk_buff *skb)
{
	if (bpf_core_field_exists(((struct __sk_buff___typed *)0)->tstamp_type) &&
	    skb->tstamp_type != BPF_SKB_TSTAMP_DELIVERY_MONO)
		return 0;
	return skb->tstamp;
}

/* What the socket of a segment to the client knows: when it was sent, and how often again. */
static __always_inline void ask_socket(struct __sk_buff *skb, struct segment *segment)
{
	struct bpf_sock *sk = skb->sk;
	struct bpf_tcp_sock *tcp;

	if (!sk)
		return;
	tcp = bpf_tcp_sock(sk);
	if (!tcp)
		return;
	segment->retransmits = tcp->total_retrans;
	segment->known |= SEGMENT_SOCKET;
	segment->time = sent_at(skb);
	if (segment->time)
		segment->known |= SEGMENT_MONOTONIC;
}

enum copied {
	COPIED,
	COPIED_TOLD, /* the record told the connection, which was asked for */
	COPIED_LOST, /* bytes of it did not find room */
};

/* Returns how many bytes of a segment were copied. */
static __always_inline __u32 copy_bytes(struct __sk_buff *skb, const struct segment *segment,
					__u32 most, const struct connection *told, bool *lost)
{
	if (most > MEDIUM_PIECE) {
		__u32 copied = hand_over(segment) ? copy_pieces(skb, most) : 0;

		*lost = copied < most;
		return copied;
	}
	if (most <= TINY_PIECE)
		*lost = copy_tiny(skb, segment, 0, most, told);
	else if (most <= SMALL_PIECE)
		*lost = copy_small(skb, segment, 0, most, told);
	else
		*lost = copy_medium(skb, segment, 0, most, told);
	return *lost ? 0 : most;
}

static __always_inline enum copied copy_segment(struct __sk_buff *skb, struct segment *segment)
{
	__u32 most = segment->payload, first = 0, copied;
	struct inspect_counts *counts = bpf_map_lookup_elem(&inspect_counts, &first);
	const struct connection *told;
	bool lost;

	if (!counts)
		return COPIED_LOST;
	if (most > segment->limit)
		most = segment->limit;
	if (segment->egress)
		ask_socket(skb, segment);
	if (!segment->time)
		segment->time = bpf_ktime_get_boot_ns();
	told = connection_of(skb, segment);
	copied = copy_bytes(skb, segment, most, told, &lost);
	counts->bytes += copied;
	/* A segment of up to a piece is one, without payload too. The piece without room is one. */
	counts->segments += 1;
	if (most > LARGE_PIECE)
		counts->segments += (copied + LARGE_PIECE - 1) / LARGE_PIECE - !lost;
	counts->lost += lost;
	if (lost)
		return COPIED_LOST;
	return told ? COPIED_TOLD : COPIED;
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

/* Fewer bytes than any request of HTTP/1 has, or a status line with an end. */
#define HEAD_START 16

/* What a target begins with: a path, a URL, the asterisk of OPTIONS, the authority of CONNECT. */
static __always_inline bool is_target(const __u8 *start, __u8 c)
{
	return c == '/' || c == '*' || c == 'h' || c == 'H' ||
	       (start[0] == 'C' && start[1] == 'O' && start[2] == 'N' && start[3] == 'N');
}

/*
 * A request line begins with a method in capital letters, a space and a target; a status line
 * with HTTP and a slash. Text that begins with a capital letter is none of these. Whatever looks
 * otherwise, such as methods that are longer, has its share of a second.
 */
static __always_inline bool looks_like_head(struct __sk_buff *skb, const struct segment *segment)
{
	__u8 start[HEAD_START] = {};

	if (segment->payload < sizeof(start) ||
	    bpf_skb_load_bytes(skb, segment->offset, start, sizeof(start)))
		return false;
	if (segment->egress)
		return start[0] == 'H' && start[1] == 'T' && start[2] == 'T' && start[3] == 'P' &&
		       start[4] == '/';
#pragma unroll
	for (int i = 0; i < HEAD_START - 1; i++) {
		__u8 c = start[i];

		if (c == ' ')
			return i && is_target(start, start[i + 1]);
		if ((c < 'A' || c > 'Z') && c != '-' && c != '_')
			return false;
	}
	return false;
}

enum share {
	SHARE_NONE,
	SHARE_HEAD, /* all of it */
	SHARE_BODY, /* up to its limit */
};

/*
 * Whether a segment of a connection without an entry is copied, and how much of it. Such
 * connections can displace each other with every segment, so their bodies are bounded.
 */
static __noinline enum share share_of(struct __sk_buff *skb, struct segment *segment, __u64 hash)
{
	__u32 index = hash >> 32 & (JOIN_WINDOWS - 1), second, bytes;
	struct join_window *window;

	if (looks_like_head(skb, segment))
		return SHARE_HEAD;
	window = bpf_map_lookup_elem(&join_windows, &index);
	if (!window)
		return SHARE_NONE;
	second = bpf_ktime_get_boot_ns() >> 30; /* 1.07 s */
	if (window->second != second) {
		window->second = second;
		window->bytes = 0;
	}
	bytes = window->bytes;
	if (bytes >= JOIN_BYTES)
		return SHARE_NONE;
	if (segment->payload > JOIN_BYTES - bytes)
		segment->limit = JOIN_BYTES - bytes;
	__sync_fetch_and_add(&window->bytes,
			     segment->payload < segment->limit ? segment->payload : segment->limit);
	return SHARE_BODY;
}

#endif
