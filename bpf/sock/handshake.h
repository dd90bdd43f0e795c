// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The duration of a handshake: from the first SYN-ACK, which leaves in the interrupt of the
 * SYN, to the ACK.
 *
 * The kernel measures this itself and leaves it in srtt_us of the child. If the SYN-ACK
 * was sent more than once, the ACK may answer any of them (RFC 6298, section 3,
 * Karn's algorithm). srtt_us then comes from timestamps and can be off by as much as the
 * retransmission timeout. For such handshakes, repeated_handshakes keeps when the first
 * SYN-ACK was sent; the others need no entry. A handshake by SYN cookie leaves no trace
 * of its beginning.
 */
#ifndef EBPF_TCP_HANDSHAKE_H
#define EBPF_TCP_HANDSHAKE_H

#include "maps.h"

#include "socket.h"

#include <bpf/bpf_core_read.h>

const volatile bool track_repeated_handshakes;

/*
 * TCP_DEFER_ACCEPT sends the SYN-ACK again after the client was silent for some time. The
 * second ACK then completes the handshake.
 */
static __always_inline bool has_deferred_accept(const struct sock *listener)
{
	const struct inet_connection_sock *icsk = (const void *)listener;

	return bpf_core_field_exists(icsk->icsk_accept_queue.rskq_defer_accept) &&
	       BPF_CORE_READ(icsk, icsk_accept_queue.rskq_defer_accept);
}

static __always_inline void note_repeated_handshake(const struct request_sock *request,
						    const struct flow *flow, __u32 netns)
{
	const struct tcp_request_sock *tcp = (const struct tcp_request_sock *)request;
	struct half_open_key key = { .netns = netns };
	__u64 first;

	if (!bpf_core_field_exists(struct tcp_request_sock, snt_synack))
		return;
	first = bpf_ktime_get_boot_ns() -
		(bpf_ktime_get_ns() - BPF_CORE_READ(tcp, snt_synack) * 1000);
	key.flow = *flow;
	bpf_map_update_elem(&repeated_handshakes, &key, &first, BPF_ANY);
}

/* Microseconds; 0 = not measured. */
static __always_inline __u32 take_repeated_handshake(const struct flow *flow, __u32 netns,
						     __u64 now)
{
	struct half_open_key key = { .netns = netns };
	__u64 *first;
	__u32 duration;

	key.flow = *flow;
	first = bpf_map_lookup_elem(&repeated_handshakes, &key);
	if (!first)
		return 0;
	duration = (now - *first) / 1000;
	bpf_map_delete_elem(&repeated_handshakes, &key);
	return duration;
}

/* Members that show whether srtt_us is still that of the handshake. */
#define HANDSHAKE_MEASURABLE                                                                       \
	(bpf_core_field_exists(struct tcp_sock, total_retrans) &&                                  \
	 bpf_core_field_exists(struct tcp_sock, data_segs_in))

/* What the kernel measured from the first SYN-ACK to the ACK; 0 = nothing. */
static __always_inline __u32 handshake_rtt(__u32 srtt_us)
{
	/* Eighths of a microsecond. Whole milliseconds come from timestamps. */
	return srtt_us % (8 * 1000) ? srtt_us >> 3 : 0;
}

/* In the state hook, for a connection that becomes established. */
static __always_inline void measure_handshake(const struct tcp_sock *tp,
					      struct connection *connection)
{
	/* Without them it is not known whether the SYN-ACK was sent again. */
	if (!HANDSHAKE_MEASURABLE)
		return;
	/* So far only the SYN-ACK can have been sent again. */
	if (tp->total_retrans) {
		connection->flags |= CONNECTION_SYNACK_REPEATED;
		if (track_repeated_handshakes)
			connection->handshake_us = take_repeated_handshake(
				&connection->flow, connection->netns, connection->opened);
		return;
	}
	/* Received bytes are those of a Fast Open SYN; those of a segment count later. */
	if (DECORATION(tp, bytes_received) || !tp->data_segs_in)
		connection->handshake_us = handshake_rtt(DECORATION(tp, srtt_us));
}

/* For a connection that waits for accept: the server has sent only its SYN-ACK. */
static __always_inline void measure_late_handshake(const struct tcp_sock *tp,
						   struct connection *connection)
{
	if (!HANDSHAKE_MEASURABLE || BPF_CORE_READ(tp, total_retrans) ||
	    BPF_CORE_READ(tp, data_segs_in))
		return;
	connection->handshake_us = handshake_rtt(DECORATION_AS(struct tcp_sock, tp, srtt_us));
}

#endif
