// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Whether a socket was opened passively. Every place that begins to follow a connection asks
 * here, except accept(), which only returns such sockets.
 *
 * The kernel does not record it. These facts show it:
 *   - sk_clone() copies sk_max_ack_backlog of the listener, and a socket that never
 *     listened has 0;
 *   - if the listener asked for a backlog of 0: a child has no sk_socket until accept(),
 *     while a client's socket has one until it is closed. A closed socket has SOCK_DEAD, and
 *     is neither ESTABLISHED nor CLOSE_WAIT;
 *   - data before the end of the handshake are those of a Fast Open SYN, which only a
 *     listener accepts;
 *   - for an accepted socket of such a listener: its address is in backlogless_listeners.
 *
 * The sequence of states does not show it. SYN_SENT, SYN_RECV, ESTABLISHED is a client's
 * socket in three cases: it connects to itself, both sides send a SYN at the same time, or a
 * bare SYN answers it.
 */
#ifndef EBPF_TCP_INBOUND_H
#define EBPF_TCP_INBOUND_H

#include "maps.h"
#include "socket.h"

static __always_inline bool is_backlogless_count_set(__u32 which)
{
	const __u32 *count = bpf_map_lookup_elem(&backlogless_count, &which);

	return count && *count;
}

static __always_inline bool has_backlogless_listeners(void)
{
	return is_backlogless_count_set(BACKLOGLESS_LISTENERS);
}

/* Called for each socket before it is followed. */
static __always_inline void note_backlog(const struct sock *sk)
{
	__u32 which = BACKLOGLESS_FOLLOWED, yes = 1;

	if (DECORATION_AS(struct sock, sk, sk_max_ack_backlog) || is_backlogless_count_set(which))
		return;
	bpf_map_update_elem(&backlogless_count, &which, &yes, BPF_ANY);
}

/*
 * Whether the connections map may have the socket: a connection keeps the backlog that it
 * got from its listener. Direct loads.
 */
static __always_inline bool is_followable(const struct sock *sk)
{
	return DECORATION(sk, sk_max_ack_backlog) || is_backlogless_count_set(BACKLOGLESS_FOLLOWED);
}

/* The backlog that a listener asked for, for its record. */
static __always_inline enum backlogless backlog_of(const struct sock *listener)
{
	if (!bpf_core_field_exists(listener->sk_max_ack_backlog) ||
	    READ_AS(struct sock, listener, sk_max_ack_backlog))
		return BACKLOGLESS_NOT;
	if (READ_AS(struct sock, listener, __sk_common.skc_family) == AF_INET6 &&
	    bpf_core_field_exists(listener->__sk_common.skc_ipv6only) &&
	    !BPF_CORE_READ_BITFIELD_PROBED(listener, __sk_common.skc_ipv6only))
		return BACKLOGLESS_BOTH;
	return BACKLOGLESS_YES;
}

/* In the state hook, for a socket that leaves SYN_RECV. */
static __always_inline bool is_opening_inbound(const struct sock *sk, const struct tcp_sock *tp)
{
	return DECORATION(sk, sk_max_ack_backlog) || DECORATION(tp, bytes_received) ||
	       (bpf_core_field_exists(sk->sk_socket) && !sk->sk_socket &&
		!(DECORATION(sk, __sk_common.skc_flags) & (1UL << SOCK_DEAD)));
}

static __always_inline bool is_backlogless(const struct backlogless_key *key)
{
	return bpf_map_lookup_elem(&backlogless_listeners, key) != NULL;
}

static __noinline bool is_accepted_without_backlog(const struct flow *flow, __u32 netns)
{
	struct backlogless_key key = { .netns = netns };
	const __u32 *words = (const __u32 *)flow->local;

	key.port = flow->local_port;
	__builtin_memcpy(key.address, flow->local, sizeof(key.address));
	if (is_backlogless(&key))
		return true;
	/* The wildcard of the same family. */
	if (!words[0] && !words[1] && words[2] == bpf_htonl(0xffff))
		__builtin_memset(key.address + 12, 0, 4);
	else
		__builtin_memset(key.address, 0, sizeof(key.address));
	return is_backlogless(&key);
}

/* For a socket found in any later state: every load is checked. */
static __always_inline bool is_inbound(const struct sock *sk, const struct flow *flow, __u32 netns)
{
	__u8 state = READ_AS(struct sock, sk, __sk_common.skc_state);

	if (DECORATION_AS(struct sock, sk, sk_max_ack_backlog))
		return true;
	if ((state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT) &&
	    bpf_core_field_exists(sk->sk_socket) && !READ_AS(struct sock, sk, sk_socket))
		return true;
	return has_backlogless_listeners() && is_accepted_without_backlog(flow, netns);
}

#endif
