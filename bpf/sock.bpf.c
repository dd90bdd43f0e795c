// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The socket vantage point: what the kernel's sockets tell of inbound connections.
 *
 *   inet_sock_set_state  -> state_arrival, state_local, state_close
 *   tcp_receive_reset, tcp_send_reset, tcp_retransmit_skb,
 *   tcp_retransmit_synack, kfree_skb   -> counters per port, failed attempts
 *   sys_exit_accept{,4}                -> who accepted, and when
 *   iterators                          -> what was there before us, live figures
 *
 * Why three programs on one tracepoint: the kernel does not run a program inside
 * itself on one CPU, it skips the inner run (recursion_misses). A softirq may
 * interrupt a process in the middle of the hook, so transitions that a packet
 * causes and those that a system call causes are handled by different programs;
 * each leaves at once when the transition is another's.
 *
 * Why skc_num is never read at CLOSE: tcp_set_state() unhashes the socket before
 * the tracepoint, so the tuple is the one kept from ESTABLISHED.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "emit.h"
#include "filter.h"
#include "maps.h"
#include "process.h"
#include "records.h"
#include "socket.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile bool emit_open;
const volatile bool track_half_open;

/*
 * Inbound connections by socket address. The state hook inserts at ESTABLISHED and
 * deletes at CLOSE, the scans insert what was open before us, user space deletes
 * entries whose socket the live iterator finds gone. Full: the connection is
 * counted as lost and not followed. Size set at load.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, __u64);
	__type(value, struct connection);
} connections SEC(".maps");

enum id_space {
	ID_OPENED = 0,
	ID_ADOPTED, /* apart, for a scan can be interrupted by the state hook */
	ID_SPACES,
};

struct ids {
	__u64 next[ID_SPACES];
};

/* Connection ids given out per CPU; see next_id. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ids);
} connection_ids SEC(".maps");

/* CPU and a count per CPU: unique without an atomic fetch, which needs 5.12. */
static __always_inline __u64 next_id(enum id_space space)
{
	__u32 zero = 0;
	struct ids *ids = bpf_map_lookup_elem(&connection_ids, &zero);

	if (!ids)
		return 0;
	return (__u64)space << 63 | (__u64)bpf_get_smp_processor_id() << 48 | ++ids->next[space];
}

/* -- listeners ----------------------------------------------------------------- */

static __always_inline void mark_listening(__u32 netns, __u16 port)
{
	struct port_key key = { .netns = netns, .port = port };
	__u32 one = 1, *slot;

	bpf_map_update_elem(&listening_ports, &key, &one, BPF_ANY);
	slot = bpf_map_lookup_elem(&namespace_slots, &netns);
	if (slot) {
		struct port_table *table = bpf_map_lookup_elem(&port_tables, slot);

		if (table)
			table->flags[port] |= PORT_LISTENING;
	}
}

static __always_inline void listen_opened(const struct sock *sk)
{
	const struct sock_common *common = &sk->__sk_common;
	struct listen_record *record;
	__u32 netns = common->skc_net.net->ns.inum;
	struct owner owner = {};

	mark_listening(netns, common->skc_num);
	own_by_current(&owner, OWNER_LISTENER);
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		ledger_add(LEDGER_LOST_RING_LISTEN, 1);
		return;
	}
	record->head.kind = RECORD_LISTEN;
	record->head.netns = netns;
	record->head.time = bpf_ktime_get_boot_ns();
	record->sk = (__u64)sk;
	record->owner = owner;
	if (common->skc_family == AF_INET)
		map_ipv4(record->address, common->skc_rcv_saddr);
	else
		copy_ipv6(record->address, common->skc_v6_rcv_saddr.in6_u.u6_addr32);
	record->port = common->skc_num;
	record->family = common->skc_family;
	record->pad = 0;
	submit(record);
}

static __always_inline void listen_closed(const struct sock *sk)
{
	struct listen_record *record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);

	if (!record) {
		ledger_add(LEDGER_LOST_RING_LISTEN, 1);
		return;
	}
	__builtin_memset(record, 0, sizeof(*record));
	record->head.kind = RECORD_UNLISTEN;
	record->head.time = bpf_ktime_get_boot_ns();
	record->sk = (__u64)sk;
	submit(record);
}

/* -- open ---------------------------------------------------------------------- */

static __always_inline void send_open(const struct connection *connection)
{
	struct open_record *record;

	ledger_add(LEDGER_PRODUCED_OPEN, 1);
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		ledger_add(LEDGER_LOST_RING_OPEN, 1);
		return;
	}
	record->head.kind = RECORD_OPEN;
	record->head.netns = connection->netns;
	record->head.time = connection->opened;
	record->connection = *connection;
	submit(record);
}

static __always_inline void forget_half_open(const struct connection *connection)
{
	struct half_open_key key = { .netns = connection->netns };

	key.flow = connection->flow;
	bpf_map_delete_elem(&half_open_handshakes, &key);
}

static __always_inline void opened(struct sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct connection connection = {};
	__u64 key = (__u64)sk;

	/* MPTCP parents fire this tracepoint too, and are no tcp_sock. */
	if (!tp)
		return;
	socket_flow(sk, &connection.flow);
	if (!flow_selected(&connection.flow))
		return;
	connection.opened = bpf_ktime_get_boot_ns();
	connection.netns = sk->__sk_common.skc_net.net->ns.inum;
	connection.ifindex = socket_ifindex(sk);
	connection.handshake_rtt_us = tp->srtt_us >> 3;
	if (bpf_core_field_exists(tp->is_mptcp) && tp->is_mptcp)
		connection.flags |= CONNECTION_MPTCP;
	connection.id = next_id(ID_OPENED);

	ledger_add(LEDGER_OPENED, 1);
	if (track_half_open)
		forget_half_open(&connection);
	if (bpf_map_update_elem(&connections, &key, &connection, BPF_NOEXIST)) {
		/* The key stands there when a CLOSE was missed, or the map is full. */
		if (bpf_map_delete_elem(&connections, &key) == 0)
			ledger_add(LEDGER_LOST_STALE, 1);
		if (bpf_map_update_elem(&connections, &key, &connection, BPF_NOEXIST)) {
			ledger_add(LEDGER_LOST_MAP_FULL, 1);
			return;
		}
	}
	if (emit_open)
		send_open(&connection);
}

/* -- close --------------------------------------------------------------------- */

/* The order is design.md's: what was seen happening comes before what is inferred. */
static __always_inline __u32 close_reason(const struct connection *connection, const struct sock *sk, int oldstate)
{
	int error = sk->sk_err;

	if (connection->flags & CONNECTION_RESET_RECEIVED)
		return CLOSE_CLIENT_RESET;
	if (error == ECONNABORTED)
		return CLOSE_ABORTED;
	/* tcp_write_err() prefers the soft error that ICMP left to ETIMEDOUT. */
	if (error == ETIMEDOUT || (error && error == sk->sk_err_soft))
		return CLOSE_TIMEOUT;
	/* What tcp_reset() sets, for kernels where its tracepoint is out of reach. */
	if (error == ECONNRESET || (error == EPIPE && oldstate == TCP_CLOSE_WAIT))
		return CLOSE_CLIENT_RESET;
	if (!error && (oldstate == TCP_ESTABLISHED || oldstate == TCP_CLOSE_WAIT))
		return CLOSE_SERVER_RESET;
	if (connection->flags & CONNECTION_CLIENT_FIN)
		return CLOSE_CLIENT_FIN;
	if (connection->flags & CONNECTION_SERVER_FIN)
		return CLOSE_SERVER_FIN;
	return CLOSE_UNKNOWN;
}

static __always_inline void closed(struct sock *sk, int oldstate)
{
	__u64 key = (__u64)sk;
	struct connection *connection = bpf_map_lookup_elem(&connections, &key);
	struct close_record *record;
	struct tcp_sock *tp;

	if (!connection)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	/* Only a process that closes by reset is current here; a packet's victim is not. */
	if ((oldstate == TCP_ESTABLISHED || oldstate == TCP_CLOSE_WAIT) && !sk->sk_err)
		own_by_current(&connection->owner, OWNER_CLOSER);

	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		ledger_add(LEDGER_LOST_RING_CLOSE, 1);
		bpf_map_delete_elem(&connections, &key);
		return;
	}
	record->head.kind = RECORD_CLOSE;
	record->head.netns = connection->netns;
	record->head.time = bpf_ktime_get_boot_ns();
	record->connection = *connection;
	record->reason = close_reason(connection, sk, oldstate);
	record->error = sk->sk_err;
	socket_counters(tp, connection->flags & CONNECTION_FIN_SENT, &record->counters);
	submit(record);
	bpf_map_delete_elem(&connections, &key);
}

static __always_inline void fin(const struct sock *sk, __u32 first, __u32 also)
{
	__u64 key = (__u64)sk;
	struct connection *connection = bpf_map_lookup_elem(&connections, &key);

	if (!connection)
		return;
	if (!(connection->flags & (CONNECTION_CLIENT_FIN | CONNECTION_SERVER_FIN)))
		connection->flags |= first;
	connection->flags |= also;
	if (also & CONNECTION_FIN_SENT)
		own_by_current(&connection->owner, OWNER_CLOSER);
}

/* -- inet_sock_set_state ------------------------------------------------------- */

/* Transitions that a segment causes: the handshake's end, the client's FIN. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_arrival, struct sock *sk, int oldstate, int newstate)
{
	/* A TCP Fast Open child leaves SYN_RECV for FIN_WAIT1 when closed early. */
	if (oldstate == TCP_SYN_RECV && newstate == TCP_ESTABLISHED)
		opened(sk);
	else if (newstate == TCP_CLOSE_WAIT)
		fin(sk, CONNECTION_CLIENT_FIN, 0);
	return 0;
}

/* Transitions that a system call of the server's causes. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_local, struct sock *sk, int oldstate, int newstate)
{
	if (newstate == TCP_LISTEN) {
		if (bpf_skc_to_tcp_sock(sk))
			listen_opened(sk);
		return 0;
	}
	if (newstate != TCP_FIN_WAIT1 && newstate != TCP_LAST_ACK)
		return 0;
	if (oldstate == TCP_SYN_RECV)
		opened(sk);
	fin(sk, CONNECTION_SERVER_FIN, CONNECTION_FIN_SENT);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_close, struct sock *sk, int oldstate, int newstate)
{
	if (newstate != TCP_CLOSE)
		return 0;
	if (oldstate == TCP_LISTEN) {
		if (bpf_skc_to_tcp_sock(sk))
			listen_closed(sk);
		return 0;
	}
	closed(sk, oldstate);
	return 0;
}

/* -- resets, retransmits, drops ------------------------------------------------ */

static __always_inline __u8 flow_family(const struct flow *flow)
{
	const __u32 *words = (const __u32 *)flow->local;

	return !words[0] && !words[1] && words[2] == bpf_htonl(0xffff) ? 4 : 6;
}

static __always_inline void count_connection(const struct connection *connection, __u8 count)
{
	struct port_counter_key key = {
		.netns = connection->netns,
		.port = connection->flow.local_port,
		.family = flow_family(&connection->flow),
		.count = count,
	};

	count_port(&key);
}

/* The tracepoint may pass a TIME_WAIT or request socket: the address is only a key. */
SEC("raw_tp/tcp_retransmit_skb")
int retransmit(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 key = ctx->args[0];
	struct connection *connection = bpf_map_lookup_elem(&connections, &key);

	if (connection)
		count_connection(connection, PORT_RETRANSMIT);
	return 0;
}

SEC("raw_tp/tcp_retransmit_synack")
int retransmit_synack(struct bpf_raw_tracepoint_args *ctx)
{
	struct request_sock *request = (void *)ctx->args[1];
	struct port_counter_key key = { .count = PORT_SYNACK_RETRANSMIT };
	struct flow flow;

	socket_flow_checked((void *)request, &flow);
	/* A request's own skc_num is the listener's port. */
	key.netns = BPF_CORE_READ(request, __req_common.skc_net.net, ns.inum);
	key.port = flow.local_port;
	key.family = flow_family(&flow);
	if (flow_selected(&flow) && listening(key.netns, key.port))
		count_port(&key);
	return 0;
}

SEC("raw_tp/tcp_receive_reset")
int receive_reset(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 key = ctx->args[0];
	struct connection *connection = bpf_map_lookup_elem(&connections, &key);

	if (!connection)
		return 0;
	connection->flags |= CONNECTION_RESET_RECEIVED;
	count_connection(connection, PORT_RESET_RECEIVED);
	return 0;
}

/* What a drop or a socketless reset needs of a segment's headers. */
struct segment {
	struct flow flow; /* local = destination: the segment is inbound */
	__u8 flags;
};

struct ipv4_header {
	__u8 version_ihl;
	__u8 tos;
	__be16 total_length;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__u16 checksum;
	__be32 source;
	__be32 destination;
};

struct ipv6_header {
	__be32 version_class_label;
	__be16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	__u32 source[4];
	__u32 destination[4];
};

struct tcp_header {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledgment;
	__u8 offset;
	__u8 flags;
	__be16 window;
};

#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_ACK 0x10
#define IP_OFFSET 0x1fff

/* Headers of a buffer that may be at any stage of its way; false if not TCP. */
static __always_inline bool read_segment(const struct sk_buff *skb, struct segment *segment)
{
	const unsigned char *network = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header);
	struct tcp_header tcp;
	__u8 version = 0;
	__u32 length;

	bpf_probe_read_kernel(&version, sizeof(version), network);
	if (version >> 4 == 4) {
		struct ipv4_header ip;

		if (bpf_probe_read_kernel(&ip, sizeof(ip), network) || ip.protocol != IPPROTO_TCP ||
		    ip.fragment & bpf_htons(IP_OFFSET))
			return false;
		length = (ip.version_ihl & 15) * 4;
		map_ipv4(segment->flow.local, ip.destination);
		map_ipv4(segment->flow.remote, ip.source);
	} else if (version >> 4 == 6) {
		struct ipv6_header ip;

		if (bpf_probe_read_kernel(&ip, sizeof(ip), network) || ip.next_header != IPPROTO_TCP)
			return false;
		length = sizeof(ip);
		copy_ipv6(segment->flow.local, ip.destination);
		copy_ipv6(segment->flow.remote, ip.source);
	} else {
		return false;
	}
	if (bpf_probe_read_kernel(&tcp, sizeof(tcp), network + length))
		return false;
	segment->flow.local_port = bpf_ntohs(tcp.destination);
	segment->flow.remote_port = bpf_ntohs(tcp.source);
	segment->flags = tcp.flags;
	return true;
}

static __always_inline void refused(const struct segment *segment, __u32 netns, __u32 ifindex)
{
	struct port_counter_key key = {
		.netns = netns,
		.detail = FAILURE_REFUSED,
		.family = flow_family(&segment->flow),
		.count = PORT_FAILED,
	};
	__u64 now = bpf_ktime_get_boot_ns();
	struct failed_record *record;

	count_port(&key);
	ledger_add(LEDGER_PRODUCED_FAILED, 1);
	if (!within_rate(RATE_FAILED, failed_per_second, now)) {
		ledger_add(LEDGER_LOST_RATE_FAILED, 1);
		return;
	}
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		ledger_add(LEDGER_LOST_RING_FAILED, 1);
		return;
	}
	record->head.kind = RECORD_FAILED;
	record->head.netns = netns;
	record->head.time = now;
	record->flow = segment->flow;
	record->failure = FAILURE_REFUSED;
	record->ifindex = ifindex;
	record->pad = 0;
	submit(record);
}

/*
 * Since 6.10 (commit edefba66d929) the tracepoint also fires without a socket: the
 * answer to a segment that nobody waits for. A raw tracepoint, because there the
 * socket is a number: as a BTF pointer some verifiers hold it to be never NULL and
 * drop the test.
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

		if (connection)
			count_connection(connection, PORT_RESET_SENT);
		return 0;
	}
	if (!skb || !read_segment(skb, &segment) || !flow_selected(&segment.flow))
		return 0;
	if ((segment.flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) != TCP_FLAG_SYN)
		return 0;
	dev = BPF_CORE_READ(skb, dev);
	netns = BPF_CORE_READ(dev, nd_net.net, ns.inum);
	refused(&segment, netns, BPF_CORE_READ(skb, skb_iif));
	return 0;
}

/* kfree_skb has a reason since 5.17 (commit c504e5c2f964). */
const volatile bool drops_have_reasons;
/* By reason number, from the kernel's own names: 1 = happens in good order. */
const volatile __u8 ordinary_reasons[256];

SEC("raw_tp/kfree_skb")
int drop(struct bpf_raw_tracepoint_args *ctx)
{
	const struct sk_buff *skb = (void *)ctx->args[0];
	struct port_counter_key key = { .count = PORT_DROP };
	struct segment segment;
	struct net_device *dev;
	struct sock *sk;

	if (drops_have_reasons) {
		key.detail = ctx->args[2];
		if (key.detail < 256 && ordinary_reasons[key.detail])
			return 0;
	}
	if (!read_segment(skb, &segment) || !flow_selected(&segment.flow))
		return 0;
	/* Most inbound SYNs have no socket yet; in a socket's queue there is no device. */
	sk = BPF_CORE_READ(skb, sk);
	dev = BPF_CORE_READ(skb, dev);
	if (sk)
		key.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	else
		key.netns = BPF_CORE_READ(dev, nd_net.net, ns.inum);
	if (!listening(key.netns, segment.flow.local_port))
		return 0;
	key.port = segment.flow.local_port;
	key.family = flow_family(&segment.flow);
	count_port(&key);
	return 0;
}

/* -- accept -------------------------------------------------------------------- */

static __always_inline struct sock *file_socket(struct file *file)
{
	struct socket *socket;
	struct sock *sk;

	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	sk = BPF_CORE_READ(socket, sk);
	/* The counters are the first subflow's, which an MPTCP parent points to. */
	if (BPF_CORE_READ(sk, sk_protocol) == IPPROTO_MPTCP && bpf_core_type_exists(struct mptcp_sock))
		sk = BPF_CORE_READ((struct mptcp_sock *)sk, first);
	return BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP ? sk : NULL;
}

static __always_inline int accepted(long fd)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct connection *connection;
	struct file **files, *file = NULL;
	__u64 key;

	if (fd < 0)
		return 0;
	files = BPF_CORE_READ(task, files, fdt, fd);
	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	key = (__u64)file_socket(file);
	connection = bpf_map_lookup_elem(&connections, &key);
	if (!connection)
		return 0;
	connection->accepted = bpf_ktime_get_boot_ns();
	own_by_current(&connection->owner, OWNER_ACCEPTOR);
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_accept")
int accept(struct trace_event_raw_sys_exit *ctx)
{
	return accepted(ctx->ret);
}

SEC("tracepoint/syscalls/sys_exit_accept4")
int accept4(struct trace_event_raw_sys_exit *ctx)
{
	return accepted(ctx->ret);
}

/* -- scans: what was there before us ------------------------------------------- */

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
	if (!sk || BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_LISTEN)
		return 0;
	listener->head.kind = RECORD_LISTEN;
	listener->head.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	listener->head.time = bpf_ktime_get_boot_ns();
	listener->sk = (__u64)sk;
	listener->port = BPF_CORE_READ(sk, __sk_common.skc_num);
	listener->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (listener->family == AF_INET)
		map_ipv4(listener->address, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
	else
		BPF_CORE_READ_INTO(&listener->address, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32);
	if (attribute_process) {
		task_key(task, &listener->owner.process);
		listener->owner.source = OWNER_LISTENER;
		describe_process(task, &listener->owner.process, &record.process);
	}
	mark_listening(listener->head.netns, listener->port);
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

/* Inserts a connection that was open before us; false if it is none, or known. */
static __always_inline bool adopt(const struct sock *sk, struct task_struct *holder)
{
	struct connection connection = { .flags = adopted_flags(sk) };
	__u64 key = (__u64)sk;
	long error;

	if (!connection.flags)
		return false;
	socket_flow_checked(sk, &connection.flow);
	connection.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	if (!listening(connection.netns, connection.flow.local_port) || !flow_selected(&connection.flow))
		return false;
	if (bpf_map_lookup_elem(&connections, &key))
		return false;
	connection.opened = bpf_ktime_get_boot_ns();
	connection.ifindex = socket_ifindex(sk);
	if (bpf_core_field_exists(struct tcp_sock, is_mptcp) && BPF_CORE_READ((struct tcp_sock *)sk, is_mptcp))
		connection.flags |= CONNECTION_MPTCP;
	if (attribute_process && holder) {
		task_key(holder, &connection.owner.process);
		connection.owner.source = OWNER_HOLDER;
	}
	connection.id = next_id(ID_ADOPTED);
	error = bpf_map_update_elem(&connections, &key, &connection, BPF_NOEXIST);
	/* The state hook was faster: it is counted there. */
	if (error == -17 /* EEXIST */)
		return false;
	ledger_add(LEDGER_ADOPTED, 1);
	if (error)
		ledger_add(LEDGER_LOST_MAP_FULL, 1);
	return !error;
}

SEC("iter/task_file")
int scan_connections(struct bpf_iter__task_file *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;
	struct process_record process = {};
	struct file *file = ctx->file;
	struct process_key key;
	struct sock *sk;

	if (!task || !file)
		return 0;
	sk = file_socket(file);
	if (!sk || !adopt(sk, task) || !attribute_process)
		return 0;
	task_key(task, &key);
	describe_process(task, &key, &process);
	bpf_seq_write(seq, &process, sizeof(process));
	return 0;
}

/* Sockets that no process holds: not accepted yet, orphans, further subflows. */
SEC("iter/tcp")
int scan_orphans(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;

	if (common && bpf_skc_to_tcp_sock(common))
		adopt((struct sock *)common, NULL);
	return 0;
}

/* -- live figures -------------------------------------------------------------- */

/*
 * One look at every connection, whatever its namespace. The entry can be reused
 * and the socket freed while we look: both are checked again after the reads.
 */
SEC("iter/bpf_map_elem")
int snapshot(struct bpf_iter__bpf_map_elem *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct connection *connection = ctx->value;
	struct live_record live = {};
	__u64 *key = ctx->key;
	struct tcp_sock *tp;
	struct flow now;

	if (!key || !connection)
		return 0;
	live.sk = *key;
	live.connection = *connection;
	tp = (struct tcp_sock *)live.sk;
	socket_counters_checked(tp, live.connection.flags & CONNECTION_FIN_SENT, &live.counters);
	socket_flow_checked((struct sock *)tp, &now);
	if (now.remote_port != live.connection.flow.remote_port || now.local_port != live.connection.flow.local_port)
		live.connection.flags |= CONNECTION_GONE;
	if (connection->id != live.connection.id)
		return 0;
	bpf_seq_write(seq, &live, sizeof(live));
	return 0;
}

/*
 * bpf2go finds types in the object's BTF, which holds only what a map, a global or
 * a program's signature names. One pointer names the rest.
 */
const union exported_types {
	enum record_kind record_kind;
	enum close_reason close_reason;
	enum failure failure;
	enum owner_source owner_source;
	enum connection_flag connection_flag;
	enum ledger_entry ledger_entry;
	enum port_count port_count;
	struct open_record open;
	struct close_record close;
	struct live_record live;
	struct failed_record failed;
	struct process_record process;
	struct scan_record scan;
	struct packet_record packet;
	struct half_open_key half_open_key;
	struct half_open half_open;
} *exported_types __attribute__((unused));
