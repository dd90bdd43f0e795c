// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Where a connection begins, if our SYN-ACK found no way or lost it: its socket knows. That is
 * asked only for data of a connection without an entry.
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

/*
 * Says in segment->first where the stream to the server begins, and returns true, if nothing
 * of it was received yet.
 */
static __noinline bool find_beginning(struct __sk_buff *skb, struct segment *segment)
{
	struct bpf_sock_tuple tuple = {};
	struct tcp_request_sock *half_open;
	struct bpf_tcp_sock *tcp;
	struct bpf_sock *sk;
	bool begins = false;

	if (fill_tuple(segment, &tuple) == sizeof(tuple.ipv4))
		sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
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

#endif
