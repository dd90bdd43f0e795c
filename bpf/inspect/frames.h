// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * HTTP/2: where frames begin. A connection that begins with the client's preface is followed
 * from its first byte. The number that is wanted is then where the next frame begins, and
 * what the head of that frame says moves it. DATA does not cross, so user space need not say
 * where it ends.
 *
 *   DATA that does not end its stream    is passed over
 *   the first DATA of an answer          its head crosses, for its time
 *   any other frame                      crosses whole, with the segment in which it begins
 *
 * Which DATA belongs to which answer is not known here. Each head of an answer lets the head of
 * one frame of DATA cross, and user space knows whose it is.
 *
 * What makes the next frame's place unknown ends this: a segment out of order, a head of which
 * less than a segment of 4 bytes comes, a record without room. Then all crosses that a window
 * holds (wanted.h), until user space has read all and says where a frame begins. After a segment
 * out of order that window is wide: no byte is missing, and two CPUs that pass the packets of one
 * connection bring some of them out of order.
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
/* Together as many frames without payload as a packet of 64 KiB can have. */
#define FRAMES_AT_ONCE 32
#define ROUNDS 256

/* The part of a head that matters here: length, type, flags. NO_HEAD is no such part. */
#define HEAD_PART 5
#define NO_HEAD (~0ULL)
#define FRAME_LENGTH(head) ((__u32)((head) >> 16))
#define FRAME_TYPE(head) ((head) >> 8 & 0xff)
#define FRAME_DATA 0
#define FRAME_HEADERS 1
#define FRAME_SETTINGS 4
#define END_STREAM 1

/* DATA that ends its stream crosses up to this size, a few times what programs send. */
#define MOST_WHOLE 65536

static __always_inline bool is_preface(struct __sk_buff *skb, const struct segment *segment)
{
	__be64 begin;

	return segment->payload >= PREFACE_BYTES &&
	       !bpf_skb_load_bytes(skb, segment->offset, &begin, sizeof(begin)) &&
	       begin == bpf_cpu_to_be64(PREFACE_BEGIN);
}

static __always_inline __u64 load_head(struct __sk_buff *skb, __u32 offset)
{
	__be64 head = 0;

	if (bpf_skb_load_bytes(skb, offset, &head, HEAD_PART))
		return NO_HEAD;
	return bpf_be64_to_cpu(head) >> 8 * (sizeof(head) - HEAD_PART);
}

/* Whether a server that speaks first begins like one of HTTP/2: with SETTINGS, and no flags. */
static __always_inline bool is_settings(struct __sk_buff *skb, const struct segment *segment)
{
	__u64 head;
	__be32 stream;

	if (segment->payload < FRAME_HEAD)
		return false;
	head = load_head(skb, segment->offset);
	return (head & 0xffff) == FRAME_SETTINGS << 8 && FRAME_LENGTH(head) < 1024 &&
	       FRAME_LENGTH(head) % 6 == 0 &&
	       !bpf_skb_load_bytes(skb, segment->offset + HEAD_PART, &stream, sizeof(stream)) &&
	       !stream;
}

/*
 * What the heads of frames of a segment said. In a map, because the verifier knows nothing of what
 * it reads there: with values that it can follow, it would read the loop once for each history.
 */
struct walk {
	__u64 head; /* of the first frame, or NO_HEAD */
	__u32 begin; /* where the first frame begins that was not read before */
	__u32 at; /* where the next one does */
	__u32 copy; /* a frame that is wanted begins in the segment */
	__u32 whole; /* the last frame is wanted and reaches beyond the segment */
	__u32 waiting; /* answers that wait for their DATA */
	__u32 first; /* bytes up to the last head of DATA that one waited for */
};

#define MOST_WAITING 255

/* For walk_frames; as copied_segment. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct walk);
} walks SEC(".maps");

static __always_inline void take_head(struct walk *walk, __u64 head, __u32 end, bool answers)
{
	__u32 next = walk->at + FRAME_HEAD + FRAME_LENGTH(head), type = FRAME_TYPE(head);
	__u32 reached = walk->at + FRAME_HEAD - walk->begin;

	if (type == FRAME_DATA && FRAME_LENGTH(head) && walk->waiting) {
		walk->waiting--;
		if (reached <= TINY_PIECE)
			walk->first = reached;
	}
	if (type != FRAME_DATA || head & END_STREAM) {
		walk->copy = true;
		if (is_before(end, next) && FRAME_LENGTH(head) <= MOST_WHOLE)
			walk->whole = true;
	}
	if (answers && type == FRAME_HEADERS && !(head & END_STREAM) &&
	    walk->waiting < MOST_WAITING)
		walk->waiting++;
	walk->at = next;
}

/*
 * Reads the heads of the next frames of copied_segment, and returns how many bytes follow the
 * last of them. A global function, so that the verifier reads the loop once, and not in each
 * round.
 */
__noinline int walk_round(struct __sk_buff *skb)
{
	__u32 first = 0, end;
	const struct segment *segment = bpf_map_lookup_elem(&copied_segment, &first);
	struct walk *walk = bpf_map_lookup_elem(&walks, &first);

	if (!segment || !walk)
		return 0;
	end = segment->sequence + segment->payload;
	for (int i = 0; i < FRAMES_AT_ONCE; i++) {
		__u64 head;

		if ((__s32)(end - walk->at) < HEAD_PART)
			break;
		head = load_head(skb, segment->offset + walk->at - segment->sequence);
		if (head == NO_HEAD)
			break;
		take_head(walk, head, end, segment->egress);
	}
	return end - walk->at;
}

/* Reads all heads of a segment, from what is set in walk on. */
static __always_inline void walk_frames(struct __sk_buff *skb, const struct segment *segment,
					struct walk *walk)
{
	int left = 0;

	walk->copy = false;
	walk->whole = false;
	walk->first = 0;
	if (walk->head != NO_HEAD)
		take_head(walk, walk->head, segment->sequence + segment->payload, segment->egress);
	for (int i = 0; i < ROUNDS; i++) {
		left = walk_round(skb);
		if (left < HEAD_PART)
			break;
	}
	if (left > 0) /* the rest of a head, or further frames */
		walk->copy = true;
}

/*
 * Where the number of a segment begins in passed->time; see number of struct segment_record. It is
 * stored before the word. Only x86 keeps that order. User space finds a number that came twice.
 */
#define NUMBER_SHIFT 48

/*
 * Keeps the begin of a head, of which the rest comes with the next segment, in the lower bits of
 * passed->time: the bytes, and above them their number, which is never 0. Above those is how many
 * answers wait for their DATA. Connections whose frames are followed have no other use for their
 * passed.
 */
#define WAITING_SHIFT 40
#define KEPT_MASK ((1ULL << WAITING_SHIFT) - 1)

static __always_inline __u64 keep_head(struct __sk_buff *skb, const struct segment *segment,
				       __u32 at)
{
	__u32 have = segment->sequence + segment->payload - at;
	__be32 last;

	if (segment->payload < sizeof(last) ||
	    bpf_skb_load_bytes(skb, segment->offset + segment->payload - sizeof(last), &last,
			       sizeof(last)))
		return 0;
	return (__u64)have << 32 | (bpf_ntohl(last) & ((1ULL << 8 * (have & 7)) - 1));
}

/* The head that began with the segment before; NO_HEAD if there is none. */
static __always_inline __u64 join_head(struct __sk_buff *skb, const struct segment *segment,
				       const struct passed *passed, __u64 side, __u32 at)
{
	__u32 have = segment->sequence - at, rest = HEAD_PART - have;
	__u64 kept = passed->time[side] & KEPT_MASK;
	__be32 begin;

	if (have < 1 || have >= HEAD_PART || kept >> 32 != have ||
	    passed->end[side] != segment->sequence || segment->payload < sizeof(begin) ||
	    bpf_skb_load_bytes(skb, segment->offset, &begin, sizeof(begin)))
		return NO_HEAD;
	return (kept & 0xffffffff) << 8 * (rest & 7) | bpf_ntohl(begin) >> (32 - 8 * (rest & 7));
}

/* The index of a direction, which the verifier can't follow. */
#define BOUND_SIDE(side) asm volatile("%0 &= 1" : "+r"(side))

/*
 * What follow_frames says of a segment, above the number of the first byte that is wanted; with
 * FOLLOW_COPY, its number among those that cross, and how many bytes of it do, or 0 for all.
 */
#define FOLLOW_NOTHING (1ULL << 32) /* no byte of it is */
#define FOLLOW_COPY (1ULL << 33)
#define FOLLOW_NUMBER_SHIFT 40
#define FOLLOW_SHIFT 48
#define FOLLOW_NOT 0 /* frames are not followed */

/* What is wanted of a segment in which frames begin. */
static __always_inline __u64 crossing(const struct segment *segment, const struct walk *walk,
				      bool whole, bool ends)
{
	if (walk->copy || whole || ends)
		return FOLLOW_COPY | (whole ? segment->sequence : walk->begin);
	if (!walk->first)
		return FOLLOW_NOTHING;
	return FOLLOW_COPY | (__u64)walk->first << FOLLOW_SHIFT | walk->begin;
}

/* Returns what it says of a segment. moved is the word afterwards. */
static __always_inline __u64 follow(struct __sk_buff *skb, const struct segment *segment,
				    struct passed *passed, __u64 side, struct walk *walk,
				    __u64 word, __u64 *moved)
{
	bool ends = segment->flags & (TCP_FIN | TCP_RST);
	__u64 kept = 0, number = passed->time[side] >> NUMBER_SHIFT << NUMBER_SHIFT;
	__u32 end = segment->sequence + segment->payload, at = word;
	bool whole = word & WORD_WHOLE;

	if (!segment->payload)
		return ends ? FOLLOW_COPY | segment->sequence : FOLLOW_NOTHING;
	walk->head = NO_HEAD;
	if (is_before(at, segment->sequence)) {
		walk->head = join_head(skb, segment, passed, side, at);
		if (walk->head == NO_HEAD)
			return FOLLOW_NOT;
		whole = true; /* the head's frame goes on with the segment */
	} else if (!is_before(at, end)) {
		if (whole && at == end)
			*moved = word & ~WORD_WHOLE;
		if (whole)
			return FOLLOW_COPY | segment->sequence;
		return ends ? FOLLOW_COPY | end : FOLLOW_NOTHING;
	}
	walk->begin = at;
	walk->at = at;
	walk->waiting = passed->time[side] >> WAITING_SHIFT & MOST_WAITING;
	walk_frames(skb, segment, walk);
	*moved = (word & ~(WORD_WHOLE | 0xffffffffULL)) | walk->at | (walk->whole ? WORD_WHOLE : 0);
	if (end - walk->at - 1 < HEAD_PART - 1)
		kept = keep_head(skb, segment, walk->at);
	passed->time[side] = number | kept | (__u64)walk->waiting << WAITING_SHIFT;
	passed->end[side] = end;
	return crossing(segment, walk, whole, ends);
}

/* Nobody knows any more where the next frame begins. */
static __always_inline void end_frames(__u64 *words, struct passed *passed, __u64 side)
{
	BOUND_SIDE(side);
	passed->time[side] = 0;
	store_word(&words[side], load_word(&words[side]) & ~(WORD_FRAMES | WORD_WHOLE));
}

/*
 * What comes now is wanted all the same, also if it is further behind the number than the wide
 * window. What was sent before it comes later than it, if at all.
 */
static __always_inline void lose_frames(const struct segment *segment, __u64 *words,
					struct passed *passed, __u64 side)
{
	__u64 word;

	end_frames(words, passed, side);
	word = load_word(&words[side]) | WORD_WHOLE;
	if (exceeds(segment, word, segment->sequence - (__u32)word))
		word = (word & ~0xffffffffULL) | segment->sequence;
	store_word(&words[side], word);
}

/*
 * Whether the frames of a direction begin with a segment. Those of the server do with its first
 * byte, which it may send before the client sends any. Each direction writes to its own word.
 */
static __always_inline bool begins_frames(struct __sk_buff *skb, const struct segment *segment,
					  __u64 *words, __u64 side)
{
	__u64 word = load_word(&words[side]), begin = word & ~0xffffffffULL;

	if (segment->sequence != (__u32)word || !segment->payload || are_bodies_wanted(segment))
		return false;
	if (side) {
		if (!(load_word(&words[0]) & WORD_FRAMES) && !is_settings(skb, segment))
			return false;
		store_word(&words[1], (word & ~(WORD_FIRST | WORD_WHOLE)) | WORD_FRAMES);
		return true;
	}
	if (!is_preface(skb, segment))
		return false;
	begin |= (__u32)(segment->sequence + PREFACE_BYTES);
	store_word(&words[0], begin | WORD_FRAMES | WORD_WHOLE);
	return true;
}

/*
 * Whether frames of a direction may begin with a segment: the first bytes of the client, or those
 * of the server, if the client has sent nothing else than HTTP/2.
 */
static __always_inline bool may_begin_frames(const struct segment *segment, const __u64 *words)
{
	if (!segment->egress)
		return load_word(&words[0]) & WORD_NEW;
	return load_word(&words[0]) & (WORD_NEW | WORD_FRAMES) && load_word(&words[1]) & WORD_FIRST;
}

/*
 * The segment of copied_segment, whose connection has that way of a set. A global function, which
 * the verifier checks once and not on each path.
 */
__noinline __u64 follow_frames(struct __sk_buff *skb, __u32 index, __u32 of)
{
	struct wanted_set *set = bpf_map_lookup_elem(&wanted, &index);
	__u64 way = of, side, found, word, moved;
	struct segment *segment;
	struct passed *passed;
	struct walk *walk;
	__u32 first = 0;
	__u64 *words;

	segment = bpf_map_lookup_elem(&copied_segment, &first);
	walk = bpf_map_lookup_elem(&walks, &first);
	if (!set || !segment || !walk)
		return FOLLOW_NOT;
	side = segment->egress;
	BOUND_WAY(way);
	BOUND_SIDE(side);
	words = set->ways[way].words;
	passed = &set->passed[way];
	if (!(load_word(&words[side]) & WORD_FRAMES) && !begins_frames(skb, segment, words, side))
		return FOLLOW_NOT;
	word = load_word(&words[side]);
	moved = word;
	found = follow(skb, segment, passed, side, walk, word, &moved);
	if (found == FOLLOW_NOT) {
		lose_frames(segment, words, passed, side);
		return found;
	}
	if (found & FOLLOW_COPY) {
		passed->time[side] += 1ULL << NUMBER_SHIFT;
		passed->time[side] &= (1ULL << (NUMBER_SHIFT + 8)) - 1;
		found |= passed->time[side] >> NUMBER_SHIFT << FOLLOW_NUMBER_SHIFT;
	}
	if (moved != word)
		store_word(&words[side], moved);
	return found;
}

#endif
