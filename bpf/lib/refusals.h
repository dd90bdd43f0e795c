// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Makes one record of a refusal that two hooks see.
 *
 * Since 6.10 tcp_send_reset reports the resets that the kernel sends if there is no
 * listener. A firewall builds its resets elsewhere (nftables: "reject with tcp reset"). They
 * look the same, and only TC sees them leave. TC sees the kernel's resets as well, so the
 * tracepoint, which runs first, leaves a note for TC.
 *
 * The note holds the client and the number that the reset acknowledges. It holds neither
 * the local address nor the namespace, because DNAT may change them on the way to a
 * container.
 */
#ifndef EBPF_TCP_REFUSALS_H
#define EBPF_TCP_REFUSALS_H

#include "flowhash.h"
#include "maps.h"

const volatile bool tracepoint_reports_refused;

static __always_inline __u64 refusal_hash(const struct flow *flow, __u32 acknowledgment)
{
	FLOW_KEY key = { .netns = acknowledgment };

	__builtin_memcpy(key.flow.remote, flow->remote, sizeof(flow->remote));
	key.flow.remote_port = flow->remote_port;
	return flow_hash(&key) | 1;
}

static __always_inline __u64 *refusal_note(__u64 hash)
{
	__u32 index = hash >> 32 & (REPORTED_REFUSALS - 1);

	return bpf_map_lookup_elem(&reported_refusals, &index);
}

static __always_inline void note_refusal(const struct flow *flow, __u32 acknowledgment)
{
	__u64 hash = refusal_hash(flow, acknowledgment);
	__u64 *note = refusal_note(hash);

	if (note)
		*note = hash;
}

/* Whether the tracepoint reported it. */
static __always_inline bool is_refusal_noted(const struct flow *flow, __u32 acknowledgment)
{
	__u64 hash = refusal_hash(flow, acknowledgment);
	const __u64 *note = refusal_note(hash);

	return note && *note == hash;
}

#endif
