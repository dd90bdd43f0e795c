// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Records of selected packets: those of certain classes, and a sample of all. */
#ifndef EBPF_TCP_SELECTED_H
#define EBPF_TCP_SELECTED_H

#include "emit.h"
#include "flow.h"
#include "maps.h"
#include "options.h"
#include "packet.h"

const volatile __u32 sample_rate; /* one server-side packet in this many; 0 = none */
const volatile __u32 packets_per_second = 100; /* selected ones, on all CPUs */
const volatile __u32 class_mask; /* bit per enum packet_class: every packet of it */

static __always_inline bool is_selected(const struct parsed *parsed)
{
	if (class_mask & 1 << parsed->class)
		return true;
	return sample_rate && bpf_get_prandom_u32() % sample_rate == 0;
}

static __noinline int emit_packet(struct __sk_buff *skb, const struct parsed *parsed, bool egress)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct packet_record *record;
	struct tcp_start tcp = {};
	__u64 last_option = (__u64)parsed->options_len - 1;

	count_produced(EVENT_PACKET);
	if (!count_within_rate(RATE_PACKET, packets_per_second, now)) {
		count_lost(EVENT_PACKET, CAUSE_RATE_LIMITED, 1);
		return 0;
	}
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		count_lost(EVENT_PACKET, CAUSE_RING_FULL, 1);
		return 0;
	}
	read_header(skb, parsed->transport, &tcp);
	__builtin_memset(record, 0, sizeof(*record));
	record->head.kind = RECORD_PACKET;
	record->head.netns = netns;
	record->head.time = now;
	read_packet_flow(skb, parsed, egress, &record->flow);
	record->ifindex = skb->ifindex;
	record->length = parsed->wire;
	record->payload = parsed->payload;
	record->sequence = bpf_ntohl(tcp.sequence);
	record->acknowledgment = bpf_ntohl(tcp.acknowledgment);
	record->window = bpf_ntohs(tcp.window);
	record->flags = parsed->flags;
	record->egress = egress;
	record->malformed = parsed->malformed;
	record->reserved = parsed->reserved;
	/* Opaque to the compiler, or it tests one number and passes the other. */
	asm volatile("" : "+r"(last_option));
	if (last_option < TCP_OPTIONS_LEN) {
		record->options_len = last_option + 1;
		bpf_skb_load_bytes(skb, parsed->transport + TCP_HEADER_LEN, record->options,
				   last_option + 1);
	}
	submit(record);
	return 0;
}

#endif
