// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What is blocked, and what user space says about it.
 *
 *   blocked    single sources: IPv4 addresses, IPv6 prefixes of one length
 *   networks   networks of lists, of any length
 *   allowed    what passes in spite of a block that contains it
 *   state      whether anything is blocked at all, until when, and where networks are
 *   totals     packets of blocked sources that passed
 */
#ifndef EBPF_TCP_BLOCK_H
#define EBPF_TCP_BLOCK_H

#include "kernel.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "values.h"

/* Bits of block.flags. */
enum block_flag {
	BLOCK_HAS_ALLOWED = 1, /* the block contains an allowed address: ask allowed */
	BLOCK_DRY_RUN = 2, /* count, and let pass */
	BLOCK_LIMIT = 4, /* let packets_per_second pass */
};

/* Counts of a block. Each CPU has a place of its own, as far as there are enough. */
struct block_counts {
	__u64 packets; /* dropped, or with BLOCK_DRY_RUN would have been */
	__u64 bytes;
};

#define BLOCK_PLACES 8

/*
 * One block. User space inserts and deletes it. It changes what comes before the counts
 * with change_block, in place, so that no count is lost. Times are of bpf_jiffies64.
 */
struct block {
	__u64 until; /* passes from then on; ~0 = only user space ends it */
	__u32 flags; /* enum block_flag */
	__u32 limit; /* packets per second with BLOCK_LIMIT */
	/* Written by the programs. */
	__u64 last; /* the last packet that counts, 0 = none */
	__u64 passed; /* packets within the limit, or to allowed sources */
	__u64 window; /* the second that taken counts in, in jiffies */
	__u64 taken; /* packets in that second */
	struct block_counts counts[BLOCK_PLACES];
};

/* A network, IPv4 mapped: a /24 is a /120 here. */
struct network_key {
	__u32 length;
	struct address address;
} __attribute__((packed));

/* Why packets of blocked sources passed. Others count in their block only. */
enum outcome {
	OUTCOME_WITHIN_LIMIT = 0,
	OUTCOME_ALLOWED,
	OUTCOME_OPEN, /* passed because user space had not renewed the deadline */
	OUTCOMES,
};

/* Per CPU. */
struct outcome_counts {
	__u64 packets[OUTCOMES];
	__u64 bytes[OUTCOMES];
};

#define NETWORK_WORDS (65536 / 64)

/* User space writes it while programs read. */
struct guard_state {
	__u64 deadline; /* of bpf_jiffies64; everything passes from then on */
	__u32 active; /* 0 = nothing is blocked */
	__u32 networks6; /* whether networks has IPv6 */
	__u64 networks4[NETWORK_WORDS]; /* a bit for each IPv4 /16 that networks has a part of */
};

struct guard_state state __attribute__((section(".data.state"), used));

/*
 * Keys are addresses, IPv4 mapped, IPv6 with the bits of prefix6 only. User space inserts
 * and deletes. Full: user space refuses the block. Nothing is evicted.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536); /* user space sets it */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address);
	__type(value, struct block);
} blocked SEC(".maps");

/* As blocked, for networks. The longest match decides. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536); /* user space sets it */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct network_key);
	__type(value, struct block);
} networks SEC(".maps");

/* User space inserts and deletes. Full: user space makes no block that it is needed for. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct network_key);
	__type(value, __u8);
} allowed SEC(".maps");

/* Programs add, user space reads. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct outcome_counts);
} totals SEC(".maps");

/* The bits of an IPv6 address that tell sources apart. */
const volatile struct address prefix6 = { { ~0ULL, 0 } };

/* The key of a source in blocked. */
static __always_inline struct address source_key(const struct address *source)
{
	if (!source->halves[0] && (__u32)source->halves[1] == bpf_htonl(0xffff))
		return *source;
	return (struct address){ { source->halves[0] & prefix6.halves[0],
				   source->halves[1] & prefix6.halves[1] } };
}

/* Both architectures are little-endian. */
static __always_inline struct address mapped4(__be32 ipv4)
{
	return (struct address){ { 0, (__u64)ipv4 << 32 | bpf_htonl(0xffff) } };
}

static __always_inline struct block *network_of(const struct address *source)
{
	struct network_key key = { .length = 128, .address = *source };

	return bpf_map_lookup_elem(&networks, &key);
}

/* A dry run, or what is over, does not hide a network that drops. */
#define IN_FORCE(block)                                                                            \
	((block) && !((block)->flags & BLOCK_DRY_RUN) && bpf_jiffies64() < (block)->until)

static __always_inline bool may_be_in_network(const struct address *source, bool ipv4)
{
	if (ipv4) {
		__u32 high = bpf_ntohl(source->halves[1] >> 32) >> 16;

		return state.networks4[high / 64 & (NETWORK_WORDS - 1)] >> (high & 63) & 1;
	}
	return state.networks6;
}

static __always_inline struct block *block_of(const struct address *source, bool ipv4)
{
	struct address key = source_key(source);
	struct block *block = bpf_map_lookup_elem(&blocked, &key), *network;

	if (IN_FORCE(block) || !may_be_in_network(source, ipv4))
		return block;
	network = network_of(source);
	return !block || IN_FORCE(network) ? network : block;
}

static __always_inline bool is_allowed(const struct address *source)
{
	struct network_key key = { .length = 128, .address = *source };

	return bpf_map_lookup_elem(&allowed, &key);
}

#endif
