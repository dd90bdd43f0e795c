// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The beginning and the end of a listening socket. */
#ifndef EBPF_TCP_LISTENING_H
#define EBPF_TCP_LISTENING_H

#include "connections.h"
#include "emit.h"
#include "inbound.h"
#include "listeners.h"
#include "ports.h"
#include "process.h"
#include "scope.h"
#include "socket.h"

static __always_inline void describe_listen(struct listen_record *record, __u32 kind, __u64 sk,
					    const struct listener *listener)
{
	__builtin_memset(record, 0, sizeof(*record));
	record->head.kind = kind;
	record->head.netns = listener->netns;
	record->head.time = bpf_ktime_get_boot_ns();
	record->sk = sk;
	__builtin_memcpy(record->address, listener->address, sizeof(record->address));
	record->port = listener->port;
	record->overflows = listener->overflows;
}

/*
 * inet_csk_listen_start() sets LISTEN before get_port() runs: the port of a socket without
 * bind() is still 0 here. look_at_listener() finds it later.
 */
static __noinline void open_listener(struct sock *sk)
{
	const struct sock_common *common = &sk->__sk_common;
	struct listener listener = {};
	struct listen_record *record;
	struct owner owner = {};
	__u64 key = (__u64)sk;
	const struct listener *stale;
	__u8 followed;

	/* MPTCP parents fire this tracepoint too, but are no tcp_sock. */
	if (!bpf_skc_to_tcp_sock(sk) || !is_in_scope(common->skc_net.net))
		return;
	listener.since = bpf_ktime_get_boot_ns();
	listener.netns = common->skc_net.net->ns.inum;
	listener.port = common->skc_num;
	if (common->skc_family == AF_INET)
		map_ipv4(listener.address, common->skc_rcv_saddr);
	else if (HAS_IPV6)
		copy_ipv6(listener.address, common->skc_v6_rcv_saddr.in6_u.u6_addr32);
	stale = bpf_map_lookup_elem(&listeners, &key);
	if (stale && delete_listener(key, stale->netns))
		count_lost(EVENT_LISTENER, CAUSE_MAP_STALE, 1);
	followed = follow_listener(key, &listener);
	if (listener.port && followed != FOLLOWED_NOT_SHARE)
		mark_listening(listener.netns, listener.port);

	set_current_owner(&owner, OWNER_LISTENER);
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		count_lost(EVENT_LISTENER, CAUSE_RING_FULL, 1);
		return;
	}
	describe_listen(record, RECORD_LISTEN, key, &listener);
	record->owner = owner;
	record->followed = followed;
	record->backlogless = backlog_of(sk);
	submit(record);
}

static __noinline void close_listener(struct sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct listen_record *record;
	struct listener *listener;
	struct listener last = {};
	__u64 key = (__u64)sk;

	if (!tp || !is_in_scope(sk->__sk_common.skc_net.net))
		return;
	listener = bpf_map_lookup_elem(&listeners, &key);
	if (listener) {
		/* skc_num of a port that was not bound is 0 by now; inet_sport stays. */
		if (!listener->port)
			listener->port = bpf_ntohs(DECORATION(tp, inet_conn.icsk_inet.inet_sport));
		last = *listener;
	}
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		if (listener)
			listener->ended = 1;
		count_lost(EVENT_LISTENER, CAUSE_RING_FULL, 1);
		return;
	}
	describe_listen(record, RECORD_UNLISTEN, key, &last);
	submit(record);
	if (listener)
		delete_listener(key, last.netns);
}

#endif
