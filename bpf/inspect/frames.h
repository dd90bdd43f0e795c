// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * HTTP/2: where frames begin. A connection that begins with the client's preface is followed
 * from its first byte. The number that is wanted is then where the next frame begins, and
 * what the head of that frame says moves it. DATA does not cross, so user space need not say
 * where it ends.
 *
 *   DATA that does not end its stream    is passed over
 *   any other frame                      crosses whole, with the segment in which it begins
 *
 * What makes the next frame's place unknown ends this: a segment out of order, a head of which
 * less than a segment of 4 bytes comes, more frames in a segment than the loop takes, a record
 * without room. Then user space finds frames again, as on any connection (wanted.h).
 */
#ifndef EBPF_TCP_INSPECT_FRAMES_H
#define EBPF_TCP_INSPECT_FRAMES_H

#include "kernel.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "copy.h"
#include "segment_of.h"
#include "wanted.h"

/* "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" (RFC 9113, section 3.4). */
#define PREFACE_BYTES 24
#define PREFACE_BEGIN 0x505249202a204854ULL /* "PRI * HT" */

#define FRAME_HEAD 9
#define FRAMES_AT_ONCE 16

/* The part of a head that matters here: length, type, flags. NO_HEAD is no such part. */
#define HEAD_PART 5
#define NO_HEAD (~0ULL)
#define FRAME_LENGTH(head) ((__u32)((head) >> 16))
#define FRAME_TYPE(head) ((head) >> 8 & 0xff)
#define FRAME_DATA 0
#define END_STREAM 1

/* DATA that ends its stream crosses up to this size, a few times what programs send. */
#define MOST_WHOLE 65536

/* What walk_frames finds, above the number where the next frame begins. */
#define WALK_COPY (1ULL << 32) /* a frame that is wanted begins in the segment */
#define WALK_WHOLE (1ULL << 33) /* the last frame is wanted and reaches beyond the segment */

static __always_inline bool is_preface(struct __sk_buff *skb, const struct segment *segment)
{
	__be64 begin;

	return segment->payload >= PREFACE_BYTES &&
	       !bpf_skb_load_bytes(skb, segment->offset, &begin, sizeof(begin)) &&
	       begin == bpf_cpu_to_be64(PREFACE_BEGIN);
}

static __always_inline __u64 load_head(struct __sk_buff *skb, __u32 offset)
{
	__u8 head[8] = {};

	if (bpf_skb_load_bytes(skb, offset, head, HEAD_PART))
		return NO_HEAD;
	return (__u64)head[0] << 32 | (__u64)head[1] << 24 | head[2] << 16 | head[3] << 8 | head[4];
}

static __always_inline __u64 walk_frames(struct __sk_buff *skb, const struct segment *segment,
					 __u32 at, __u64 head)
{
	__u32 end = segment->sequence + segment->payload;
	__u64 found = 0;

	for (int i = 0; i < FRAMES_AT_ONCE; i++) {
		__u32 next;

		if (head == NO_HEAD) {
			if ((__s32)(end - at) < HEAD_PART)
				break;
			head = load_head(skb, segment->offset + at - segment->sequence);
			if (head == NO_HEAD)
				break;
		}
		next = at + FRAME_HEAD + FRAME_LENGTH(head);
		if (FRAME_TYPE(head) != FRAME_DATA || head & END_STREAM) {
			found |= WALK_COPY;
			if (is_before(end, next) && FRAME_LENGTH(head) <= MOST_WHOLE)
				found |= WALK_WHOLE;
		}
		head = NO_HEAD;
		at = next;
	}
	if (is_before(at, end)) /* the rest of a head, or further frames */
		found |= WALK_COPY;
	return found | at;
}

/*
 * Keeps the begin of a head, of which the rest comes with the next segment. Connections whose
 * frames are followed have no other use for their passed.
 */
static __always_inline void keep_head(struct __sk_buff *skb, const struct segment *segment,
				      struct passed *passed, __u64 side, __u32 at)
{
	__u32 end = segment->sequence + segment->payload, have = end - at;
	__be32 last;

	passed->time[side] = 0;
	if (segment->payload < sizeof(last) ||
	    bpf_skb_load_bytes(skb, segment->offset + segment->payload - sizeof(last), &last,
			       sizeof(last)))
		return;
	/* Never 0: the length of the part is in it. */
	passed->time[side] = (__u64)have << 32 | (bpf_ntohl(last) & ((1ULL << 8 * (have & 7)) - 1));
	passed->end[side] = end;
}

/* The head that began with the segment before; NO_HEAD if there is none. */
static __always_inline __u64 join_head(struct __sk_buff *skb, const struct segment *segment,
				       const struct passed *passed, __u64 side, __u32 at)
{
	__u32 have = segment->sequence - at, rest = HEAD_PART - have;
	__u64 kept = passed->time[side];
	__be32 begin;

	if (have < 1 || have >= HEAD_PART || kept >> 32 != have ||
	    passed->end[side] != segment->sequence || segment->payload < sizeof(begin) ||
	    bpf_skb_load_bytes(skb, segment->offset, &begin, sizeof(begin)))
		return NO_HEAD;
	return (kept & 0xffffffff) << 8 * (rest & 7) | bpf_ntohl(begin) >> (32 - 8 * (rest & 7));
}

/* The index of a direction, which the verifier can't follow. */
#define BOUND_SIDE(side) asm volatile("%0 &= 1" : "+r"(side))

/* What follow_frames says of a segment, above the number of the first byte that is wanted. */
#define FOLLOW_NOTHING (1ULL << 32) /* no byte of it is */
#define FOLLOW_COPY (1ULL << 33)
#define FOLLOW_NOT 0 /* frames are not followed */

static __always_inline __u64 follow(struct __sk_buff *skb, const struct segment *segment,
				    __u64 *words, struct passed *passed, __u64 side)
{
	bool ends = segment->flags & (TCP_FIN | TCP_RST);
	__u64 word = load_word(&words[side]), head = NO_HEAD, found;
	__u32 end = segment->sequence + segment->payload, at = word;
	bool whole = word & WORD_WHOLE;

	if (!segment->payload)
		return ends ? FOLLOW_COPY | segment->sequence : FOLLOW_NOTHING;
	if (is_before(at, segment->sequence)) {
		head = join_head(skb, segment, passed, side, at);
		if (head == NO_HEAD)
			return FOLLOW_NOT;
		whole = true; /* the head's frame goes on with the segment */
	} else if (!is_before(at, end)) {
		if (whole && at == end)
			store_word(&words[side], word & ~WORD_WHOLE);
		if (whole)
			return FOLLOW_COPY | segment->sequence;
		return ends ? FOLLOW_COPY | end : FOLLOW_NOTHING;
	}
	found = walk_frames(skb, segment, at, head);
	store_word(&words[side], (word & ~(WORD_WHOLE | 0xffffffffULL)) | (__u32)found |
					 (found & WALK_WHOLE ? WORD_WHOLE : 0));
	if (end - (__u32)found - 1 < HEAD_PART - 1)
		keep_head(skb, segment, passed, side, found);
	if (!(found & WALK_COPY) && !ends && !(word & WORD_WHOLE))
		return FOLLOW_NOTHING;
	return FOLLOW_COPY | (whole ? segment->sequence : at);
}

/* Nobody knows any more where the next frame begins. */
static __always_inline void end_frames(__u64 *words, struct passed *passed, __u64 side)
{
	BOUND_SIDE(side);
	passed->time[side] = 0;
	store_word(&words[side], load_word(&words[side]) & ~(WORD_FRAMES | WORD_WHOLE));
}

/*
 * The segment of copied_segment, whose connection has that way of a set. A direction is
 * followed from the preface on, or from the first answer to it. A global function, which the
 * verifier checks once and not on each path.
 */
__noinline __u64 follow_frames(struct __sk_buff *skb, __u32 index, __u32 of)
{
	struct wanted_set *set = bpf_map_lookup_elem(&wanted, &index);
	__u64 way = of, side, word, found;
	struct segment *segment;
	struct passed *passed;
	__u32 first = 0;
	__u64 *words;

	segment = bpf_map_lookup_elem(&copied_segment, &first);
	if (!set || !segment)
		return FOLLOW_NOT;
	side = segment->egress;
	BOUND_WAY(way);
	BOUND_SIDE(side);
	words = set->ways[way].words;
	passed = &set->passed[way];
	word = load_word(&words[side]);
	if (!(word & WORD_FRAMES)) {
		if (side || segment->sequence != (__u32)word || are_bodies_wanted(segment) ||
		    !is_preface(skb, segment))
			return FOLLOW_NOT;
		store_word(&words[0], (word & ~0xffffffffULL) | WORD_FRAMES | WORD_WHOLE |
					      (segment->sequence + PREFACE_BYTES));
		store_word(&words[1], load_word(&words[1]) | WORD_FRAMES);
	}
	found = follow(skb, segment, words, passed, side);
	if (found == FOLLOW_NOT)
		end_frames(words, passed, side);
	return found;
}

#endif
