// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The inspecting vantage point: what is inside the packets of inspected ports.
 *
 *   inspect_ingress_eth, inspect_egress_eth  on devices with Ethernet headers
 *   inspect_ingress_l3, inspect_egress_l3    on devices without
 *
 *   begin.h    where a connection began, whether it ends <- its socket
 *   wanted.h   which bytes of a connection are wanted   <-> wanted, with user space
 *   copy.h     wanted bytes                              -> segments
 *
 * The kernel chooses and copies; user space reassembles, pairs and parses. Pairing in the
 * kernel costs as much, and loses pipelining, heads in several segments, and headers.
 *
 * Server-side means: at ingress the destination port is inspected and has a listener in
 * this namespace, at egress the source port. On lo this sees every segment once.
 *
 * A packet of another port costs a look at its headers. A packet of a body costs one look at
 * a cache line.
 *
 * The programs never decide about a packet: TCX_NEXT, which is TC_ACT_UNSPEC.
 */
#include "kernel.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "addresses.h"
#include "begin.h"
#include "copy.h"
#include "filter.h"
#include "flow.h"
#include "frames.h"
#include "packet.h"
#include "segment_of.h"
#include "wanted.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define NEXT (-1) /* TCX_NEXT and TC_ACT_UNSPEC */

/* -- the beginning of a connection ----------------------------------------------- */

/*
 * Our SYN-ACK begins a connection: what an earlier one at the same ports wanted is void. A SYN
 * alone does not. Anybody can send one into a connection that goes on, with a number that would
 * hide what follows.
 */
static __always_inline void begin_connection(struct wanted_set *set, __u64 tag,
					     const struct segment *segment)
{
	__u64 way = find_way(set, tag);

	if (way == NO_WAY)
		way = claim(set, false);
	if (way != NO_WAY)
		enter(set, way, tag | WORD_NEW | segment->acknowledgment,
		      tag | WORD_NEW | WORD_FIRST | (segment->sequence + 1));
}

/* -- a segment of an inspected port ---------------------------------------------- */

/*
 * What the sender acknowledges, it has received. So the other side's bytes are wanted from
 * there, unless user space knows better. The word of the other side is moved only after an eighth
 * of a window: with each segment, the two CPUs that pass the directions would take the cache line
 * from each other. What is wanted is within the rest of the window, see settings.Windows.
 */
static __always_inline void want_next(const struct segment *segment, __u64 *other, __u64 tag)
{
	__u64 word = load_word(other);
	__u32 acknowledgment = segment->acknowledgment;

	if (!has_tag(word, tag) || word & WORD_FRAMES || !is_before(word, acknowledgment))
		return;
	if (!(word & (WORD_JOINED | WORD_FIRST)) &&
	    !exceeds_eighth(segment, acknowledgment - (__u32)word))
		return;
	store_word(other, (word & ~(WORD_JOINED | WORD_FIRST | 0xffffffffULL)) | acknowledgment);
}

/*
 * The other side's last byte may have been beyond what was wanted. Then its time is told now,
 * because the next one replaces it.
 */
static __always_inline void tell_passed(const struct passed *passed, const __u64 *other,
					struct segment *segment)
{
	__u32 acknowledgment = segment->acknowledgment;
	__s32 behind = acknowledgment - (__u32)load_word(other);

	if (behind > 0 && exceeds_window(segment, behind) && !(load_word(other) & WORD_FRAMES) &&
	    passed->end[!segment->egress] == acknowledgment)
		segment->acknowledged = passed->time[!segment->egress];
}

/*
 * Too far behind what is wanted. It may be the end of a body all the same, unless it was sent
 * again after later bytes.
 */
static __always_inline void pass_by(struct passed *passed, __u32 wanted_from, __u32 end,
				    bool egress)
{
	COUNT_INSPECTED(beyond, 1);
	if (passed->time[egress] && is_before(wanted_from, passed->end[egress]) &&
	    is_before(end, passed->end[egress]))
		return;
	passed->end[egress] = end;
	passed->time[egress] = bpf_ktime_get_boot_ns();
}

static __noinline int take_segment(struct __sk_buff *skb, struct segment *segment, __u64 tag,
				   struct wanted_set *set, __u64 way)
{
	bool egress = segment->egress, ends = segment->flags & (TCP_FIN | TCP_RST), begins;
	__u32 end = segment->sequence + segment->payload, from;
	enum copied copied;
	__u64 *words, word;

	BOUND_WAY(way);
	words = set->ways[way].words;
	word = load_word(&words[egress]);
	if (segment->follow & FOLLOW_COPY) {
		from = segment->follow;
		segment->known |= SEGMENT_FRAMES;
		segment->number = segment->follow >> FOLLOW_NUMBER_SHIFT;
		if (segment->follow >> FOLLOW_SHIFT)
			segment->limit = segment->follow >> FOLLOW_SHIFT;
		goto copy;
	}
	from = is_before(segment->sequence, word) ? (__u32)word : segment->sequence;
	if (exceeds(segment, word, from - (__u32)word) && !ends) {
		pass_by(&set->passed[way], word, end, egress);
		return 0;
	}
	if (is_before(end, from)) /* an end that was sent again */
		from = end;
copy:
	if (egress && segment->known & SEGMENT_FRAMES && load_word(&words[0]) & WORD_NEW) {
		/*
		 * The server speaks first: nothing of the client has reached it. The client's first
		 * segment may be on its way on another CPU, and its number moves meanwhile.
		 */
		segment->known |= SEGMENT_BEGINS;
		segment->first = segment->acknowledgment;
	}
	begins = !egress && word & WORD_NEW;
	if (begins) {
		segment->known |= SEGMENT_BEGINS | SEGMENT_JOINED;
		/* With the preface, the number has moved on already. */
		segment->first = segment->follow & FOLLOW_COPY ? from : word;
	}
	segment->start = segment->sequence;
	segment->offset += from - segment->sequence;
	segment->sequence = from;
	segment->payload = end - from;
	if (segment->payload)
		tell_passed(&set->passed[way], &words[!egress], segment);
	segment->tell = egress && word & WORD_NEW;
	if (egress && segment->payload && load_word(&words[1]) & WORD_FIRST)
		store_word(&words[1], load_word(&words[1]) & ~WORD_FIRST);
	copied = copy_segment(skb, segment);
	/* Not before: a record of the server that comes before this one has to say that it begins.
	 */
	if (begins)
		store_word(&words[0], load_word(&words[0]) & ~WORD_NEW);
	if (copied == COPIED_TOLD)
		store_word(&words[1], load_word(&words[1]) & ~WORD_NEW);
	if (copied == COPIED_LOST && segment->known & SEGMENT_FRAMES)
		end_frames(words, &set->passed[way], egress);
	if (segment->payload)
		want_next(segment, &words[!egress], tag);
	return 0;
}

/*
 * Data of a connection without an entry: it is new, older than we are, or was displaced. Or of
 * one whose entry is at the given way, but of no use any more.
 */
static __noinline int join(struct __sk_buff *skb, struct segment *segment, __u64 hash, __u64 way)
{
	struct wanted_set *set = set_of(hash);
	__u64 tag = tag_of(hash), word, sent, answered;
	enum share share;

	if (!set || !segment->payload)
		return 0;
	share = share_of(skb, segment, hash);
	if (share == SHARE_NONE) {
		COUNT_INSPECTED(unjoined, 1);
		return 0;
	}
	if (way == NO_WAY)
		way = claim(set, true);
	BOUND_WAY(way);
	word = load_word(&set->ways[way].words[0]);
	if (word && !(word & WORD_NEW) && !has_tag(word, tag))
		COUNT_INSPECTED(displaced, 1);
	sent = tag | segment->sequence;
	if (!segment->egress && find_beginning(skb, segment)) {
		segment->known |= SEGMENT_BEGINS;
		sent = tag | segment->first;
	} else if (share == SHARE_BODY) {
		sent |= WORD_JOINED;
	}
	answered = tag | segment->acknowledgment;
	enter(set, way, segment->egress ? answered : sent,
	      (segment->egress ? sent : answered) | WORD_NEW);
	segment->known |= SEGMENT_JOINED;
	return take_segment(skb, segment, tag, set, way);
}

/*
 * Both directions went on beyond what is wanted: packets passed unseen, and neither side can say
 * any more what is wanted of the other. In one direction alone that is a body.
 */
static __always_inline bool has_lost_track(const struct segment *segment, const __u64 *words)
{
	bool egress = segment->egress;
	__u64 word = load_word(&words[egress]), other = load_word(&words[!egress]);
	__s32 ahead = segment->sequence - (__u32)word;
	__s32 beyond = segment->acknowledgment - (__u32)other;

	return ahead > 0 && beyond > 0 && exceeds(segment, word, ahead) &&
	       exceeds(segment, other, beyond);
}

/* A body that joined goes on, and nobody has said yet what is wanted of it. */
static __always_inline bool exceeds_share(struct __sk_buff *skb, struct segment *segment,
					  __u64 hash, __u64 word)
{
	return word & WORD_JOINED && !(segment->flags & (TCP_FIN | TCP_RST)) &&
	       share_of(skb, segment, hash) == SHARE_NONE;
}

static __always_inline int inspect(struct __sk_buff *skb, struct segment *segment, bool egress)
{
	__u64 hash = hash_of(segment), tag = tag_of(hash);
	struct wanted_set *set = set_of(hash);
	__u64 way, word;

	if (!set)
		return NEXT;
	if (segment->flags & TCP_SYN) {
		if (egress && segment->flags & TCP_ACK)
			begin_connection(set, tag, segment);
		if (!segment->payload)
			return NEXT;
		segment->sequence++; /* TCP Fast Open */
	}
	if (!egress && segment->flags & (TCP_FIN | TCP_RST) && !is_acceptable_end(skb, segment))
		return NEXT;
	way = find_way(set, tag);
	if (way == NO_WAY) {
		begin_segment(segment);
		join(skb, segment, hash, NO_WAY);
		return NEXT;
	}
	BOUND_WAY(way);
	word = load_word(&set->ways[way].words[egress]);
	if (!(segment->flags & (TCP_FIN | TCP_RST)) && !is_whole(word) &&
	    is_before(segment->sequence + segment->payload, word))
		return NEXT;
	begin_segment(segment);
	if (word & WORD_FRAMES || may_begin_frames(segment, set->ways[way].words)) {
		if (hand_over(segment))
			segment->follow = follow_frames(skb, hash & wanted_mask, way);
		if (segment->follow & FOLLOW_NOTHING)
			return NEXT;
	}
	if (has_lost_track(segment, set->ways[way].words)) {
		join(skb, segment, hash, way);
		return NEXT;
	}
	if (exceeds_share(skb, segment, hash, load_word(&set->ways[way].words[egress]))) {
		pass_by(&set->passed[way], load_word(&set->ways[way].words[egress]),
			segment->sequence + segment->payload, egress);
		return NEXT;
	}
	take_segment(skb, segment, tag, set, way);
	return NEXT;
}

/* -- programs ------------------------------------------------------------------ */

/*
 * Headers that the fast path leaves. Only this is a function: with the rest, the frames of all
 * functions that call each other would exceed the stack.
 */
static __noinline bool look_closely(struct __sk_buff *skb, bool ethernet, bool egress,
				    struct segment *segment)
{
	return read_segment(skb, ethernet, egress, segment);
}

/*
 * The segment is on the stack of the program itself. On that of a function below it, the verifier
 * of 7.2 refused what functions further below read: "slot poisoned by dead code elimination".
 */
#define INSPECT(name, ethernet, egress)                                                            \
	SEC("tc")                                                                                  \
	int name(struct __sk_buff *skb)                                                            \
	{                                                                                          \
		struct segment segment;                                                            \
		enum ordinary ordinary;                                                            \
                                                                                                   \
		if (is_elsewhere(skb, ethernet, egress))                                           \
			return NEXT;                                                               \
		ordinary = read_ordinary(skb, ethernet, egress, &segment);                         \
		if (ordinary == ORDINARY_UNINTERESTING)                                            \
			return NEXT;                                                               \
		if (ordinary == ORDINARY_NOT && !look_closely(skb, ethernet, egress, &segment))    \
			return NEXT;                                                               \
		return inspect(skb, &segment, egress);                                             \
	}

INSPECT(inspect_ingress_eth, true, false)
INSPECT(inspect_egress_eth, true, true)
INSPECT(inspect_ingress_l3, false, false)
INSPECT(inspect_egress_l3, false, true)
