// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What only a connection's socket knows: where the connection begins, if our SYN-ACK found no way
 * or lost it, and whether the server accepts that it ends. The first is asked for data of a
 * connection without an entry, the second for a FIN or an RST of a client.
 */
#ifndef EBPF_TCP_INSPECT_BEGIN_H
#define EBPF_TCP_INSPECT_BEGIN_H

#include "kernel.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "addresses.h"
#include "segment_of.h"

/* Returns the size of what it fills. */
static __always_inline __u32 fill_tuple(const struct segment *segment, struct bpf_sock_tuple *tuple)
{
	__be32 local = segment->local.halves[1] >> 32, remote = segment->remote.halves[1] >> 32;

	if (!segment->local.halves[0] && segment->local.halves[1] == mapped(local).halves[1]) {
		tuple->ipv4.saddr = remote;
		tuple->ipv4.daddr = local;
		tuple->ipv4.sport = segment->remote_port;
		tuple->ipv4.dport = segment->local_port;
		return sizeof(tuple->ipv4);
	}
	*(struct address *)tuple->ipv6.saddr = segment->remote;
	*(struct address *)tuple->ipv6.daddr = segment->local;
	tuple->ipv6.sport = segment->remote_port;
	tuple->ipv6.dport = segment->local_port;
	return sizeof(tuple->ipv6);
}

/* The socket of a segment to the server, to be released; NULL if there is none. */
static __always_inline struct bpf_sock *find_socket(struct __sk_buff *skb,
						    const struct segment *segment)
{
	struct bpf_sock_tuple tuple = {};

	if (fill_tuple(segment, &tuple) == sizeof(tuple.ipv4))
		return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
}

/*
 * Says in segment->first where the stream to the server begins, and returns true, if nothing
 * of it was received yet.
 */
static __noinline bool find_beginning(struct __sk_buff *skb, struct segment *segment)
{
	struct bpf_sock *sk = find_socket(skb, segment);
	struct tcp_request_sock *half_open;
	struct bpf_tcp_sock *tcp;
	bool begins = false;

	if (!sk)
		return false;
	half_open = bpf_skc_to_tcp_request_sock(sk);
	tcp = bpf_tcp_sock(sk);
	if (half_open) {
		segment->first = half_open->rcv_isn + 1;
		begins = true;
	} else if (tcp && !tcp->bytes_received) {
		segment->first = tcp->rcv_nxt;
		begins = true;
	}
	bpf_sk_release(sk);
	/* A listener, or the end of another connection. */
	return begins && !exceeds_window(segment, segment->sequence - segment->first);
}

/*
 * Whether a FIN or an RST of a client is within the server's window. Anybody can send others,
 * and the server drops them (RFC 9293, 3.10.7.4), so they end nothing. Our own need no look.
 *
 * An RST in the window that is not at its beginning only causes a question (RFC 5961), unless
 * segments before it wait in the socket's backlog. So it is taken for an end.
 */
static __noinline bool is_acceptable_end(struct __sk_buff *skb, const struct segment *segment)
{
	__u32 end = segment->sequence + segment->payload;
	struct bpf_sock *sk = find_socket(skb, segment);
	bool acceptable = true;
	struct tcp_sock *tcp;

	if (!sk)
		return true; /* a connection that is over for the server */
	tcp = bpf_skc_to_tcp_sock(sk);
	if (tcp && sk->state != TCP_LISTEN)
		/* An RST behind the client's FIN has the number of the FIN. */
		acceptable = !is_before(end + 1, tcp->rcv_wup) &&
			     !is_before(tcp->rcv_wup + tcp->rcv_wnd, segment->sequence);
	bpf_sk_release(sk);
	return acceptable;
}

#endif
