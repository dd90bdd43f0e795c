// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The beginning of a connection: at ESTABLISHED, or late, at accept or at a FIN. */
#ifndef EBPF_TCP_OPENING_H
#define EBPF_TCP_OPENING_H

#include "connections.h"
#include "emit.h"
#include "filter.h"
#include "halfopen.h"
#include "handshake.h"
#include "inbound.h"
#include "ports.h"
#include "process.h"
#include "scope.h"
#include "socket.h"
#include "source.h"

const volatile bool emit_open;
const volatile bool track_half_open;
/* When the programs were loaded, microseconds of the monotonic clock. */
const volatile __u64 loaded_us;

static __always_inline void send_open(const struct connection *connection)
{
	struct open_record *record;

	count_produced(EVENT_OPEN);
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		count_lost(EVENT_OPEN, CAUSE_RING_FULL, 1);
		return;
	}
	record->head.kind = RECORD_OPEN;
	record->head.netns = connection->netns;
	record->head.time = connection->opened;
	record->connection = *connection;
	submit(record);
}

static __always_inline void forget_attempt(const struct flow *flow, __u32 netns)
{
	FLOW_KEY key = { .netns = netns };

	key.flow = *flow;
	forget_half_open(&key);
}

/* Deletes the entry of a connection whose end was missed; false if there is none. */
static __noinline bool forget_stale(__u64 key)
{
	const struct connection *stale = bpf_map_lookup_elem(&connections, &key);

	if (!stale || !delete_connection(key, stale->netns))
		return false;
	count_lost(EVENT_CONNECTION, CAUSE_MAP_STALE, 1);
	return true;
}

/* Counts a connection once, in the ledger and at its port. */
static __noinline void count_open(const struct connection *connection)
{
	LEDGER_ADD(opened, 1);
	count_connection(connection, PORT_OPENED, 1);
}

/* Counts and enters a connection. The caller has set the id. */
static __always_inline void follow_connection(__u64 key, const struct connection *connection)
{
	long error;

	count_open(connection);
	count_source_completed(connection);
	if (track_half_open)
		forget_attempt(&connection->flow, connection->netns);
	error = enter_connection(key, connection);
	if (error == -EEXIST && forget_stale(key))
		error = enter_connection(key, connection);
	if (error) {
		count_not_followed(error, connection->netns, connection->opened);
		return;
	}
	if (emit_open)
		send_open(connection);
}

static __always_inline bool has_remote_port(const struct connection *connection,
					    const struct sock *sk)
{
	return connection->flow.remote_port ==
	       bpf_ntohs(READ_AS(struct sock, sk, __sk_common.skc_dport));
}

/*
 * A socket leaves SYN_RECV. If it goes straight to CLOSE, it was a connection only if data
 * came with a Fast Open SYN, or if a process accepted it. Otherwise it is a failed attempt, or
 * not an attempt of a client: the kernel discards a child that it can't hash or route in
 * this way.
 */
static __always_inline void open_connection(struct sock *sk, int newstate)
{
	struct connection connection = {};
	struct tcp_sock *tp;

	/* MPTCP parents fire this tracepoint too, but are no tcp_sock. */
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || !is_family_readable(sk->__sk_common.skc_family) || !is_opening_inbound(sk, tp))
		return;
	if (newstate == TCP_CLOSE && !DECORATION(tp, bytes_received) && !DECORATION(sk, sk_socket))
		return;
	read_socket_flow(sk, &connection.flow);
	if (newstate == TCP_CLOSE)
		connection.flow.local_port =
			bpf_ntohs(DECORATION(tp, inet_conn.icsk_inet.inet_sport));
	if (!is_in_scope(sk->__sk_common.skc_net.net) || !is_flow_selected(&connection.flow))
		return;
	connection.opened = bpf_ktime_get_boot_ns();
	connection.netns = sk->__sk_common.skc_net.net->ns.inum;
	connection.ifindex = socket_ifindex(sk);
	if (newstate == TCP_ESTABLISHED)
		measure_handshake(tp, &connection);
	if (bpf_core_field_exists(tp->is_mptcp) && tp->is_mptcp)
		connection.flags |= CONNECTION_MPTCP;
	connection.id = take_id(ID_OPENED);
	note_backlog(sk);
	follow_connection((__u64)sk, &connection);
}

/*
 * The state hook runs before the state is stored. So a socket that is ESTABLISHED but not in
 * the map was missed, with two exceptions. The map may have been full. Or the socket is older
 * than the programs: its last packet came before they were loaded, and its network
 * namespace was closed to the scans. When it became ready for accept is not known. At a FIN
 * it is not known either when it opened, so it is adopted.
 */
static __always_inline void open_late_connection(const struct sock *sk, enum id_space where)
{
	__u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;
	__u64 now = bpf_ktime_get_boot_ns();
	struct connection connection = {};
	__u64 key = (__u64)sk;

	connection.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	if ((state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT) ||
	    is_full_lately(connection.netns, now) ||
	    !is_family_readable(READ_AS(struct sock, sk, __sk_common.skc_family)))
		return;
	read_socket_flow_checked(sk, &connection.flow);
	if (!is_socket_in_scope(sk) || !is_flow_selected(&connection.flow))
		return;
	connection.opened = now;
	connection.ifindex = socket_ifindex_checked(sk);
	if (where == ID_LATE)
		measure_late_handshake(tp, &connection);
	if (state == TCP_CLOSE_WAIT)
		connection.flags |= CONNECTION_CLIENT_FIN;
	/* 0 if the kernel has no such member: adopted, because it may be older. */
	if (where == ID_UNSEEN || DECORATION_AS(struct tcp_sock, tp, tcp_mstamp) < loaded_us)
		connection.flags |= CONNECTION_ADOPTED;
	if (bpf_core_field_exists(struct tcp_sock, is_mptcp) && BPF_CORE_READ(tp, is_mptcp))
		connection.flags |= CONNECTION_MPTCP;
	connection.id = take_id(where);
	note_backlog(sk);
	if (enter_connection(key, &connection))
		return;
	if (connection.flags & CONNECTION_ADOPTED) {
		LEDGER_ADD(adopted, 1);
		return;
	}
	count_open(&connection);
	if (emit_open)
		send_open(&connection);
}

/*
 * A connection that is not in the map, and that its server closes now. If accept has no hook,
 * this is where a missed beginning is found. After the map was full once, a missing entry
 * proves nothing, however old the connection is.
 */
static __noinline void open_unseen_connection(struct sock *sk)
{
	__u32 netns = sk->__sk_common.skc_net.net->ns.inum;
	struct flow flow = {};

	if (last_full(netns) || !bpf_skc_to_tcp_sock(sk))
		return;
	read_socket_flow(sk, &flow);
	if (is_inbound(sk, &flow, netns))
		open_late_connection(sk, ID_UNSEEN);
}

/* Most unknown sockets are those of clients, which have no backlog. */
static __always_inline bool is_possibly_unseen(const struct sock *sk)
{
	return DECORATION(sk, sk_max_ack_backlog) || has_backlogless_listeners();
}

#endif
