// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Looks at the sockets of the connections and listeners maps, for the programs that user
 * space runs for live figures.
 *
 * The socket may change meanwhile, and its entry may be reused. So each look reads
 * first and checks afterwards that the socket still matches the entry, and that the entry is
 * still the one that user space asked for.
 */
#ifndef EBPF_TCP_LOOK_H
#define EBPF_TCP_LOOK_H

#include "connections.h"
#include "listeners.h"
#include "socket.h"

static __always_inline __u32 socket_drops(const struct sock *sk)
{
	return bpf_core_field_exists(struct sock, sk_drops) ? BPF_CORE_READ(sk, sk_drops.counter)
							    : 0;
}

static __always_inline bool is_listening(const struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_LISTEN;
}

/* Fills in the bytes of the connection that has the look's id, and the outcome. */
static __always_inline void look_at_connection(__u64 key, const struct connection *connection,
					       struct connection_look *look)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)key;
	__u64 rx_bytes, tx_bytes;
	__u32 outcome = LOOK_READ;

	read_socket_bytes_checked(tp, connection->flags, &rx_bytes, &tx_bytes);
	if (!has_ports((const struct sock *)tp, &connection->flow))
		outcome = LOOK_GONE;
	if (connection->id != look->id)
		outcome = LOOK_ENDED;
	look->rx_bytes = rx_bytes;
	look->tx_bytes = tx_bytes;
	look->outcome = outcome;
}

/*
 * Fills in the queues of the listener whose copy the look holds, and the outcome. For a
 * listening socket, ss shows the length of the accept queue as Recv-Q and its limit as
 * Send-Q. Handshakes in progress are in neither. A listener without a port gets the one that
 * the kernel has chosen meanwhile.
 */
static __always_inline void look_at_listener(__u64 key, struct listener *listener,
					     struct listener_look *look)
{
	const struct sock *sk = (const struct sock *)key;
	const struct inet_connection_sock *icsk = (const struct inet_connection_sock *)sk;
	__u16 port;

	look->accept_queue = BPF_CORE_READ(sk, sk_ack_backlog);
	look->accept_limit = BPF_CORE_READ(sk, sk_max_ack_backlog);
	look->syn_queue = BPF_CORE_READ(icsk, icsk_accept_queue.qlen.counter);
	look->drops = socket_drops(sk);
	port = BPF_CORE_READ(sk, __sk_common.skc_num);
	look->outcome = LOOK_READ;
	if (!is_listening(sk) ||
	    BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum) != look->listener.netns ||
	    (look->listener.port && look->listener.port != port))
		look->outcome = LOOK_GONE;
	if (listener->since != look->listener.since)
		look->outcome = LOOK_ENDED;
	if (look->outcome == LOOK_READ && !look->listener.port) {
		look->listener.port = port;
		listener->port = port;
	}
}

#endif
