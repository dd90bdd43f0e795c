// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The accept queue: who takes connections from it, and what it turns away. */
#ifndef EBPF_TCP_ACCEPTQUEUE_H
#define EBPF_TCP_ACCEPTQUEUE_H

#include "failed.h"
#include "filter.h"
#include "listeners.h"
#include "opening.h"
#include "scope.h"
#include "segment.h"

/* The current process took this socket from the queue. */
static __always_inline void accepted(const struct sock *sk)
{
	struct connection *connection;
	__u64 key = (__u64)sk;

	if (!key)
		return;
	connection = bpf_map_lookup_elem(&connections, &key);
	if (connection && !is_peer(connection, sk)) {
		/* The socket's address was another connection's, and its CLOSE was missed. */
		forget_stale(key);
		connection = NULL;
	}
	if (connection) {
		connection->accepted = bpf_ktime_get_boot_ns();
	} else {
		opened_late(sk, ID_LATE);
		connection = bpf_map_lookup_elem(&connections, &key);
		if (!connection)
			return;
	}
	own_by_current(&connection->owner, OWNER_ACCEPTOR);
}

/* The current process's table of open files. */
static __always_inline struct file **current_files(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) {
		const struct task_struct *task = bpf_get_current_task_btf();

		return task->files->fdt->fd;
	}
	return BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), files, fdt, fd);
}

/* accept() returned a descriptor of the current process. */
static __always_inline void accepted_descriptor(long fd)
{
	struct file **files, *file = NULL;

	if (fd < 0)
		return;
	files = current_files();
	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	accepted(file_socket(file));
}

/* sk_acceptq_is_full(): a queue may hold one more than its limit. */
static __always_inline bool accept_queue_full(const struct sock *listener)
{
	return BPF_CORE_READ(listener, sk_ack_backlog) >
	       BPF_CORE_READ(listener, sk_max_ack_backlog);
}

static __always_inline void turned_away(const struct sock *listener, const struct sk_buff *skb,
					const struct flow *flow)
{
	count_overflow(listener);
	if (!socket_in_scope(listener) || !flow_selected(flow))
		return;
	attempt_failed(flow, BPF_CORE_READ(listener, __sk_common.skc_net.net, ns.inum),
		       flow->local_port, buffer_ifindex(skb), FAILURE_ACCEPT_QUEUE_OVERFLOW);
}

/* A SYN arrived, in tcp_conn_request(). */
static __always_inline void syn_arrived(const struct sock *listener, const struct sk_buff *skb)
{
	struct segment segment;

	if (accept_queue_full(listener) && read_segment(skb, &segment))
		turned_away(listener, skb, &segment.flow);
}

/* The ACK of a handshake is about to make a socket, in tcp_v4/6_syn_recv_sock(). */
static __always_inline void ack_arrived(const struct sock *listener, const struct sk_buff *skb,
					const struct request_sock *request, __u16 family)
{
	struct flow flow;

	if (!accept_queue_full(listener))
		return;
	/* IPv6's function hands IPv4 on an IPv6 socket to IPv4's, which sees it too. */
	if (BPF_CORE_READ(request, __req_common.skc_family) != family)
		return;
	socket_flow_checked((const void *)request, &flow);
	turned_away(listener, skb, &flow);
}

#endif
