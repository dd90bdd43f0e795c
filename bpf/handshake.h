// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * How long a handshake took: from the first SYN-ACK, which leaves in the interrupt
 * that the SYN came in, to the ACK.
 *
 * The kernel measures this itself and leaves it in the child's srtt_us. When the SYN-ACK
 * went out more than once, the ACK may be an answer to any of them (RFC 6298, section 3,
 * Karn's algorithm), and what srtt_us then holds by way of timestamps can be off by as
 * much as the retransmission timeout. The duration is certain even so. Only such
 * handshakes take an entry here, so that the others cost nothing. A handshake by SYN
 * cookie leaves no trace of its beginning.
 */
#ifndef EBPF_TCP_HANDSHAKE_H
#define EBPF_TCP_HANDSHAKE_H

#include "maps.h"

#include <bpf/bpf_core_read.h>

/*
 * When the SYN-ACK first went out, boot clock ns, of handshakes whose SYN-ACK was
 * sent again. The SYN-ACK retransmit hook inserts, the state hook deletes at
 * ESTABLISHED. Full: the oldest goes and its duration is not measured, as when a
 * flood of SYNs is never answered.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct half_open_key);
	__type(value, __u64);
} repeated_handshakes SEC(".maps");

static __always_inline void handshake_repeated(const struct request_sock *request,
					       const struct flow *flow, __u32 netns)
{
	const struct tcp_request_sock *tcp = (const struct tcp_request_sock *)request;
	struct half_open_key key = { .netns = netns };
	__u64 first;

	if (!bpf_core_field_exists(struct tcp_request_sock, snt_synack))
		return;
	first = bpf_ktime_get_boot_ns() -
		(bpf_ktime_get_ns() - BPF_CORE_READ(tcp, snt_synack) * 1000);
	key.flow = *flow;
	bpf_map_update_elem(&repeated_handshakes, &key, &first, BPF_ANY);
}

/* Microseconds; 0 = not measured. */
static __always_inline __u32 repeated_handshake(const struct flow *flow, __u32 netns, __u64 now)
{
	struct half_open_key key = { .netns = netns };
	__u64 *first;
	__u32 duration;

	key.flow = *flow;
	first = bpf_map_lookup_elem(&repeated_handshakes, &key);
	if (!first)
		return 0;
	duration = (now - *first) / 1000;
	bpf_map_delete_elem(&repeated_handshakes, &key);
	return duration;
}

#endif
