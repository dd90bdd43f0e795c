// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * This host's addresses: those that the kernel routes as local in the network
 * namespace of the programs.
 *
 *   addresses of interfaces and routes to a single address  -> local_addresses
 *   routes to prefixes, and addresses that do not fit       -> local_prefixes
 *
 * Nearly all packets have their address in the first. Few hosts have entries in the second.
 */
#ifndef EBPF_TCP_ADDRESSES_H
#define EBPF_TCP_ADDRESSES_H

#include "kernel.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "values.h"

#define LOCAL_PREFIXES 512

/*
 * Local addresses, v4-mapped, open-addressed; zero = free. User space inserts and
 * deletes them as they change. Full: an address goes to local_prefixes.
 */
struct address local_addresses[LOCAL_ADDRESSES] __attribute__((section(".data.addresses"), used));

/*
 * Prefixes of local routes; IPv4 is v4-mapped, so a /24 is a /120 here. User space
 * inserts and deletes them as they change. Full: user space turns LOOK_AT_ADDRESS off,
 * because packets wrongly counted as forwarded would hide traffic.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, LOCAL_PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(__u32) + sizeof(struct address));
	__uint(value_size, sizeof(__u8));
} local_prefixes SEC(".maps");

/* Whether there are any. User space sets it, so that other hosts save the lookup. */
volatile bool any_local_prefixes;

/* Both architectures are little-endian. */
static __always_inline struct address mapped(__be32 ipv4)
{
	return (struct address){ { 0, (__u64)ipv4 << 32 | bpf_htonl(0xffff) } };
}

/* User space computes the same, when it enters an address. */
static __always_inline __u32 address_hash(__u64 first, __u64 second)
{
	__u32 hash = first;

	hash = hash * LOCAL_ADDRESS_FACTOR + (first >> 32);
	hash = hash * LOCAL_ADDRESS_FACTOR + (__u32)second;
	hash = hash * LOCAL_ADDRESS_FACTOR + (second >> 32);
	hash = (hash ^ hash >> 15) * LOCAL_ADDRESS_MIXER;
	return hash ^ hash >> 13;
}

static __noinline bool is_in_local_prefix(__u64 first, __u64 second)
{
	struct {
		__u32 unused; /* aligns the address */
		__u32 length;
		__u64 halves[2];
	} key = { .length = 128, .halves = { first, second } };

	return bpf_map_lookup_elem(&local_prefixes, &key.length);
}

static __noinline bool is_local(__u64 first, __u64 second)
{
	__u32 hash = address_hash(first, second);

#pragma unroll
	for (int i = 0; i < LOCAL_ADDRESS_PROBES; i++) {
		const struct address *entry = &local_addresses[(hash + i) & (LOCAL_ADDRESSES - 1)];

		if (entry->halves[1] == second && entry->halves[0] == first)
			return true;
	}
	/* All of 127.0.0.0/8 is this host. */
	if (!first && (second & 0xffffffffff) == mapped(127).halves[1])
		return true;
	return any_local_prefixes && is_in_local_prefix(first, second);
}

#endif
