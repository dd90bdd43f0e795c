// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Buffers that the kernel frees like drops, although nothing is lost. */
#ifndef EBPF_TCP_DROPS_H
#define EBPF_TCP_DROPS_H

#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* By the number of the reason, from the kernel's own names: 1 = nothing is lost. */
const volatile __u8 ordinary_reasons[256];

/* "tcp_v4_rcv" or "tcp_v6_rcv", maybe with a suffix by the compiler: .cold. */
static const char symbol_format[] = "%ps";
#define SYMBOL_LEN 10

/*
 * The addresses where tcp_v4_rcv() and tcp_v6_rcv() free buffers without a reason, and where
 * another function last did. Kept, because the name of an address takes the kernel a search.
 */
__u64 frees_without_reason[2], others_free[2];

/*
 * Whether a socket took in what tcp_v4_rcv() frees with the reason "not specified". It
 * frees the segments of a TIME_WAIT socket like that: the client's FIN or reset, after the
 * server closed first and FIN_WAIT2 timed out into TIME_WAIT. It also frees like that what a
 * request socket took without becoming a connection: a repeated SYN, or the ACK of a
 * handshake that waits for data. Real drops there have a reason.
 */
static __always_inline bool is_taken_in_order(__u64 reason, __u64 location, bool ipv6)
{
	__u64 *known = &frees_without_reason[ipv6];
	char symbol[SYMBOL_LEN + 1] = {};

	if (reason != bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_NOT_SPECIFIED))
		return false;
	if (location == *known)
		return true;
	if (location == others_free[ipv6])
		return false;
	/* By name: kernel addresses are hidden even from users who may load programs. */
	bpf_snprintf(symbol, sizeof(symbol), symbol_format, &location, sizeof(location));
	if (__builtin_memcmp(symbol, ipv6 ? "tcp_v6_rcv" : "tcp_v4_rcv", SYMBOL_LEN)) {
		others_free[ipv6] = location;
		return false;
	}
	*known = location;
	return true;
}

#endif
