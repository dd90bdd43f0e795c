// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The end of a connection: who began it, why, and what the socket had counted. */
#ifndef EBPF_TCP_CLOSING_H
#define EBPF_TCP_CLOSING_H

#include "connections.h"
#include "emit.h"
#include "opening.h"
#include "ports.h"
#include "process.h"
#include "socket.h"

/*
 * The kernel calls its own tcp_reset() when data arrive that nobody will read any more
 * (TCPABORTONDATA, in tcp_rcv_state_process()); no reset came from the client.
 */
static __always_inline bool answers_late_data(const struct sock *sk, int state)
{
	return (state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2) &&
	       DECORATION_AS(struct sock, sk, sk_shutdown) & RCV_SHUTDOWN;
}

/* The state before CLOSE when that transition was missed. */
#define STATE_UNKNOWN 0

/* The order is design.md's: what was seen happening comes before what is inferred. */
static __always_inline __u32 close_reason(const struct connection *connection,
					  const struct sock *sk, int oldstate)
{
	int error = sk->sk_err;

	if (connection->flags & CONNECTION_RESET_RECEIVED)
		return CLOSE_CLIENT_RESET;
	if (error == ECONNABORTED)
		return CLOSE_ABORTED;
	/* tcp_write_err() prefers the soft error that ICMP left to ETIMEDOUT. */
	if (error == ETIMEDOUT || (error && error == DECORATION(sk, sk_err_soft)))
		return CLOSE_TIMEOUT;
	/* What tcp_reset() sets, for kernels where its tracepoint is out of reach. */
	if (!answers_late_data(sk, oldstate) &&
	    (error == ECONNRESET || (error == EPIPE && oldstate == TCP_CLOSE_WAIT)))
		return CLOSE_CLIENT_RESET;
	if (!error && (oldstate == TCP_ESTABLISHED || oldstate == TCP_CLOSE_WAIT))
		return CLOSE_SERVER_RESET;
	if (connection->flags & CONNECTION_CLIENT_FIN)
		return CLOSE_CLIENT_FIN;
	if (connection->flags & CONNECTION_SERVER_FIN)
		return CLOSE_SERVER_FIN;
	return CLOSE_UNKNOWN;
}

/* A close that resets sets the state first, and sends its reset when we know it no more. */
static __noinline void count_late_reset(const struct connection *connection)
{
	if (!(connection->flags & CONNECTION_RESET_SENT))
		count_connection(connection, PORT_RESET_SENT, 1);
}

static __always_inline void closed(struct sock *sk, int oldstate)
{
	__u64 key = (__u64)sk;
	struct connection *connection = bpf_map_lookup_elem(&connections, &key);
	struct close_record *record;
	struct tcp_sock *tp;
	__u32 reason;

	if (!connection)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	/* Only a process that closes by reset is current here; a packet's victim is not. */
	if ((oldstate == TCP_ESTABLISHED || oldstate == TCP_CLOSE_WAIT) && !sk->sk_err)
		own_by_current(&connection->owner, OWNER_CLOSER);
	/* The server's FIN tells enough of a state that was missed: what comes now comes late. */
	if (oldstate == STATE_UNKNOWN && connection->flags & CONNECTION_SERVER_FIN)
		oldstate = TCP_FIN_WAIT2;
	reason = close_reason(connection, sk, oldstate);
	if (reason == CLOSE_SERVER_RESET)
		count_late_reset(connection);

	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		ledger_add(LEDGER_LOST_RING_CLOSE, 1);
		delete_connection(key, connection->netns);
		return;
	}
	record->head.kind = RECORD_CLOSE;
	record->head.netns = connection->netns;
	record->head.time = bpf_ktime_get_boot_ns();
	record->connection = *connection;
	record->reason = reason;
	record->error = sk->sk_err;
	socket_counters(tp, connection->flags & CONNECTION_FIN_SENT, &record->counters);
	submit(record);
	delete_connection(key, connection->netns);
}

/* The state says whose FIN it is; LAST_ACK also proves that the client's came first. */
static __always_inline void fin(struct sock *sk, int newstate)
{
	__u64 key = (__u64)sk;
	struct connection *connection = bpf_map_lookup_elem(&connections, &key);

	if (!connection) {
		if (newstate == TCP_CLOSE_WAIT)
			return;
		opened_unseen(sk);
		connection = bpf_map_lookup_elem(&connections, &key);
		if (!connection)
			return;
	}
	if (!(connection->flags & (CONNECTION_CLIENT_FIN | CONNECTION_SERVER_FIN)))
		connection->flags |=
			newstate == TCP_FIN_WAIT1 ? CONNECTION_SERVER_FIN : CONNECTION_CLIENT_FIN;
	if (newstate == TCP_CLOSE_WAIT)
		return;
	connection->flags |= CONNECTION_FIN_SENT;
	own_by_current(&connection->owner, OWNER_CLOSER);
}

#endif
