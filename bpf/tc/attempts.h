// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Half-open attempts: the packets that begin, answer and end one. */
#ifndef EBPF_TCP_ATTEMPTS_H
#define EBPF_TCP_ATTEMPTS_H

#include "failed.h"
#include "flow.h"
#include "halfopen.h"
#include "options.h"
#include "packet.h"

/* A SYN-ACK's window is not scaled. */
#define WIDEST_WINDOW 65535

/*
 * A SYN arrived. In promiscuous mode it may have the hardware address or the address of
 * another host. This host does not answer such a SYN, so it begins no attempt.
 */
static __noinline int begin_half_open(struct __sk_buff *skb, const struct half_open_key *key,
				      __u32 client_next)
{
	struct half_open value = { .ifindex = skb->ifindex };
	const struct address *local = (const struct address *)key->flow.local;

	if (skb->pkt_type != PACKET_HOST)
		return 0;
	if (addresses_known && !is_local(local->halves[0], local->halves[1]))
		return 0;
	value.first = bpf_ktime_get_boot_ns();
	value.numbers.client_next = client_next;
	value.window = WIDEST_WINDOW;
	enter_half_open(key, &value);
	return 0;
}

/*
 * Whether the kernel accepts the packet as an end, see halfopen.h. If no SYN-ACK was seen,
 * because it left by an interface without programs, any acknowledgment is an end.
 */
static __always_inline bool is_half_open_end(const struct half_open_numbers *numbers, __u32 window,
					     const struct tcp_start *tcp)
{
	__u32 ahead = bpf_ntohl(tcp->sequence) - numbers->client_next;

	if (tcp->flags & TCP_RST)
		return !ahead;
	if (!numbers->server_next)
		return true;
	return bpf_ntohl(tcp->acknowledgment) == numbers->server_next && ahead <= window;
}

/*
 * Called with the client's SYN and what may end the attempt, and the host's SYN-ACK. Returns 1 if
 * the client has reset the attempt.
 */
static __noinline int follow_half_open(struct __sk_buff *skb, const struct parsed *parsed,
				       bool egress)
{
	FLOW_KEY key = { .netns = netns };
	struct half_open_numbers *numbers;
	struct half_open_mark *mark = NULL;
	struct half_open *entry;
	struct tcp_start tcp;
	__u32 window = WIDEST_WINDOW;

	if (!read_header(skb, parsed->transport, &tcp))
		return 0;
	read_packet_flow(skb, parsed, egress, &key.flow);
	entry = bpf_map_lookup_elem(&half_open_handshakes, &key);
	if (entry) {
		numbers = &entry->numbers;
		window = entry->window;
	} else {
		mark = has_recent_mark() ? find_mark(&key) : NULL;
		if (!mark) {
			if (parsed->class == PACKET_SYN)
				begin_half_open(skb, &key, bpf_ntohl(tcp.sequence) + 1);
			return 0;
		}
		numbers = &mark->numbers;
	}
	if (parsed->class == PACKET_SYN_ACK) {
		numbers->client_next = bpf_ntohl(tcp.acknowledgment);
		numbers->server_next = bpf_ntohl(tcp.sequence) + 1;
		if (entry)
			entry->window = bpf_ntohs(tcp.window);
		return 0;
	}
	if (parsed->class == PACKET_SYN) {
		/* The SYN before has no answer yet. */
		if (!numbers->server_next)
			numbers->client_next = bpf_ntohl(tcp.sequence) + 1;
		return 0;
	}
	if (!is_half_open_end(numbers, window, &tcp))
		return 0;
	if (mark)
		clear_mark(mark);
	else if (!delete_half_open(&key))
		return 0;
	if (parsed->class != PACKET_RST)
		return 0;
	report_failed_attempt(&key.flow, netns, key.flow.local_port, skb->ifindex, FAILURE_RESET);
	return 1;
}

/* Which packets an attempt depends on, by direction. */
static __always_inline bool is_half_open_packet(__u32 class, bool egress)
{
	if (egress)
		return class == PACKET_SYN_ACK;
	return class == PACKET_SYN || class == PACKET_RST || class == PACKET_ACK;
}

#endif
