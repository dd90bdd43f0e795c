// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What a socket holds: the flow, the interface, the counters of tcp_sock. */
#ifndef EBPF_TCP_SOCKET_H
#define EBPF_TCP_SOCKET_H

#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "records.h"

extern void *bpf_rdonly_cast(const void *pointer, __u32 type) __ksym __weak;

/*
 * A member of a struct that a number points to. If the kernel accepts a cast to the type
 * (6.2, commit a35b9af4ec2c), this is one load, which yields 0 if nothing is mapped. On
 * older kernels it is a call.
 */
#define READ_AS(type, pointer, member)                                                             \
	(bpf_rdonly_cast                                                                           \
		 ? ((type *)bpf_rdonly_cast(pointer, bpf_core_type_id_kernel(type)))->member       \
		 : BPF_CORE_READ((type *)(pointer), member))

/*
 * A member that only decorates a record, by a direct load: 0 on a kernel that lacks it. User
 * space then omits what it feeds (internal/probe/hook). Such a kernel refuses a program
 * that reads a missing member without this guard.
 */
#define DECORATION(pointer, member)                                                                \
	(bpf_core_field_exists((pointer)->member) ? (pointer)->member : 0)

/* The same, by READ_AS. */
#define DECORATION_AS(type, pointer, member)                                                       \
	(bpf_core_field_exists(((type *)0)->member) ? READ_AS(type, pointer, member) : 0)

/* Without CONFIG_IPV6, sockets have no IPv6 addresses. */
#define HAS_IPV6                                                                                   \
	(bpf_core_field_exists(struct sock_common, skc_v6_rcv_saddr) &&                            \
	 bpf_core_field_exists(struct sock_common, skc_v6_daddr))

/* Whether this kernel's sockets have addresses of a family. */
static __always_inline bool is_family_readable(__u16 family)
{
	return HAS_IPV6 || family == AF_INET;
}

static __always_inline void map_ipv4(__u8 to[16], __be32 address)
{
	__u32 *words = (__u32 *)to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = address;
}

static __always_inline void copy_ipv6(__u8 to[16], const __u32 from[4])
{
	__u32 *words = (__u32 *)to;

	words[0] = from[0];
	words[1] = from[1];
	words[2] = from[2];
	words[3] = from[3];
}

/* For a family that is not readable: the verifier requires that they are set. */
static __always_inline void clear_addresses(struct flow *flow)
{
	__builtin_memset(flow->local, 0, sizeof(flow->local));
	__builtin_memset(flow->remote, 0, sizeof(flow->remote));
}

/* Direct loads: sk must be a pointer that the verifier knows by BTF. */
static __always_inline void read_socket_flow(const struct sock *sk, struct flow *flow)
{
	const struct sock_common *common = &sk->__sk_common;

	if (common->skc_family == AF_INET) {
		map_ipv4(flow->local, common->skc_rcv_saddr);
		map_ipv4(flow->remote, common->skc_daddr);
	} else if (HAS_IPV6) {
		copy_ipv6(flow->local, common->skc_v6_rcv_saddr.in6_u.u6_addr32);
		copy_ipv6(flow->remote, common->skc_v6_daddr.in6_u.u6_addr32);
	} else {
		clear_addresses(flow);
	}
	flow->local_port = common->skc_num;
	flow->remote_port = bpf_ntohs(common->skc_dport);
}

/* The same for a pointer that came as a number: every load is checked. */
static __always_inline void read_socket_flow_checked(const struct sock *sk, struct flow *flow)
{
	if (READ_AS(struct sock, sk, __sk_common.skc_family) == AF_INET) {
		map_ipv4(flow->local, READ_AS(struct sock, sk, __sk_common.skc_rcv_saddr));
		map_ipv4(flow->remote, READ_AS(struct sock, sk, __sk_common.skc_daddr));
	} else if (HAS_IPV6) {
		BPF_CORE_READ_INTO(&flow->local, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32);
		BPF_CORE_READ_INTO(&flow->remote, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr32);
	} else {
		clear_addresses(flow);
	}
	flow->local_port = READ_AS(struct sock, sk, __sk_common.skc_num);
	flow->remote_port = bpf_ntohs(READ_AS(struct sock, sk, __sk_common.skc_dport));
}

/* The interface on which the last segment of the handshake arrived; 0 = unknown. */
static __always_inline __u32 socket_ifindex_checked(const struct sock *sk)
{
	/* struct sock has it since 5.16; before, struct inet_sock. */
	if (bpf_core_field_exists(struct sock, sk_rx_dst_ifindex))
		return READ_AS(struct sock, sk, sk_rx_dst_ifindex);
	if (bpf_core_field_exists(struct inet_sock, rx_dst_ifindex))
		return BPF_CORE_READ((const struct inet_sock *)sk, rx_dst_ifindex);
	return 0;
}

/* The same by a direct load. */
static __always_inline __u32 socket_ifindex(const struct sock *sk)
{
	if (bpf_core_field_exists(struct sock, sk_rx_dst_ifindex))
		return sk->sk_rx_dst_ifindex;
	return socket_ifindex_checked(sk);
}

/*
 * A FIN takes one sequence number, and the byte counters are differences of
 * sequence numbers. rx: SOCK_DONE shows that a FIN was received. tx: everything
 * that was sent is acknowledged, including the FIN.
 */
static __always_inline void discount_fins(__u64 *rx_bytes, __u64 *tx_bytes, unsigned long sk_flags,
					  bool fin_acknowledged)
{
	if ((sk_flags & (1UL << SOCK_DONE)) && *rx_bytes)
		--*rx_bytes;
	if (fin_acknowledged && *tx_bytes)
		--*tx_bytes;
}

/* Direct loads, for the state hook. */
static __always_inline void read_socket_counters(const struct tcp_sock *tp, bool fin_sent,
						 struct counters *to)
{
	to->rx_bytes = DECORATION(tp, bytes_received);
	to->tx_bytes = DECORATION(tp, bytes_acked);
	to->rx_segments = DECORATION(tp, segs_in);
	to->tx_segments = DECORATION(tp, segs_out);
	to->retransmits = DECORATION(tp, total_retrans);
	to->out_of_order = DECORATION(tp, rcv_ooopack);
	to->srtt_us = DECORATION(tp, srtt_us) >> 3;
	to->min_rtt_us = DECORATION(tp, rtt_min.s[0].v);
	/* ~0 means "no sample yet". */
	if (to->min_rtt_us == ~0U)
		to->min_rtt_us = 0;
	discount_fins(&to->rx_bytes, &to->tx_bytes,
		      DECORATION(tp, inet_conn.icsk_inet.sk.__sk_common.skc_flags),
		      fin_sent && DECORATION(tp, snd_una) == DECORATION(tp, write_seq));
}

/*
 * For sockets that may change meanwhile: every load is checked, and each touches another
 * cache line. So only the growing counters are read, and the members that concern FINs
 * only after one. The state is beside the ports, which the look compares.
 */
static __always_inline void read_socket_bytes_checked(const struct tcp_sock *tp, __u32 flags,
						      __u64 *rx_bytes, __u64 *tx_bytes)
{
	*rx_bytes = DECORATION_AS(struct tcp_sock, tp, bytes_received);
	*tx_bytes = DECORATION_AS(struct tcp_sock, tp, bytes_acked);
	if (READ_AS(struct sock, tp, __sk_common.skc_state) != TCP_ESTABLISHED)
		discount_fins(rx_bytes, tx_bytes,
			      DECORATION_AS(struct tcp_sock, tp,
					    inet_conn.icsk_inet.sk.__sk_common.skc_flags),
			      (flags & CONNECTION_FIN_SENT) &&
				      DECORATION_AS(struct tcp_sock, tp, snd_una) ==
					      DECORATION_AS(struct tcp_sock, tp, write_seq));
}

/* Segments with data that the socket received, processed or not. */
static __always_inline __u32 data_segments(const struct sock *sk)
{
	return DECORATION_AS(struct tcp_sock, sk, data_segs_in);
}

/* Whether the socket still has the ports of the flow; they are one load. */
static __always_inline bool has_ports(const struct sock *sk, const struct flow *flow)
{
	__u32 pair = READ_AS(struct sock, sk, __sk_common.skc_portpair);
	__be16 ports[2];

	__builtin_memcpy(ports, &pair, sizeof(pair));
	return bpf_ntohs(ports[0]) == flow->remote_port && ports[1] == flow->local_port;
}

/* The TCP socket behind a socket of a process; NULL for anything else. */
static __always_inline struct sock *tcp_socket(struct sock *sk)
{
	__u16 protocol = READ_AS(struct sock, sk, sk_protocol);

	/* The counters are those of the first subflow, to which an MPTCP parent points. */
	if (protocol == IPPROTO_MPTCP && bpf_core_field_exists(struct mptcp_sock, first)) {
		sk = READ_AS(struct mptcp_sock, sk, first);
		protocol = READ_AS(struct sock, sk, sk_protocol);
	}
	return protocol == IPPROTO_TCP ? sk : NULL;
}

/* The TCP socket behind an open file; NULL for anything else. */
static __always_inline struct sock *file_socket(struct file *file)
{
	struct socket *socket;
	struct inode *inode = READ_AS(struct file, file, f_inode);

	if ((READ_AS(struct inode, inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = READ_AS(struct file, file, private_data);
	return tcp_socket(READ_AS(struct socket, socket, sk));
}

#endif
