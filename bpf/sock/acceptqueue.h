// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The accept queue: who accepts connections from it, and its overflows. */
#ifndef EBPF_TCP_ACCEPTQUEUE_H
#define EBPF_TCP_ACCEPTQUEUE_H

#include "failed.h"
#include "filter.h"
#include "listeners.h"
#include "opening.h"
#include "scope.h"
#include "segment.h"

/* The current process accepted this socket. */
static __always_inline void accept_connection(const struct sock *sk)
{
	struct connection *connection;
	__u64 key = (__u64)sk;

	if (!key)
		return;
	connection = bpf_map_lookup_elem(&connections, &key);
	if (connection && !has_remote_port(connection, sk)) {
		/* The address is of an earlier connection, whose CLOSE was missed. */
		forget_stale(key);
		connection = NULL;
	}
	if (connection) {
		connection->accepted = bpf_ktime_get_boot_ns();
	} else {
		open_late_connection(sk, ID_LATE);
		connection = bpf_map_lookup_elem(&connections, &key);
		if (!connection)
			return;
	}
	set_current_owner(&connection->owner, OWNER_ACCEPTOR);
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

/* accept() returned a descriptor to the current process. */
static __always_inline void accept_descriptor(long fd)
{
	struct file **files, *file = NULL;

	if (fd < 0)
		return;
	files = current_files();
	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	accept_connection(file_socket(file));
}

/* As sk_acceptq_is_full(): a queue may hold one more than its limit. */
static __always_inline bool is_accept_queue_full(const struct sock *listener)
{
	return BPF_CORE_READ(listener, sk_ack_backlog) >
	       BPF_CORE_READ(listener, sk_max_ack_backlog);
}

static __always_inline void report_overflow(const struct sock *listener, const struct sk_buff *skb,
					    const struct flow *flow)
{
	count_overflow(listener);
	if (!is_socket_in_scope(listener) || !is_flow_selected(flow))
		return;
	report_failed_attempt(flow, BPF_CORE_READ(listener, __sk_common.skc_net.net, ns.inum),
			      flow->local_port, buffer_ifindex(skb), FAILURE_ACCEPT_QUEUE_OVERFLOW);
}

/* In tcp_conn_request(): a SYN arrived. */
static __always_inline void check_syn(const struct sock *listener, const struct sk_buff *skb)
{
	struct segment segment;

	if (is_accept_queue_full(listener) && read_segment(skb, &segment))
		report_overflow(listener, skb, &segment.flow);
}

/* In tcp_v4/6_syn_recv_sock(): the ACK of a handshake is about to create a socket. */
static __always_inline void check_ack(const struct sock *listener, const struct sk_buff *skb,
				      const struct request_sock *request, __u16 family)
{
	struct flow flow;

	if (!is_accept_queue_full(listener))
		return;
	/* For IPv4 on an IPv6 socket, the function for IPv6 calls that for IPv4. */
	if (BPF_CORE_READ(request, __req_common.skc_family) != family)
		return;
	read_socket_flow_checked((const void *)request, &flow);
	report_overflow(listener, skb, &flow);
}

#endif
