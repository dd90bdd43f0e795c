// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a source did: from an address and a kind to a count.
 *
 *   sketch.h   sources without an entry      -> source_sketch
 *   here       sources with an entry, others -> sources, source_rest, source_entries
 *   segments.h which segments count          <- packets, see ../tc/tc.bpf.c
 *
 * The packet side belongs to the observing programs, behind their fast path. So ordinary
 * segments of a connection pay nothing: a program of its own would look at each of them.
 *
 * A source gets an entry
 *   - at once when it completes a handshake: a forged one can't;
 *   - else when it has sent `promote` segments in a window. That is 1 while the table has room.
 *     User space raises it in a flood. Here it is raised at once when half of the table is
 *     taken, because a flood fills a table long before user space looks.
 *
 * What it sent before is taken from source_rest, so that every segment counts once.
 *
 * Nothing adds to an entry while user space reads it for the last time and deletes it: a source
 * is leaving first (leave.bpf.c), and the rest has a new generation first. User space then waits
 * for the programs that began before.
 */
#ifndef EBPF_TCP_SOURCES_H
#define EBPF_TCP_SOURCES_H

#include "kernel.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "emit.h"
#include "maps.h"
#include "shares.h"
#include "sketch.h"

/* Without it, the verifier removes all of this. Set at load. */
const volatile bool count_sources;

/* Masks of the halves of an IPv6 address, in network byte order: sources::ipv6_prefix. */
const volatile __u64 source_prefix[2] = { ~0ULL, 0 };

#define COUNT_SOURCE_ENTRY(member)                                                                 \
	({                                                                                         \
		__u32 zero_ = 0;                                                                   \
		struct source_entries *counts_ = bpf_map_lookup_elem(&source_entries, &zero_);     \
                                                                                                   \
		if (counts_)                                                                       \
			counts_->member++;                                                         \
	})

static __always_inline bool is_mapped(const struct address *address)
{
	return !address->halves[0] && (__u32)address->halves[1] == bpf_htonl(0xffff);
}

static __always_inline void set_source_key(struct source_key *key, const struct address *address,
					   __u32 netns)
{
	key->address = *address;
	key->netns = netns;
	key->family = 4;
	if (!is_mapped(address)) {
		key->family = 6;
		key->address.halves[0] &= source_prefix[0];
		key->address.halves[1] &= source_prefix[1];
	}
}

/* Kinds whose local port failed, and those that no connection has. */
#define SOURCE_FAILED_KINDS                                                                        \
	(1 << SOURCE_SYN_CLOSED | 1 << SOURCE_RESET_SYN | 1 << SOURCE_RESET_SYN_ACK |              \
	 1 << SOURCE_RESET_FLAGS | 1 << SOURCE_RESET_OTHER)
#define SOURCE_STRAY_KINDS                                                                         \
	(1 << SOURCE_FLAGS_NULL | 1 << SOURCE_FLAGS_FIN | 1 << SOURCE_FLAGS_XMAS |                 \
	 1 << SOURCE_FLAGS_SYN_FIN | 1 << SOURCE_FLAGS_SYN_RST | 1 << SOURCE_RESET_OTHER)

/* Linear counting wants a port's bit to look random, also where ports follow each other. */
static __always_inline __u32 port_bit(__u16 port)
{
	__u32 hash = port * 0x85ebca6bU;

	hash = (hash ^ hash >> 13) * 0xc2b2ae35U;
	return (hash ^ hash >> 16) & 255;
}

/* Two CPUs that mark at the same time may lose a mark. */
static __always_inline void mark_port(struct source *source, __u32 kind, __u16 port)
{
	__u32 bit = port_bit(port), word = bit >> 6;
	__u64 mask = 1ULL << (bit & 63);

	word &= SOURCE_PORT_WORDS - 1;
	source->ports[SOURCE_PORTS_ALL][word] |= mask;
	if (SOURCE_FAILED_KINDS >> kind & 1)
		source->ports[SOURCE_PORTS_FAILED][word] |= mask;
	if (SOURCE_STRAY_KINDS >> kind & 1)
		source->ports[SOURCE_PORTS_STRAY][word] |= mask;
}

static __always_inline void add_to_source(struct source *source, const struct address *address,
					  __u32 kind, __u32 n, __u16 port)
{
	if (kind >= SOURCE_COUNTS)
		return;
	__sync_fetch_and_add(&source->counts[kind], n);
	mark_port(source, kind, port);
	source->last = *address;
}

static __always_inline const struct source_gate *gate_of_sources(void)
{
	__u32 first = 0;

	return bpf_map_lookup_elem(&source_gate, &first);
}

/* n may be negative: what was counted here before the source got its entry. */
static __noinline int add_to_rest(const struct source_key *source, __u32 generation, __u32 kind,
				  __s64 n)
{
	struct source_rest_key key = { .netns = source->netns,
				       .family = source->family,
				       .generation = generation };
	struct source_rest *rest = bpf_map_lookup_elem(&source_rest, &key);

	if (!rest) {
		static const struct source_rest none = {};

		bpf_map_update_elem(&source_rest, &key, &none, BPF_NOEXIST);
		rest = bpf_map_lookup_elem(&source_rest, &key);
	}
	if (!rest)
		count_lost(EVENT_SOURCE_COUNT, CAUSE_MAP_FULL, n);
	else if (kind < SOURCE_COUNTS)
		rest->counts[kind] += n;
	return 0;
}

/* A source that has no entry, or is leaving. */
static __noinline int count_in_rest(const struct source_key *key, __u32 kind)
{
	const struct source_gate *gate = gate_of_sources();

	if (gate)
		add_to_rest(key, gate->generation, kind, 1);
	return 0;
}

/* How many segments a source without an entry has to send. */
static __always_inline __u32 promote_from(const struct source_gate *gate)
{
	const struct room_totals *totals;
	__u32 first = 0, promote = gate->promote;
	__s32 held;

	totals = bpf_map_lookup_elem(&rooms_taken, &first);
	if (!totals)
		return promote;
	held = totals->taken.entries[ROOM_SOURCES] - totals->returned.entries[ROOM_SOURCES];
	if (promote < gate->crowded && held >= (__s32)(room_capacity[ROOM_SOURCES] / 2))
		promote = gate->crowded;
	return promote;
}

/* NULL if there is no room. */
static __noinline struct source *enter_source(const struct source_key *key)
{
	static const struct source none = {};
	struct source *source;

	if (!has_room(key->netns, ROOM_SOURCES)) {
		COUNT_SOURCE_ENTRY(share);
		return NULL;
	}
	/* If another CPU inserts between the two, take its entry. */
	if (!bpf_map_update_elem(&sources, key, &none, BPF_NOEXIST))
		count_room(key->netns, ROOM_SOURCES, 1);
	source = bpf_map_lookup_elem(&sources, key);
	if (!source)
		COUNT_SOURCE_ENTRY(full);
	return source;
}

static __always_inline bool is_answer(__u32 kind)
{
	return kind == SOURCE_RESET_SYN || kind == SOURCE_RESET_FLAGS;
}

/* A segment of a source without an entry. */
static __noinline int count_unknown_source(const struct source_key *key,
					   const struct address *address, __u32 kind, __u32 port)
{
	const struct source_gate *gate = gate_of_sources();
	__u32 promote, generation, sent = 1;
	struct source *source;

	if (!gate)
		return 0;
	generation = gate->generation;
	promote = promote_from(gate);
	if (promote > 1) {
		/* An answer to a segment that the sketch has counted adds nothing to it. */
		sent = is_answer(kind) ? 0 : add_to_sketch(source_hash(key));
		if (sent < promote)
			return add_to_rest(key, generation, kind, 1);
	}
	source = enter_source(key);
	if (!source)
		return add_to_rest(key, generation, kind, 1);
	if (sent > 1) {
		COUNT_SOURCE_ENTRY(promoted);
		add_to_rest(key, generation, kind, 1 - (__s64)sent);
	} else {
		COUNT_SOURCE_ENTRY(entered);
	}
	add_to_source(source, address, kind, sent, port);
	return 0;
}

/* Counts what a source did that has completed a handshake: it gets an entry at once. */
static __always_inline void count_proven_source(const struct address *address, __u32 netns,
						__u32 kind, __u16 port)
{
	struct source_key key;
	struct source *source;

	set_source_key(&key, address, netns);
	source = bpf_map_lookup_elem(&sources, &key);
	if (!source)
		source = enter_source(&key);
	if (source && !source->leaving)
		add_to_source(source, address, kind, 1, port);
	else
		count_in_rest(&key, kind);
}

/* Counts what any source did to a local port. */
static __always_inline void count_source(const struct address *address, __u32 netns, __u32 kind,
					 __u16 port)
{
	struct source_key key;
	struct source *source;

	set_source_key(&key, address, netns);
	source = bpf_map_lookup_elem(&sources, &key);
	if (!source)
		count_unknown_source(&key, address, kind, port);
	else if (source->leaving)
		count_in_rest(&key, kind);
	else
		add_to_source(source, address, kind, 1, port);
}

#endif
