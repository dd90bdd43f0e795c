// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Ends the open connections of blocked sources, since 6.5. Dropping their packets alone would
 * leave them to the servers' own timeouts. User space runs it in each network namespace.
 *
 * The kernel function sends a reset, and tells the process that its connection was aborted.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "block.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Since 6.5, commit 4ddbcb886268. */
extern int bpf_sock_destroy(struct sock_common *sock) __ksym;

/* Connections that were ended, since the program was loaded. */
__u64 destroyed;

static __always_inline bool is_dropped(const struct address *source, bool ipv4)
{
	struct block *block = block_of(source, ipv4);
	__u64 now = bpf_jiffies64();

	return block && now < block->until && now < state.deadline &&
	       !(block->flags & (BLOCK_DRY_RUN | BLOCK_LIMIT)) &&
	       !(block->flags & BLOCK_HAS_ALLOWED && is_allowed(source));
}

SEC("iter/tcp")
int cut(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sock = ctx->sk_common;
	struct address source;

	if (!sock || sock->skc_state == TCP_LISTEN || sock->skc_state == TCP_TIME_WAIT ||
	    sock->skc_state == TCP_CLOSE)
		return 0;
	if (sock->skc_family == AF_INET) {
		source = mapped4(sock->skc_daddr);
	} else if (sock->skc_family == AF_INET6) {
		__u32 *words = (__u32 *)&source;

#pragma unroll
		for (int i = 0; i < 4; i++)
			words[i] = sock->skc_v6_daddr.in6_u.u6_addr32[i];
	} else {
		return 0;
	}
	if (is_dropped(&source,
		       !source.halves[0] && (__u32)source.halves[1] == bpf_htonl(0xffff)) &&
	    !bpf_sock_destroy(sock))
		destroyed++;
	return 0;
}
