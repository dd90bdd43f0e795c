// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A count-min sketch with conservative update: how many segments a source without an entry has
 * sent in this window. It never says too few, and too many only if other sources share all of
 * a source's cells.
 *
 * Why not an LRU map: in a flood of forged sources every segment would insert and evict, which
 * costs 8 times a hit, and the flood would evict the one real attacker. What sends fewer than
 * `promote` segments in a window stays invisible here.
 *
 * Concurrent updates of one cell may lose one. Both CPUs then write the same or a neighbouring
 * number.
 */
#ifndef EBPF_TCP_SKETCH_H
#define EBPF_TCP_SKETCH_H

#include "kernel.h"

#include "maps.h"

/* Keeps senders from choosing whose cells they share. Set at load. */
const volatile __u64 source_seed;

static __always_inline __u64 source_hash(const struct source_key *key)
{
	__u64 hash = source_seed ^ key->netns;

	hash = (hash ^ key->address.halves[0]) * 0x9e3779b97f4a7c15ULL;
	hash ^= hash >> 32;
	hash = (hash ^ key->address.halves[1]) * 0xd6e8feb86659fd93ULL;
	hash ^= hash >> 32;
	hash *= 0xd6e8feb86659fd93ULL;
	return hash ^ hash >> 32;
}

/* The cell of a row: each row takes 16 bits of the hash. NULL without a sketch. */
static __always_inline __u32 *sketch_cell(__u32 row, __u64 hash)
{
	__u32 cell = hash >> (row * 16) & (SKETCH_CELLS - 1);
	__u32 page = row * (SKETCH_CELLS / SKETCH_PAGE_CELLS) + cell / SKETCH_PAGE_CELLS;
	struct sketch_page *cells = bpf_map_lookup_elem(&source_sketch, &page);

	return cells ? &cells->cells[cell & (SKETCH_PAGE_CELLS - 1)] : NULL;
}

/* Counts one segment, and returns how many the source has sent. */
static __always_inline __u32 add_to_sketch(__u64 hash)
{
	__u32 *first = sketch_cell(0, hash), *second = sketch_cell(1, hash);
	__u32 *third = sketch_cell(2, hash), *fourth = sketch_cell(3, hash);
	__u32 least;

	if (!first || !second || !third || !fourth)
		return 0;
	least = *first;
	if (*second < least)
		least = *second;
	if (*third < least)
		least = *third;
	if (*fourth < least)
		least = *fourth;
	least++;
	if (*first < least)
		*first = least;
	if (*second < least)
		*second = least;
	if (*third < least)
		*third = least;
	if (*fourth < least)
		*fourth = least;
	return least;
}

#endif
