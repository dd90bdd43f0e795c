// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * References for the packet programs: the minimum of a program that parses a TCP packet and
 * keeps something. Only BenchmarkTC and BenchmarkInspect load them. They take an Ethernet frame
 * with an IPv4 header without options. They count no super-packets, tags, malformed headers,
 * interfaces or directions.
 */
#include "kernel.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "packet.h"
#include "values.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define NEXT (-1)

struct headers {
	__u8 ethernet[ETHERNET_HEADER_LEN];
	struct ipv4_header ipv4;
	struct tcp_start tcp;
} __attribute__((packed));

struct count {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct count);
} counters SEC(".maps");

struct client {
	__u64 last;
	__u64 attempts;
};

/* An entry per client. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __be32);
	__type(value, struct client);
} sources SEC(".maps");

/* An entry per attempt, like half_open_handshakes. The benchmark empties it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct half_open_key);
	__type(value, struct half_open);
} attempts SEC(".maps");

/* The measured program, which vary calls. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} measured SEC(".maps");

static __always_inline const struct headers *parse(struct __sk_buff *skb)
{
	const struct headers *headers = (void *)(long)skb->data;

	if ((void *)(headers + 1) > (void *)(long)skb->data_end ||
	    *(__be16 *)(headers->ethernet + 12) != bpf_htons(ETHERTYPE_IPV4) ||
	    headers->ipv4.start.version_length != 0x45 ||
	    headers->ipv4.start.protocol != IPPROTO_TCP)
		return NULL;
	return headers;
}

/* Packets and bytes, with or without payload. */
SEC("tc")
int count_packet(struct __sk_buff *skb)
{
	const struct headers *headers = parse(skb);
	__u32 first = 0;
	struct count *count;

	if (!headers || headers->tcp.flags & TCP_SYN)
		return NEXT;
	count = bpf_map_lookup_elem(&counters, &first);
	if (count) {
		count->packets++;
		count->bytes += skb->len;
	}
	return NEXT;
}

static __always_inline const struct headers *update_source(struct __sk_buff *skb)
{
	const struct headers *headers = parse(skb);
	struct client *source, fresh = { .attempts = 1 };
	__be32 client;

	if (!headers || !(headers->tcp.flags & TCP_SYN))
		return NULL;
	client = headers->ipv4.source;
	fresh.last = bpf_ktime_get_boot_ns();
	source = bpf_map_lookup_elem(&sources, &client);
	if (source) {
		source->last = fresh.last;
		source->attempts++;
	} else {
		bpf_map_update_elem(&sources, &client, &fresh, BPF_ANY);
	}
	return headers;
}

/* A clock read and an update of an LRU map. */
SEC("tc")
int count_syn(struct __sk_buff *skb)
{
	update_source(skb);
	return NEXT;
}

/* The same and an insert. */
SEC("tc")
int track_syn(struct __sk_buff *skb)
{
	const struct headers *headers = update_source(skb);
	struct half_open_key key = {};
	struct half_open value = {};

	if (!headers)
		return NEXT;
	*(__be32 *)&key.flow.local[12] = headers->ipv4.destination;
	*(__be32 *)&key.flow.remote[12] = headers->ipv4.source;
	key.flow.local_port = headers->tcp.destination;
	key.flow.remote_port = headers->tcp.source;
	bpf_map_update_elem(&attempts, &key, &value, BPF_NOEXIST);
	return NEXT;
}

#define HEAD_LEN 512

struct copied_head {
	__u64 time;
	__u8 bytes[HEAD_LEN];
};

/* The benchmark empties it. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} heads SEC(".maps");

static __always_inline int copy(struct __sk_buff *skb, const struct headers *headers)
{
	__u32 offset = ETHERNET_HEADER_LEN + IPV4_HEADER_LEN + (headers->tcp.offset >> 4) * 4;
	struct copied_head *copied;

	if (skb->len < offset + HEAD_LEN)
		return NEXT;
	copied = bpf_ringbuf_reserve(&heads, sizeof(*copied), 0);
	if (!copied)
		return NEXT;
	copied->time = bpf_ktime_get_boot_ns();
	if (bpf_skb_load_bytes(skb, offset, copied->bytes, HEAD_LEN)) {
		bpf_ringbuf_discard(copied, BPF_RB_NO_WAKEUP);
		return NEXT;
	}
	bpf_ringbuf_submit(copied, BPF_RB_NO_WAKEUP);
	return NEXT;
}

/* Copies the first bytes of a payload, with a clock read. */
SEC("tc")
int copy_head(struct __sk_buff *skb)
{
	const struct headers *headers = parse(skb);

	return headers ? copy(skb, headers) : NEXT;
}

/* The server of the heads that copy_request and copy_answer copy. Set at load. */
const volatile __be16 copied_port;

/* At ingress. */
SEC("tc")
int copy_request(struct __sk_buff *skb)
{
	const struct headers *headers = parse(skb);

	return headers && headers->tcp.destination == copied_port ? copy(skb, headers) : NEXT;
}

/* At egress. */
SEC("tc")
int copy_answer(struct __sk_buff *skb)
{
	const struct headers *headers = parse(skb);

	return headers && headers->tcp.source == copied_port ? copy(skb, headers) : NEXT;
}

__u32 clients;

/* Gives each packet another client, then calls the measured program. */
SEC("tc")
int vary(struct __sk_buff *skb)
{
	struct headers *headers = (void *)(long)skb->data;

	if ((void *)(headers + 1) > (void *)(long)skb->data_end)
		return NEXT;
	headers->ipv4.source = clients++;
	bpf_tail_call(skb, &measured, 0);
	return NEXT;
}
