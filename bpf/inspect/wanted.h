// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Which bytes of a connection are wanted: for each direction the sequence number from which
 * they are. What is before it is body. What is there goes to user space, whatever it looks
 * like.
 *
 *   a request or an answer begins     its bytes are wanted, and all that follow
 *   user space has parsed its head    and stores the number where its body ends
 *   one side speaks                   it has received all that it acknowledges, so what the
 *                                     other side sends next is wanted from there
 *
 * The last makes nearly every answer of user space unnecessary: a client that does not
 * pipeline acknowledges the whole answer when it sends the next request.
 *
 * A word holds the owner's tag and the number, so that one store changes both. The kernel
 * has an atomic compare-and-exchange for programs only since 5.12. Two CPUs, or a CPU and
 * user space, can overwrite each other's number. An older number costs bytes of body, which
 * user space sees and answers again.
 */
#ifndef EBPF_TCP_INSPECT_WANTED_H
#define EBPF_TCP_INSPECT_WANTED_H

#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "maps.h"

/* Bits of a word: the tag of the connection, the flags, the sequence number. */
#define TAG_SHIFT 37
/*
 * The number is that of a body which joined: what follows has its share of a second, until
 * user space or the other side says what is wanted.
 */
#define WORD_JOINED (1ULL << 35)
/*
 * Towards the server: the SYN-ACK was seen and no data since. Towards the client: no record told
 * which connection and process it is.
 */
#define WORD_NEW (1ULL << 32)
/* Towards the client: the number is that of the server's first byte, which was not seen yet. */
#define WORD_FIRST (1ULL << 36)
/* HTTP/2: a frame begins at the number, see frames.h. */
#define WORD_FRAMES (1ULL << 33)
/*
 * The frame that ends at the number is wanted. Without WORD_FRAMES: it is HTTP/2, and where frames
 * begin is not known, so that the window is a wide one. User space sets it, too.
 */
#define WORD_WHOLE (1ULL << 34)

/* Random, so that nobody can choose addresses that share a set. */
const volatile __u64 wanted_seed;
/* The number of sets, a power of two, less one. */
const volatile __u32 wanted_mask;

static __always_inline __u64 fold(__u64 hash, __u64 word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 32;
}

static __always_inline __u64 tag_of(__u64 hash)
{
	__u64 tag = hash >> TAG_SHIFT << TAG_SHIFT;

	return tag ? tag : 1ULL << TAG_SHIFT;
}

static __always_inline bool has_tag(__u64 word, __u64 tag)
{
	return (word ^ tag) >> TAG_SHIFT == 0;
}

static __always_inline bool is_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

/* Whether the frame that ends at the number is wanted. */
static __always_inline bool is_whole(__u64 word)
{
	return (word & (WORD_FRAMES | WORD_WHOLE)) == (WORD_FRAMES | WORD_WHOLE);
}

static __always_inline __u64 load_word(const __u64 *word)
{
	return *(const volatile __u64 *)word;
}

static __always_inline void store_word(__u64 *word, __u64 value)
{
	*(volatile __u64 *)word = value;
}

static __always_inline struct wanted_set *set_of(__u64 hash)
{
	__u32 index = hash & wanted_mask;

	return bpf_map_lookup_elem(&wanted, &index);
}

/* The index of a way of a set, which the verifier can't follow. */
#define BOUND_WAY(way) asm volatile("%0 &= %1" : "+r"(way) : "i"(WANTED_WAYS - 1))
#define NO_WAY WANTED_WAYS

static __always_inline __u64 find_way(const struct wanted_set *set, __u64 tag)
{
#pragma unroll
	for (__u64 i = 0; i < WANTED_WAYS; i++) {
		if (has_tag(load_word(&set->ways[i].words[0]), tag))
			return i;
	}
	return NO_WAY;
}

/*
 * A way for a connection without one: a free one, one whose connection sent nothing since our
 * SYN-ACK, or any. A SYN-ACK takes none from a connection that has sent data, or a flood of SYNs
 * would take them all.
 */
static __always_inline __u64 claim(const struct wanted_set *set, bool any)
{
	__u64 chosen = NO_WAY;

#pragma unroll
	for (__u64 i = 0; i < WANTED_WAYS; i++) {
		__u64 word = load_word(&set->ways[i].words[0]);

		if (!word)
			return i;
		if (word & WORD_NEW)
			chosen = i;
	}
	if (chosen == NO_WAY && any)
		chosen = bpf_get_prandom_u32() & (WANTED_WAYS - 1);
	return chosen;
}

/* A way gets a connection. */
static __always_inline void enter(struct wanted_set *set, __u64 way, __u64 to_server,
				  __u64 to_client)
{
	BOUND_WAY(way);
	set->passed[way].time[0] = 0;
	set->passed[way].time[1] = 0;
	store_word(&set->ways[way].words[1], to_client);
	store_word(&set->ways[way].words[0], to_server);
}

#endif
