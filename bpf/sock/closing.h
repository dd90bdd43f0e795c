// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The end of a connection: who closed it, why, and the final counters of the socket. */
#ifndef EBPF_TCP_CLOSING_H
#define EBPF_TCP_CLOSING_H

#include "connections.h"
#include "emit.h"
#include "opening.h"
#include "ports.h"
#include "process.h"
#include "socket.h"
#include "source.h"

/*
 * Whether data arrived during close() itself. The kernel counts them at once, and
 * processes them when the process releases the socket, which is also when it closes. Data
 * leave their timestamp as the most recent one. A reset does not, or has no timestamp.
 */
static __always_inline bool has_data_at_close(const struct tcp_sock *tp)
{
	return DECORATION_AS(struct sock, tp, sk_lock.owned) &&
	       bpf_core_field_exists(tp->rx_opt.saw_tstamp) &&
	       BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.saw_tstamp) &&
	       DECORATION_AS(struct tcp_sock, tp, rx_opt.ts_recent) ==
		       DECORATION_AS(struct tcp_sock, tp, rx_opt.rcv_tsval);
}

/*
 * Whether the host resets because data arrived after close(), which nobody will read
 * (TCPABORTONDATA, in tcp_rcv_state_process()). The kernel then calls tcp_reset() as for a
 * reset by the client, and the tracepoint has no segment. Late data end a connection with
 * their first segment. So if none arrived, or the process only shut down sending, the
 * client reset the connection.
 */
static __always_inline bool is_late_data_reset(const struct connection *connection,
					       const struct sock *sk, int state)
{
	if ((state != TCP_FIN_WAIT1 && state != TCP_FIN_WAIT2) ||
	    !(DECORATION_AS(struct sock, sk, sk_shutdown) & RCV_SHUTDOWN))
		return false;
	return data_segments(sk) != connection->data_segments ||
	       has_data_at_close((const struct tcp_sock *)sk);
}

/* The state before CLOSE when that transition was missed. */
#define STATE_UNKNOWN 0

/* Whether the server has sent no FIN yet. In SYN_RECV it is a Fast Open child. */
static __always_inline bool is_unfinished(int state)
{
	return state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT || state == TCP_SYN_RECV;
}

/*
 * Whether the client's FIN came first. Nobody notes CLOSE_WAIT, because LAST_ACK tells the
 * same later. A connection that skips LAST_ACK is still in CLOSE_WAIT.
 */
static __always_inline bool is_client_first(const struct connection *connection, int oldstate)
{
	return connection->flags & CONNECTION_CLIENT_FIN || oldstate == TCP_CLOSE_WAIT;
}

/* Observed facts come before inferred ones. */
static __always_inline __u32 close_reason(const struct connection *connection,
					  const struct sock *sk, int oldstate)
{
	int error = sk->sk_err;

	if (connection->flags & CONNECTION_RESET_RECEIVED)
		return CLOSE_CLIENT_RESET;
	if (error == ECONNABORTED)
		return CLOSE_ABORTED;
	/* tcp_write_err() prefers a soft error, left by ICMP, to ETIMEDOUT. */
	if (error == ETIMEDOUT || (error && error == DECORATION(sk, sk_err_soft)))
		return CLOSE_TIMEOUT;
	/* What tcp_reset() sets, for kernels where its tracepoint is not available. */
	if (!is_late_data_reset(connection, sk, oldstate) &&
	    (error == ECONNRESET || (error == EPIPE && oldstate == TCP_CLOSE_WAIT)))
		return CLOSE_CLIENT_RESET;
	if (!error && is_unfinished(oldstate))
		return CLOSE_SERVER_RESET;
	if (is_client_first(connection, oldstate))
		return CLOSE_CLIENT_FIN;
	if (connection->flags & CONNECTION_SERVER_FIN)
		return CLOSE_SERVER_FIN;
	return CLOSE_UNKNOWN;
}

/* A close by reset sets the state first. When it sends the reset, the entry is gone. */
static __noinline void count_late_reset(const struct connection *connection)
{
	if (!(connection->flags & CONNECTION_RESET_SENT))
		count_connection(connection, PORT_RESET_SENT, 1);
}

static __always_inline void close_connection(struct sock *sk, int oldstate)
{
	__u64 key = (__u64)sk;
	struct connection *connection;
	struct close_record *record;
	struct tcp_sock *tp;
	__u32 reason;

	if (!is_followable(sk))
		return;
	connection = bpf_map_lookup_elem(&connections, &key);
	if (!connection)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	/* Without an error, a process closes by reset, and it is the current one. */
	if (is_unfinished(oldstate) && !sk->sk_err)
		set_current_owner(&connection->owner, OWNER_CLOSER);
	/* After the server's FIN the missed state is known well enough: all data are late. */
	if (oldstate == STATE_UNKNOWN && connection->flags & CONNECTION_SERVER_FIN)
		oldstate = TCP_FIN_WAIT2;
	reason = close_reason(connection, sk, oldstate);
	count_source_closed(connection, tp);
	if (reason == CLOSE_SERVER_RESET)
		count_late_reset(connection);

	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		if (delete_connection(key, connection->netns))
			count_lost(EVENT_CONNECTION, CAUSE_RING_FULL, 1);
		return;
	}
	record->head.kind = RECORD_CLOSE;
	record->head.netns = connection->netns;
	record->head.time = bpf_ktime_get_boot_ns();
	record->connection = *connection;
	record->reason = reason;
	record->error = sk->sk_err;
	read_socket_counters(tp, connection->flags & CONNECTION_FIN_SENT, &record->counters);
	/* Whoever deletes the entry accounts for it; user space may have counted it as stale. */
	if (delete_connection(key, record->head.netns))
		submit(record);
	else
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
}

/*
 * The server sends its FIN, or has sent it. The new state shows whose FIN came first. A
 * process that closes after shutdown() enters the same state again.
 */
static __always_inline void follow_fin(struct sock *sk, int newstate)
{
	__u64 key = (__u64)sk;
	struct connection *connection = NULL;

	if (is_followable(sk))
		connection = bpf_map_lookup_elem(&connections, &key);
	if (!connection) {
		if (!is_possibly_unseen(sk))
			return;
		open_unseen_connection(sk);
		connection = bpf_map_lookup_elem(&connections, &key);
		if (!connection)
			return;
	}
	if (!(connection->flags & (CONNECTION_CLIENT_FIN | CONNECTION_SERVER_FIN)))
		connection->flags |=
			newstate == TCP_FIN_WAIT1 ? CONNECTION_SERVER_FIN : CONNECTION_CLIENT_FIN;
	if (newstate != TCP_LAST_ACK)
		connection->data_segments = data_segments(sk);
	connection->flags |= CONNECTION_FIN_SENT;
	/*
	 * Since 6.10 (commit 94062790aedb) a Fast Open child that was shut down during its
	 * handshake sends its FIN in the interrupt of the ACK.
	 */
	if (!bpf_core_field_exists(sk->sk_lock.owned) || sk->sk_lock.owned)
		set_current_owner(&connection->owner, OWNER_CLOSER);
}

#endif
