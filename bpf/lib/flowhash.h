// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A hash of a flow, the same in both vantage points. */
#ifndef EBPF_TCP_FLOWHASH_H
#define EBPF_TCP_FLOWHASH_H

#include "kernel.h"

#include "values.h"

/* A key that can be read in 64-bit words. */
#define FLOW_KEY struct half_open_key __attribute__((aligned(8)))

static __always_inline __u64 flow_hash(const struct half_open_key *key)
{
	const __u64 *words = (const __u64 *)key;
	__u64 hash = 0;

#pragma unroll
	for (unsigned long i = 0; i < sizeof(*key) / sizeof(*words); i++) {
		hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 32;
	}
	return hash;
}

#endif
