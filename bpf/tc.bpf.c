// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The packet vantage point: what no socket can tell.
 *
 *   tc_ingress_eth, tc_egress_eth  on devices with Ethernet headers
 *   tc_ingress_l3, tc_egress_l3    on devices without (tun, ppp, WireGuard)
 *
 *   interface_slots, packet_counters  -> counters per interface and direction
 *   records                           -> selected packets, failed attempts
 *   half_open_handshakes              -> SYN in, RST out of it
 *
 * A packet that nobody asked for costs array lookups only: the port table, the slot
 * of the interface, its counters. Every other feature is a constant that is set at
 * load, and the verifier removes the code of those that are off.
 *
 * Server-side means: the local port has a listener in this namespace and the local
 * address is this host's. The second is looked up only where check_local_address
 * says that packets of others come by (forwarding, bridges, macvlan).
 *
 * The programs never decide about a packet: TCX_NEXT, which is TC_ACT_UNSPEC.
 */
#include "kernel.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "emit.h"
#include "failed.h"
#include "filter.h"
#include "maps.h"
#include "packet.h"
#include "ports.h"
#include "records.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define NEXT (-1) /* TCX_NEXT and TC_ACT_UNSPEC */

const volatile __u32 netns; /* inode of the namespace that we are attached in */
const volatile __u32 namespace_slot; /* its index in port_tables */
const volatile __u32 sample_rate; /* one server-side packet in this many; 0 = none */
const volatile __u32 packets_per_second = 100; /* selected ones, on all CPUs */
const volatile __u32 class_mask; /* bit per enum packet_class: every packet of it */
const volatile bool track_half_open;
const volatile bool refused_at_egress;

/* User space flips it at run time: do packets of other hosts come by? */
volatile __u32 check_local_address;

#define INTERFACE_SLOTS 256
#define INTERFACE_HASH 4096

struct interface_slot {
	__u32 ifindex;
	__u32 slot;
};

/*
 * Interface index, modulo the size, to counter slot. User space writes an entry
 * before it attaches and clears it after it detached. An index that finds another's
 * entry counts in slot 0.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, INTERFACE_HASH);
	__type(key, __u32);
	__type(value, struct interface_slot);
} interface_slots SEC(".maps");

/*
 * Counters, two per slot: ingress, egress. The programs add, user space reads, and
 * zeroes those of a slot before it gives it to another interface.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, INTERFACE_SLOTS * 2);
	__type(key, __u32);
	__type(value, struct interface_counters);
} packet_counters SEC(".maps");

#define LOCAL_ADDRESSES 1024
#define LOCAL_ADDRESS_PROBES 8

struct address {
	__u32 words[4];
};

/*
 * Addresses of this namespace, v4-mapped, open-addressed; zero = free. User space
 * enters and removes them as they come and go. When one does not fit, user space
 * turns check_local_address off, for a wrong "forwarded" hides traffic.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LOCAL_ADDRESSES);
	__type(key, __u32);
	__type(value, struct address);
} local_addresses SEC(".maps");

/* -- addresses ----------------------------------------------------------------- */

static __always_inline void map_address(struct address *to, __u32 ipv4)
{
	to->words[0] = 0;
	to->words[1] = 0;
	to->words[2] = bpf_htonl(0xffff);
	to->words[3] = ipv4;
}

static __always_inline void read_address(struct __sk_buff *skb, const struct parsed *parsed,
					 bool source, struct address *to)
{
	map_address(to, 0);
	/* The headers were there when they were parsed, so this does not fail. */
	if (parsed->family == 4)
		read_header(skb, parsed->network + (source ? IPV4_SOURCE : IPV4_DESTINATION),
			    &to->words[3]);
	else
		read_header(skb, parsed->network + (source ? IPV6_SOURCE : IPV6_DESTINATION), to);
}

/* Go computes the same: addressHash in tcaddresses_linux.go. */
static __always_inline __u32 address_hash(const struct address *address)
{
	const __u32 *words = address->words;
	__u32 hash = words[0];

	hash = hash * 0x9e3779b1 + words[1];
	hash = hash * 0x9e3779b1 + words[2];
	hash = hash * 0x9e3779b1 + words[3];
	hash = (hash ^ hash >> 15) * 0x85ebca6b;
	return hash ^ hash >> 13;
}

static __noinline bool is_local(const struct address *address)
{
	__u32 hash = address_hash(address);

	/* All of 127.0.0.0/8 is this host. */
	if (!address->words[0] && !address->words[1] && address->words[2] == bpf_htonl(0xffff) &&
	    *(__u8 *)&address->words[3] == 127)
		return true;
#pragma unroll
	for (int i = 0; i < LOCAL_ADDRESS_PROBES; i++) {
		__u32 index = (hash + i) & (LOCAL_ADDRESSES - 1);
		struct address *entry = bpf_map_lookup_elem(&local_addresses, &index);

		if (entry && entry->words[3] == address->words[3] &&
		    entry->words[2] == address->words[2] && entry->words[1] == address->words[1] &&
		    entry->words[0] == address->words[0])
			return true;
	}
	return false;
}

static __always_inline void packet_flow(struct __sk_buff *skb, const struct parsed *parsed,
					bool egress, struct flow *flow)
{
	read_address(skb, parsed, egress, (struct address *)flow->local);
	read_address(skb, parsed, !egress, (struct address *)flow->remote);
	flow->local_port = egress ? parsed->source : parsed->destination;
	flow->remote_port = egress ? parsed->destination : parsed->source;
}

/* -- counters ------------------------------------------------------------------ */

static __always_inline struct interface_counters *counters_of(__u32 ifindex, bool egress)
{
	__u32 index = ifindex & (INTERFACE_HASH - 1);
	struct interface_slot *entry = bpf_map_lookup_elem(&interface_slots, &index);

	index = egress;
	if (entry && entry->ifindex == ifindex)
		index += entry->slot * 2;
	return bpf_map_lookup_elem(&packet_counters, &index);
}

static __always_inline bool port_listens(__u16 port)
{
	__u32 slot = namespace_slot;
	struct port_table *table = bpf_map_lookup_elem(&port_tables, &slot);

	return table && table->flags[port] & PORT_LISTENING;
}

/* -- records ------------------------------------------------------------------- */

static __always_inline bool selected(const struct parsed *parsed)
{
	if (class_mask & 1 << parsed->class)
		return true;
	return sample_rate && bpf_get_prandom_u32() % sample_rate == 0;
}

static __noinline int emit_packet(struct __sk_buff *skb, const struct parsed *parsed, bool egress)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct packet_record *record;
	struct tcp_start tcp = {};
	__u64 last_option = (__u64)parsed->options_len - 1;

	ledger_add(LEDGER_PRODUCED_PACKET, 1);
	if (!within_rate(RATE_PACKET, packets_per_second, now)) {
		ledger_add(LEDGER_LOST_RATE_PACKET, 1);
		return 0;
	}
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		ledger_add(LEDGER_LOST_RING_PACKET, 1);
		return 0;
	}
	read_header(skb, parsed->transport, &tcp);
	__builtin_memset(record, 0, sizeof(*record));
	record->head.kind = RECORD_PACKET;
	record->head.netns = netns;
	record->head.time = now;
	packet_flow(skb, parsed, egress, &record->flow);
	record->ifindex = skb->ifindex;
	record->length = parsed->wire;
	record->payload = parsed->payload;
	record->sequence = bpf_ntohl(tcp.sequence);
	record->acknowledgment = bpf_ntohl(tcp.acknowledgment);
	record->window = bpf_ntohs(tcp.window);
	record->flags = parsed->flags;
	record->egress = egress;
	record->malformed = parsed->malformed;
	record->reserved = parsed->reserved;
	/* Opaque to the compiler, or it tests one number and passes the other. */
	asm volatile("" : "+r"(last_option));
	if (last_option < TCP_OPTIONS_LEN) {
		record->options_len = last_option + 1;
		bpf_skb_load_bytes(skb, parsed->transport + TCP_HEADER_LEN, record->options,
				   last_option + 1);
	}
	submit(record);
	return 0;
}

/* -- failed attempts ----------------------------------------------------------- */

/* SYN in: an attempt begins, unless it is a retransmit of one that did. */
static __always_inline void begin_half_open(const struct half_open_key *key, __u32 ifindex)
{
	struct half_open value = { .first = bpf_ktime_get_boot_ns(), .ifindex = ifindex };
	long error;

	if (bpf_map_lookup_elem(&half_open_handshakes, key))
		return;
	error = bpf_map_update_elem(&half_open_handshakes, key, &value, BPF_NOEXIST);
	if (!error || error == -EEXIST)
		return;
	/* Whether it fails nobody will know. */
	ledger_add(LEDGER_PRODUCED_FAILED, 1);
	ledger_add(LEDGER_LOST_MAP_FULL_FAILED, 1);
}

/*
 * RST in: the attempt is over. An open connection is in the map no more: the state hook
 * or, where it is behind DNAT and so another's, its first acknowledgment took it out.
 */
static __noinline int follow_half_open(struct __sk_buff *skb, const struct parsed *parsed)
{
	struct half_open_key key = { .netns = netns };

	packet_flow(skb, parsed, false, &key.flow);
	if (parsed->class == PACKET_SYN)
		begin_half_open(&key, skb->ifindex);
	else if (bpf_map_delete_elem(&half_open_handshakes, &key) == 0 &&
		 parsed->class == PACKET_RST)
		attempt_failed(&key.flow, netns, key.flow.local_port, skb->ifindex, FAILURE_RESET);
	return 0;
}

/*
 * What the kernel answers to a SYN for a port without a listener: a reset that
 * acknowledges, with sequence number and window 0. A listener's own resets have the
 * number that the client expects.
 */
static __noinline int find_refused(struct __sk_buff *skb, const struct parsed *parsed)
{
	struct tcp_start tcp;
	struct flow flow __attribute__((aligned(8)));

	if ((parsed->flags & TCP_SIX_FLAGS) != (TCP_RST | TCP_ACK))
		return 0;
	if (!read_header(skb, parsed->transport, &tcp) || tcp.sequence || tcp.window)
		return 0;
	packet_flow(skb, parsed, true, &flow);
	if (check_local_address && !is_local((struct address *)flow.local))
		return 0;
	if (flow_selected(&flow))
		attempt_failed(&flow, netns, 0, skb->ifindex, FAILURE_REFUSED);
	return 0;
}

/* -- programs ------------------------------------------------------------------ */

static __noinline bool client_is_selected(struct __sk_buff *skb, const struct parsed *parsed,
					  bool egress)
{
	struct address address;

	read_address(skb, parsed, !egress, &address);
	return client_selected((__u8 *)&address);
}

static __noinline int count_unusual(const struct parsed *parsed, __u32 ifindex, int result,
				    bool egress)
{
	struct interface_counters *counters = counters_of(ifindex, egress);
	__u32 kind = parsed->malformed;

	if (!counters)
		return 0;
	if (result == PARSE_FRAGMENT)
		counters->fragments++;
	else if (kind < MALFORMED_KINDS)
		counters->malformed[kind]++;
	return 0;
}

static __always_inline void count_segments_of(struct interface_counters *counters, __u32 class,
					      __u32 segments, __u32 wire)
{
	if (class >= PACKET_CLASSES)
		return;
	counters->packets[class] += segments;
	counters->bytes[class] += wire;
}

/* Everything that the fast path leaves. */
static __noinline int look_closely(struct __sk_buff *skb, bool ethernet, bool egress)
{
	struct parsed parsed = {};
	struct interface_counters *counters;
	struct address local;
	__u16 port;
	int result = parse_packet(skb, ethernet, &parsed);

	if (result == PARSE_OTHER)
		return NEXT;
	if (result == PARSE_FRAGMENT || parsed.malformed)
		count_unusual(&parsed, skb->ifindex, result, egress);
	if (result != PARSE_SEGMENT)
		return NEXT;

	port = egress ? parsed.source : parsed.destination;
	if (!port_listens(port)) {
		if (egress && refused_at_egress && parsed.class == PACKET_RST)
			find_refused(skb, &parsed);
		return NEXT;
	}
	if (!port_selected(port) || (filter_clients && !client_is_selected(skb, &parsed, egress)))
		return NEXT;
	counters = counters_of(skb->ifindex, egress);
	if (!counters)
		return NEXT;
	if (check_local_address) {
		read_address(skb, &parsed, egress, &local);
		if (!is_local(&local)) {
			counters->forwarded += parsed.segments;
			return NEXT;
		}
	}
	count_segments_of(counters, parsed.class, parsed.segments, parsed.wire);
	if (track_half_open && !egress &&
	    (parsed.class == PACKET_SYN || parsed.class == PACKET_RST ||
	     parsed.class == PACKET_ACK))
		follow_half_open(skb, &parsed);
	if ((class_mask || sample_rate) && selected(&parsed))
		emit_packet(skb, &parsed, egress);
	return NEXT;
}

/*
 * Nearly every packet: data or an acknowledgment, no IP options, no TCP options but a
 * timestamp, headers in the linear area. Counted in registers, with one look at each
 * header; the first doubt hands it to look_closely, which decides what it is.
 */
static __always_inline bool count_ordinary(struct __sk_buff *skb, bool ethernet, bool egress)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	__u32 link = ethernet ? ETHERNET_HEADER_LEN : 0, headers, length, segments;
	struct interface_counters *counters;
	struct address local = {}, *local6;
	struct tcp_start *tcp;
	__be16 type = skb->protocol;
	__u32 check = check_local_address;
	__u32 port;

	if (data + link + IPV4_HEADER_LEN + TCP_HEADER_LEN > data_end)
		return false;
	if (ethernet)
		type = *(__be16 *)(data + ETHERNET_HEADER_LEN - sizeof(type));
	if (type == bpf_htons(ETHERTYPE_IPV4)) {
		struct ipv4_start *ip = data + link;

		if (ip->version_length != 0x45 || ip->protocol != IPPROTO_TCP ||
		    ip->fragment & ~bpf_htons(IP_DONT_FRAGMENT))
			return false;
		if (check)
			map_address(&local, *(__u32 *)(data + link +
						       (egress ? IPV4_SOURCE : IPV4_DESTINATION)));
		tcp = data + link + IPV4_HEADER_LEN;
		headers = IPV4_HEADER_LEN;
		length = bpf_ntohs(ip->total_length);
	} else if (type == bpf_htons(ETHERTYPE_IPV6)) {
		struct ipv6_start *ip = data + link;

		if (ip->version_class >> 4 != 6 || ip->next_header != IPPROTO_TCP ||
		    data + link + IPV6_HEADER_LEN + TCP_HEADER_LEN > data_end)
			return false;
		local6 = data + link + (egress ? IPV6_SOURCE : IPV6_DESTINATION);
		if (check)
			local = *local6;
		tcp = data + link + IPV6_HEADER_LEN;
		headers = IPV6_HEADER_LEN;
		length = IPV6_HEADER_LEN + bpf_ntohs(ip->payload_length);
	} else {
		return false;
	}
	if ((tcp->flags & (TCP_SYN | TCP_RST | TCP_FIN | TCP_ACK)) != TCP_ACK)
		return false;
	if ((tcp->offset & 0xf0) == 0x80) {
		__be32 *option = (void *)tcp + TCP_HEADER_LEN;

		if ((void *)(option + 1) > data_end || *option != bpf_htonl(TCP_TIMESTAMP_ONLY))
			return false;
		headers += TCP_HEADER_LEN + 12;
	} else {
		if ((tcp->offset & 0xf0) != 0x50)
			return false;
		headers += TCP_HEADER_LEN;
	}
	if (length < headers || length > skb->len - link || !tcp->source || !tcp->destination ||
	    skb->vlan_present)
		return false;
	segments = skb->gso_segs;
	if (segments <= 1) {
		if (!segments && skb->gso_size)
			return false;
		segments = 1;
	}
	port = bpf_ntohs(egress ? tcp->source : tcp->destination);
	/* What swaps bytes has no bounds for a 5.10 verifier: let the compiler mask it. */
	asm volatile("" : "+r"(port));
	if (!port_listens(port) || !port_selected(port))
		return true;
	/* A handshake may end with it. */
	if (track_half_open && !egress && length == headers)
		return false;
	counters = counters_of(skb->ifindex, egress);
	if (!counters)
		return true;
	if (check && !is_local(&local)) {
		counters->forwarded += segments;
		return true;
	}
	count_segments_of(counters, length > headers ? PACKET_DATA : PACKET_ACK, segments,
			  skb->len + (segments - 1) * (link + headers));
	return true;
}

static __always_inline int look(struct __sk_buff *skb, bool ethernet, bool egress)
{
	bool asked_for = sample_rate || class_mask & (1 << PACKET_DATA | 1 << PACKET_ACK);

	if (!asked_for && !filter_clients && count_ordinary(skb, ethernet, egress))
		return NEXT;
	return look_closely(skb, ethernet, egress);
}

SEC("tc")
int tc_ingress_eth(struct __sk_buff *skb)
{
	return look(skb, true, false);
}

SEC("tc")
int tc_egress_eth(struct __sk_buff *skb)
{
	return look(skb, true, true);
}

SEC("tc")
int tc_ingress_l3(struct __sk_buff *skb)
{
	return look(skb, false, false);
}

SEC("tc")
int tc_egress_l3(struct __sk_buff *skb)
{
	return look(skb, false, true);
}
