// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The iterators of the socket vantage point. User space runs them when it needs them.
 *
 *   scan_listeners      open files   -> listeners, written to the stream; port tables
 *   scan_connections    open files   -> connections older than the programs
 *   scan_orphans        TCP sockets  -> those that no process holds
 *   snapshot            connections  -> live figures, written to the stream
 *   snapshot_listeners  listeners    -> lengths of their queues, written to the stream
 *
 * Open files come first: they cover all network namespaces, need no setns, and show which
 * process holds the socket. Nothing is lost if the buffer of a stream is full: the kernel
 * runs the program again for the same element.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "connections.h"
#include "emit.h"
#include "filter.h"
#include "inbound.h"
#include "listeners.h"
#include "look.h"
#include "maps.h"
#include "ports.h"
#include "process.h"
#include "records.h"
#include "scope.h"
#include "socket.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/*
 * As in adopt_connection(): the hook of the end runs before the state is stored. If it ran
 * before the insert, the state shows it now, and the entry would never be deleted.
 */
static __always_inline __u8 follow_found(const struct sock *sk, const struct listener *listener)
{
	__u64 key = (__u64)sk;
	__u8 followed = follow_listener(key, listener);

	if (followed == FOLLOWED_YES && !is_listening(sk))
		delete_listener(key, listener->netns);
	return followed;
}

static __always_inline void describe_listener(const struct sock *sk, struct listen_record *record)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	struct listener listener = {};

	listener.since = bpf_ktime_get_boot_ns();
	listener.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	listener.port = BPF_CORE_READ(sk, __sk_common.skc_num);
	if (family == AF_INET)
		map_ipv4(listener.address, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
	else if (HAS_IPV6)
		BPF_CORE_READ_INTO(&listener.address, sk,
				   __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32);
	record->head.kind = RECORD_LISTEN;
	record->head.netns = listener.netns;
	record->head.time = listener.since;
	record->sk = (__u64)sk;
	record->port = listener.port;
	__builtin_memcpy(record->address, listener.address, sizeof(record->address));
	record->followed = follow_found(sk, &listener);
	if (listener.port && record->followed != FOLLOWED_NOT_SHARE)
		mark_listening(listener.netns, listener.port);
	record->backlogless = backlog_of(sk);
}

SEC("iter/task_file")
int scan_listeners(struct bpf_iter__task_file *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;
	struct scan_record record = {};
	struct listen_record *listener = &record.listener;
	struct file *file = ctx->file;
	struct sock *sk;

	if (!task || !file)
		return 0;
	sk = file_socket(file);
	if (!sk || !is_listening(sk) || !is_socket_in_scope(sk))
		return 0;
	describe_listener(sk, listener);
	if (attribute_process && HAS_PROCESS) {
		read_task_key(task, &listener->owner.process);
		listener->owner.source = OWNER_LISTENER;
		describe_process(task, &listener->owner.process, &record.process);
		note_announced(&listener->owner.process);
	}
	bpf_seq_write(seq, &record, sizeof(record));
	return 0;
}

static __always_inline __u32 adopted_flags(const struct sock *sk)
{
	switch (BPF_CORE_READ(sk, __sk_common.skc_state)) {
	case TCP_ESTABLISHED:
		return CONNECTION_ADOPTED;
	case TCP_CLOSE_WAIT:
		return CONNECTION_ADOPTED | CONNECTION_CLIENT_FIN;
	case TCP_LAST_ACK:
		return CONNECTION_ADOPTED | CONNECTION_CLIENT_FIN | CONNECTION_FIN_SENT;
	case TCP_FIN_WAIT1:
	case TCP_FIN_WAIT2:
	case TCP_CLOSING:
		return CONNECTION_ADOPTED | CONNECTION_SERVER_FIN | CONNECTION_FIN_SENT;
	default:
		return 0;
	}
}

/* Describes a connection older than the programs; false if it is none, or known. */
static __always_inline bool describe_adoptable(const struct sock *sk, struct connection *connection)
{
	__u64 key = (__u64)sk;

	connection->flags = adopted_flags(sk);
	if (!connection->flags || !is_socket_in_scope(sk) ||
	    !is_family_readable(READ_AS(struct sock, sk, __sk_common.skc_family)))
		return false;
	read_socket_flow_checked(sk, &connection->flow);
	connection->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	return is_inbound(sk, &connection->flow, connection->netns) &&
	       is_flow_selected(&connection->flow) && !bpf_map_lookup_elem(&connections, &key);
}

static __always_inline void adopt_connection(const struct sock *sk, struct connection *connection)
{
	__u64 key = (__u64)sk;
	long error;

	connection->opened = bpf_ktime_get_boot_ns();
	connection->ifindex = socket_ifindex_checked(sk);
	connection->data_segments = data_segments(sk);
	if (bpf_core_field_exists(struct tcp_sock, is_mptcp) &&
	    BPF_CORE_READ((struct tcp_sock *)sk, is_mptcp))
		connection->flags |= CONNECTION_MPTCP;
	connection->id = take_id(ID_ADOPTED);
	note_backlog(sk);
	error = enter_connection(key, connection);
	/* The state hook was faster, and has counted it. */
	if (error == -EEXIST)
		return;
	/*
	 * The hook at CLOSE runs before the state is stored. If it runs after the insert, it
	 * finds this entry. If it ran before, it found nothing to delete, and the state shows
	 * it now.
	 */
	if (!error && !adopted_flags(sk) && delete_connection(key, connection->netns))
		return;
	LEDGER_ADD(adopted, 1);
	if (error)
		count_not_followed(error, connection->netns, connection->opened);
}

SEC("iter/task_file")
int scan_connections(struct bpf_iter__task_file *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;
	struct process_record process = {};
	struct connection connection = {};
	struct file *file = ctx->file;
	struct sock *sk;

	if (!task || !file)
		return 0;
	sk = file_socket(file);
	if (!sk || !describe_adoptable(sk, &connection))
		return 0;
	if (attribute_process && HAS_PROCESS) {
		read_task_key(task, &connection.owner.process);
		connection.owner.source = OWNER_HOLDER;
		describe_process(task, &connection.owner.process, &process);
		note_announced(&connection.owner.process);
		/* If the stream is full, the kernel runs this again for the same file. */
		if (bpf_seq_write(seq, &process, sizeof(process)))
			return 0;
	}
	adopt_connection(sk, &connection);
	return 0;
}

/*
 * Sockets that no process holds: connections not accepted yet, orphans, further
 * subflows, and listeners of the kernel.
 */
SEC("iter/tcp")
int scan_orphans(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct seq_file *seq = ctx->meta->seq;
	struct connection connection = {};
	struct scan_record record = {};

	if (!common || !bpf_skc_to_tcp_sock(common) || !is_socket_in_scope((struct sock *)common))
		return 0;
	if (common->skc_state == TCP_LISTEN) {
		describe_listener((struct sock *)common, &record.listener);
		bpf_seq_write(seq, &record, sizeof(record));
		return 0;
	}
	if (describe_adoptable((struct sock *)common, &connection))
		adopt_connection((struct sock *)common, &connection);
	return 0;
}

/* One look at every connection, in all namespaces. */
SEC("iter/bpf_map_elem")
int snapshot(struct bpf_iter__bpf_map_elem *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct connection *connection = ctx->value;
	struct live_record live = {};
	__u64 *key = ctx->key;

	if (!key || !connection)
		return 0;
	live.connection = *connection;
	live.look.sk = *key;
	live.look.id = live.connection.id;
	look_at_connection(live.look.sk, connection, &live.look);
	if (live.look.outcome != LOOK_ENDED)
		bpf_seq_write(seq, &live, sizeof(live));
	return 0;
}

/* One look at every listener, in all namespaces. */
SEC("iter/bpf_map_elem")
int snapshot_listeners(struct bpf_iter__bpf_map_elem *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct listener *listener = ctx->value;
	struct listener_look look = {};
	__u64 *key = ctx->key;

	if (!key || !listener)
		return 0;
	look.sk = *key;
	look.listener = *listener;
	look_at_listener(look.sk, listener, &look);
	if (look.outcome != LOOK_ENDED)
		bpf_seq_write(seq, &look, sizeof(look));
	return 0;
}
