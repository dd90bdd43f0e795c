// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What user space asks for with a test run of a program: a system call that every kernel
 * has. The data of the packet is the question and the answer.
 */
#ifndef EBPF_TCP_CHANGE_H
#define EBPF_TCP_CHANGE_H

#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "block.h"

/* A test run takes no packet without an Ethernet header. */
#define CHANGE_HEADER 16

/* One change of a block: what comes before its counts. */
struct block_change {
	struct address address; /* the first of a network */
	__u32 length; /* of a network, IPv4 mapped; 0 = a key of blocked */
	__u32 flags;
	__u64 until;
	__u32 limit;
	__u32 pad;
};

/* The answer of clock_read. */
struct clock {
	__u64 jiffies;
	__u64 boot; /* boot clock ns */
};

/* Keeps the types that Go needs and that no map names. */
union guard_values {
	struct block_change change;
	struct clock clock;
	enum outcome outcome;
	enum block_flag flag;
} *exported __attribute__((unused));

/* Returns 1 if the block exists. */
static __always_inline int change_in_place(struct __sk_buff *skb)
{
	struct block_change change;
	struct block *block;

	if (bpf_skb_load_bytes(skb, CHANGE_HEADER, &change, sizeof(change)))
		return -1;
	if (change.length) {
		struct network_key key = { .length = change.length, .address = change.address };

		block = bpf_map_lookup_elem(&networks, &key);
	} else {
		block = bpf_map_lookup_elem(&blocked, &change.address);
	}
	if (!block)
		return 0;
	block->flags = change.flags;
	block->limit = change.limit;
	block->until = change.until;
	return 1;
}

static __always_inline int read_clock(struct __sk_buff *skb)
{
	struct clock now = { bpf_jiffies64(), bpf_ktime_get_boot_ns() };

	return bpf_skb_store_bytes(skb, CHANGE_HEADER, &now, sizeof(now), 0) ? -1 : 1;
}

#endif
