// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Makes sources leave. User space runs this program; it is attached nowhere. Its packet is keys
 * of sources, one after the other.
 *
 * From then on they count in source_rest, see sources.h. When the programs that began before
 * have ended, nothing adds to these entries any more, and their last value is whole. User space
 * can't write the mark by itself: it would replace the counts, too.
 *
 * A program for packets, because programs that only user space runs need 5.14.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "maps.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Returns how many there were. */
SEC("tc")
int leave(struct __sk_buff *skb)
{
	const struct source_key *key = (void *)(long)skb->data;
	const void *end = (void *)(long)skb->data_end;
	int marked = 0;

	for (int i = 0; i < LEAVE_AT_ONCE; i++, key++) {
		struct source *source;

		if ((const void *)(key + 1) > end)
			break;
		source = bpf_map_lookup_elem(&sources, key);
		if (!source)
			continue;
		source->leaving = 1;
		marked++;
	}
	return marked;
}
