// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The socket vantage point: inbound connections, as the kernel's sockets show them.
 *
 *   inet_sock_set_state  -> state
 *   tcp_destroy_sock     -> destroy
 *   tcp_receive_reset, tcp_send_reset, tcp_retransmit_skb,
 *   tcp_retransmit_synack, kfree_skb   -> counters per port, failed attempts
 *   security_sock_graft, or sys_exit_accept{,4}    -> who accepted, and when
 *   tcp_conn_request, tcp_v4/6_syn_recv_sock       -> overflows of the accept queue
 *   sched_process_exec, cgroup_attach_task         -> owners that changed
 *
 * Why destroy: since 6.1 (commit 05b24ff9b2cf) the kernel does not run a program inside
 * itself on one CPU, but skips the inner run (recursion_misses). A softirq may interrupt a
 * process in the middle of the state hook, and then only the state hook is skipped. A missed
 * end is found when the socket is destroyed, a missed beginning at accept or when the server
 * closes. What a process does with its own socket is never the inner run, so no listener
 * and no FIN of the server is missed. One case stays unknown and is not counted: the
 * beginning was missed, and the connection is reset before a process accepts it. If
 * accept has no hook, the same holds until the server closes.
 *
 * One kernel, a 6.18 without kprobes and fentry, ran no program of this object while
 * process 1 was current, not even in a softirq on top of it. A CLOSE missed there is
 * counted as lost, stale.
 *
 * Why skc_num is never read at CLOSE: tcp_set_state() unhashes the socket before
 * the tracepoint, so the tuple is the one kept from ESTABLISHED.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "acceptqueue.h"
#include "closing.h"
#include "connections.h"
#include "drops.h"
#include "emit.h"
#include "failed.h"
#include "filter.h"
#include "handshake.h"
#include "listeners.h"
#include "listening.h"
#include "maps.h"
#include "opening.h"
#include "ports.h"
#include "process.h"
#include "records.h"
#include "refusals.h"
#include "scope.h"
#include "segment.h"
#include "socket.h"
#include "source.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* -- beginning and end ---------------------------------------------------------- */

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state, struct sock *sk, int oldstate, int newstate)
{
	/* A TCP Fast Open child may leave it by a FIN of the server, or close. */
	if (oldstate == TCP_SYN_RECV)
		open_connection(sk, newstate);
	switch (newstate) {
	case TCP_FIN_WAIT2:
		if (oldstate != newstate)
			break;
		/* fallthrough */
	case TCP_FIN_WAIT1:
	case TCP_LAST_ACK:
		follow_fin(sk, newstate);
		break;
	case TCP_CLOSE:
		if (oldstate == TCP_LISTEN)
			close_listener(sk);
		else
			close_connection(sk, oldstate);
		break;
	case TCP_LISTEN:
		open_listener(sk);
		break;
	}
	return 0;
}

/* Once per socket, after CLOSE. If the connection still has an entry, CLOSE was missed. */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(destroy, struct sock *sk)
{
	close_connection(sk, STATE_UNKNOWN);
	return 0;
}

/* -- resets, retransmits, drops ------------------------------------------------ */

/* The tracepoint may pass a TIME_WAIT or request socket: the address is only a key. */
SEC("raw_tp/tcp_retransmit_skb")
int retransmit(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 key = ctx->args[0];
	const struct sk_buff *skb = (void *)ctx->args[1];
	struct connection *connection = bpf_map_lookup_elem(&connections, &key);
	const struct tcp_skb_cb *tcp;

	if (!connection)
		return 0;
	/* A super-packet counts as its segments, as the kernel counts them. */
	tcp = (const void *)skb + bpf_core_field_offset(struct sk_buff, cb);
	count_connection(connection, PORT_RETRANSMIT, BPF_CORE_READ(tcp, tcp_gso_segs));
	return 0;
}

SEC("raw_tp/tcp_retransmit_synack")
int retransmit_synack(struct bpf_raw_tracepoint_args *ctx)
{
	struct request_sock *request = (void *)ctx->args[1];
	struct port_counter_key key = { .count = PORT_SYNACK_RETRANSMIT };
	struct flow flow;

	read_socket_flow_checked((void *)request, &flow);
	/* skc_num of a request is the port of the listener. */
	key.netns = BPF_CORE_READ(request, __req_common.skc_net.net, ns.inum);
	key.port = flow.local_port;
	key.family = flow_family(&flow);
	if (!is_flow_selected(&flow) || !is_listening_port(key.netns, key.port))
		return 0;
	count_port(&key, 1);
	if (!has_deferred_accept((void *)ctx->args[0]))
		note_repeated_handshake(request, &flow, key.netns);
	return 0;
}

SEC("raw_tp/tcp_receive_reset")
int receive_reset(struct bpf_raw_tracepoint_args *ctx)
{
	const struct sock *sk = (void *)ctx->args[0];
	__u64 key = (__u64)sk;
	struct connection *connection = bpf_map_lookup_elem(&connections, &key);

	if (!connection ||
	    is_late_data_reset(connection, sk, BPF_CORE_READ(sk, __sk_common.skc_state)))
		return 0;
	connection->flags |= CONNECTION_RESET_RECEIVED;
	count_connection(connection, PORT_RESET_RECEIVED, 1);
	return 0;
}

/*
 * Since 6.10 (commit 19822a980e19) the tracepoint also fires without a socket: for the
 * answer to a segment that no socket expects. A raw tracepoint, because there the socket is
 * a number. Some verifiers assume that a BTF pointer is never NULL, and remove the test.
 */
SEC("raw_tp/tcp_send_reset")
int send_reset(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 key = ctx->args[0];
	const struct sk_buff *skb = (void *)ctx->args[1];
	struct net_device *dev;
	struct segment segment;
	__u32 netns;

	if (key) {
		struct connection *connection = bpf_map_lookup_elem(&connections, &key);

		if (connection) {
			connection->flags |= CONNECTION_RESET_SENT;
			count_connection(connection, PORT_RESET_SENT, 1);
		}
		/* Which socket sends a reset can't be seen at egress. */
		if (count_sources && resets_at_egress && skb && read_segment(skb, &segment))
			note_refusal(&segment.flow, segment.acknowledged);
		/* A listener answers what does not begin a connection. */
		if (!count_sources || connection ||
		    BPF_CORE_READ((const struct sock *)key, __sk_common.skc_state) != TCP_LISTEN)
			return 0;
	}
	if (!skb || !read_segment(skb, &segment))
		return 0;
	if (count_sources)
		count_source_reset((const struct sock *)key, skb, &segment);
	if (key)
		return 0;
	if (tracepoint_reports_refused && !(segment.flags & TCP_ACK))
		note_refusal(&segment.flow, segment.answer);
	if (!is_flow_selected(&segment.flow))
		return 0;
	if ((segment.flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return 0;
	dev = BPF_CORE_READ(skb, dev);
	if (!is_device_in_scope(dev))
		return 0;
	netns = BPF_CORE_READ(dev, nd_net.net, ns.inum);
	/* TC tracks attempts to a listening port, even at another address. */
	if (track_half_open)
		forget_attempt(&segment.flow, netns);
	report_failed_attempt(&segment.flow, netns, 0, buffer_ifindex(skb), FAILURE_REFUSED);
	return 0;
}

/* Whether the socket of the buffer is its sender: the segment was outbound. */
static __always_inline bool is_sender(const struct sock *sk, const struct flow *inbound)
{
	return BPF_CORE_READ(sk, __sk_common.skc_num) == inbound->remote_port &&
	       BPF_CORE_READ(sk, __sk_common.skc_dport) == bpf_htons(inbound->local_port);
}

/* With a reason since 5.17 (commit c504e5c2f964); not loaded before. */
SEC("raw_tp/kfree_skb")
int drop(struct bpf_raw_tracepoint_args *ctx)
{
	const struct sk_buff *skb = (void *)ctx->args[0];
	struct port_counter_key key = { .count = PORT_DROP };
	__u64 reason = ctx->args[2];
	struct segment segment;
	struct net_device *dev;
	struct sock *sk;

	if (reason < 256 && ordinary_reasons[reason])
		return 0;
	/* Most inbound SYNs have no socket yet; buffers in the queue of a socket no device. */
	sk = READ_AS(struct sk_buff, skb, sk);
	dev = NULL;
	if (!sk) {
		dev = READ_AS(struct sk_buff, skb, dev);
		/* Neither: a socket took it in, like the last segment of most connections. */
		if (!dev)
			return 0;
	}
	if (!read_segment(skb, &segment) || !is_flow_selected(&segment.flow))
		return 0;
	if (sk && is_sender(sk, &segment.flow))
		return 0;
	if (sk)
		key.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	else
		key.netns = BPF_CORE_READ(dev, nd_net.net, ns.inum);
	if (!is_listening_port(key.netns, segment.flow.local_port))
		return 0;
	key.port = segment.flow.local_port;
	key.family = flow_family(&segment.flow);
	key.detail = reason;
	if (is_taken_in_order(reason, ctx->args[1], key.family == 6))
		return 0;
	count_port(&key, 1);
	return 0;
}

/* -- the accept queue ----------------------------------------------------------- */

/*
 * Each of these facts has several hooks. User space attaches the best one that the kernel and
 * the privileges allow: fentry, kprobe.multi, kprobe, and for accept the exits of the system
 * calls. kprobe.multi is the kprobe program with another attach type.
 */

/* Every accept() ends with sock_graft(). */
SEC("fentry/security_sock_graft")
int BPF_PROG(graft_fentry, struct sock *sk)
{
	accept_connection(tcp_socket(sk));
	return 0;
}

SEC("kprobe/security_sock_graft")
int graft_kprobe(struct pt_regs *ctx)
{
	accept_connection(tcp_socket((void *)FUNCTION_ARGUMENT_1(ctx)));
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_accept")
int accept(struct trace_event_raw_sys_exit *ctx)
{
	accept_descriptor(ctx->ret);
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_accept4")
int accept4(struct trace_event_raw_sys_exit *ctx)
{
	accept_descriptor(ctx->ret);
	return 0;
}

SEC("fentry/tcp_conn_request")
int BPF_PROG(syn_fentry, const void *rsk_ops, const void *af_ops, struct sock *sk,
	     struct sk_buff *skb)
{
	check_syn(sk, skb);
	return 0;
}

SEC("kprobe/tcp_conn_request")
int syn_kprobe(struct pt_regs *ctx)
{
	check_syn((void *)FUNCTION_ARGUMENT_3(ctx), (void *)FUNCTION_ARGUMENT_4(ctx));
	return 0;
}

SEC("fentry/tcp_v4_syn_recv_sock")
int BPF_PROG(ack4_fentry, const struct sock *sk, struct sk_buff *skb, struct request_sock *req)
{
	check_ack(sk, skb, req, AF_INET);
	return 0;
}

SEC("kprobe/tcp_v4_syn_recv_sock")
int ack4_kprobe(struct pt_regs *ctx)
{
	check_ack((void *)FUNCTION_ARGUMENT_1(ctx), (void *)FUNCTION_ARGUMENT_2(ctx),
		  (void *)FUNCTION_ARGUMENT_3(ctx), AF_INET);
	return 0;
}

SEC("fentry/tcp_v6_syn_recv_sock")
int BPF_PROG(ack6_fentry, const struct sock *sk, struct sk_buff *skb, struct request_sock *req)
{
	check_ack(sk, skb, req, AF_INET6);
	return 0;
}

SEC("kprobe/tcp_v6_syn_recv_sock")
int ack6_kprobe(struct pt_regs *ctx)
{
	check_ack((void *)FUNCTION_ARGUMENT_1(ctx), (void *)FUNCTION_ARGUMENT_2(ctx),
		  (void *)FUNCTION_ARGUMENT_3(ctx), AF_INET6);
	return 0;
}

/* -- owners that changed --------------------------------------------------------- */

/* Cheap beside execve(2) and a write to cgroup.procs. */

SEC("raw_tp/sched_process_exec")
int exec(struct bpf_raw_tracepoint_args *ctx)
{
	update_process((void *)ctx->args[0]);
	return 0;
}

/* The current process is the one that moves another. */
SEC("raw_tp/cgroup_attach_task")
int cgroup_move(struct bpf_raw_tracepoint_args *ctx)
{
	update_process((void *)ctx->args[2]);
	return 0;
}
