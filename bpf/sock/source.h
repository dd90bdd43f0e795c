// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What sockets tell about sources: connections that were established and ended, and segments
 * of no connection that the host answered with a reset.
 *
 * Without count_sources, the verifier removes the calls.
 */
#ifndef EBPF_TCP_SOCK_SOURCE_H
#define EBPF_TCP_SOCK_SOURCE_H

#include "scope.h"
#include "segment.h"
#include "socket.h"
#include "sources.h"

/* Whether the packet side counts resets as they leave, see ../sources/segments.h. Set at load. */
const volatile bool resets_at_egress;

static __noinline void count_source_of_flow(const struct flow *flow, __u32 netns, __u32 kind)
{
	struct address remote;

	__builtin_memcpy(&remote, flow->remote, sizeof(remote));
	count_source(&remote, netns, kind, flow->local_port);
}

static __noinline void count_source_of_connection(const struct connection *connection, __u32 kind)
{
	struct address remote;

	__builtin_memcpy(&remote, connection->flow.remote, sizeof(remote));
	count_proven_source(&remote, connection->netns, kind, connection->flow.local_port);
}

/*
 * The client has completed the handshake, so its address is its own. A connection whose
 * beginning was missed does not count: the stack of those who find it has no room for this.
 */
static __always_inline void count_source_completed(const struct connection *connection)
{
	if (count_sources)
		count_source_of_connection(connection, SOURCE_COMPLETED);
}

static __always_inline void count_source_closed(const struct connection *connection,
						const struct tcp_sock *tp)
{
	__u64 rx_bytes = 0, tx_bytes;

	if (!count_sources)
		return;
	count_source_of_connection(connection, SOURCE_CLOSED);
	tx_bytes = DECORATION(tp, bytes_acked);
	discount_fins(&rx_bytes, &tx_bytes, 0,
		      connection->flags & CONNECTION_FIN_SENT &&
			      DECORATION(tp, snd_una) == DECORATION(tp, write_seq));
	if (!tx_bytes)
		count_source_of_connection(connection, SOURCE_UNANSWERED);
}

/* The kind of a reset, by the flags of the segment that it answers. */
static __always_inline __u32 kind_of_reset(__u8 flags)
{
	switch (flags & (TCP_SYN | TCP_ACK | TCP_FIN | TCP_RST)) {
	case TCP_SYN:
		return SOURCE_RESET_SYN;
	case TCP_SYN | TCP_ACK:
		return SOURCE_RESET_SYN_ACK;
	case TCP_ACK:
	case TCP_ACK | TCP_FIN:
		return SOURCE_RESET_OTHER;
	default:
		return SOURCE_RESET_FLAGS;
	}
}

/*
 * A segment that no socket, or a listener, answers with a reset. The kernel takes the device
 * from the buffer before a listener sees it.
 */
static __always_inline void count_source_reset(const struct sock *listener,
					       const struct sk_buff *skb,
					       const struct segment *segment)
{
	struct net_device *dev;
	__u32 netns;

	if (!is_client_selected(segment->flow.remote))
		return;
	if (listener) {
		if (!is_socket_in_scope(listener))
			return;
		netns = BPF_CORE_READ(listener, __sk_common.skc_net.net, ns.inum);
	} else {
		dev = BPF_CORE_READ(skb, dev);
		if (!dev || !is_device_in_scope(dev))
			return;
		netns = BPF_CORE_READ(dev, nd_net.net, ns.inum);
	}
	count_source_of_flow(&segment->flow, netns, kind_of_reset(segment->flags));
}

#endif
