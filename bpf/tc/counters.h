// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Counters per interface and direction. */
#ifndef EBPF_TCP_COUNTERS_H
#define EBPF_TCP_COUNTERS_H

#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "options.h"
#include "packet.h"
#include "values.h"

#define INTERFACE_SLOTS 256
#define INTERFACE_HASH 4096

/*
 * Interfaces by their index, modulo the size. User space writes an entry before it
 * attaches, and clears it after it detached. Full, or taken by another interface with the
 * same place: the interface counts in slot 0.
 */
struct interface_slot interfaces[INTERFACE_HASH] TABLE(interfaces);

/*
 * Counters, two per slot: ingress, egress. The programs add, user space reads. User space
 * sets those of a slot to zero before it gives the slot to another interface. Full: further
 * interfaces share slot 0.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, INTERFACE_SLOTS * 2);
	__type(key, __u32);
	__type(value, struct interface_counters);
} packet_counters SEC(".maps");

/* The entry of an interface, or of another one with another ifindex. */
static __always_inline const struct interface_slot *interface_at(__u32 ifindex)
{
	return &interfaces[ifindex & (INTERFACE_HASH - 1)];
}

static __always_inline struct interface_counters *counters_of(__u32 ifindex, bool egress)
{
	const struct interface_slot *interface = interface_at(ifindex);
	__u32 index = (interface->ifindex == ifindex ? interface->counters : 0) + egress;

	return bpf_map_lookup_elem(&packet_counters, &index);
}

static __always_inline void count_segments_of(struct interface_counters *counters, __u32 class,
					      __u32 segments, __u32 wire)
{
	if (class >= PACKET_CLASSES)
		return;
	counters->packets[class] += segments;
	counters->bytes[class] += wire;
}

static __always_inline void count_class(__u32 index, enum packet_class class, __u64 segments,
					__u64 wire)
{
	struct interface_counters *counters = bpf_map_lookup_elem(&packet_counters, &index);

	if (counters)
		count_segments_of(counters, class, segments, wire);
}

static __noinline int count_forwarded(__u32 index, __u64 segments)
{
	struct interface_counters *counters = bpf_map_lookup_elem(&packet_counters, &index);

	if (counters)
		counters->forwarded += segments;
	return 0;
}

static __noinline int count_unusual(const struct parsed *parsed, __u32 ifindex, int result,
				    bool egress)
{
	struct interface_counters *counters = counters_of(ifindex, egress);
	__u32 kind = parsed->malformed;

	if (!counters)
		return 0;
	if (result == PARSE_FRAGMENT)
		counters->fragments++;
	else if (kind < MALFORMED_KINDS)
		counters->malformed[kind]++;
	return 0;
}

#endif
