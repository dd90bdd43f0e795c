// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Buffers that the kernel frees as if it dropped them, though all is in order. */
#ifndef EBPF_TCP_DROPS_H
#define EBPF_TCP_DROPS_H

#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* By reason number, from the kernel's own names: 1 = happens in good order. */
const volatile __u8 ordinary_reasons[256];

/* "tcp_v4_rcv" or "tcp_v6_rcv", maybe with a suffix of the compiler's: .cold. */
static const char symbol_format[] = "%ps";
#define SYMBOL_LEN 10

/*
 * Where tcp_v4_rcv() and tcp_v6_rcv() were found to free buffers without a reason, and
 * where somebody else last did: the name of an address takes the kernel a search.
 */
__u64 frees_without_reason[2], others_free[2];

/*
 * tcp_v4_rcv() frees what a TIME_WAIT socket took with the reason of a drop that has none:
 * the client's FIN, or its reset, after the server closed first and FIN_WAIT2 ended in a
 * TIME_WAIT socket. It frees so, too, what a request socket took without becoming a
 * connection: a SYN that came again, the ACK of a handshake that waits for data. What it
 * really drops has a reason.
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
	/* By name: addresses of the kernel are hidden from who may load programs. */
	bpf_snprintf(symbol, sizeof(symbol), symbol_format, &location, sizeof(location));
	if (__builtin_memcmp(symbol, ipv6 ? "tcp_v6_rcv" : "tcp_v4_rcv", SYMBOL_LEN)) {
		others_free[ipv6] = location;
		return false;
	}
	*known = location;
	return true;
}

#endif
