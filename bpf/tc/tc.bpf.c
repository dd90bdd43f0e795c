// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The packet vantage point: what no socket can tell.
 *
 *   tc_ingress_eth, tc_egress_eth  on devices with Ethernet headers
 *   tc_ingress_l3, tc_egress_l3    on devices without (tun, ppp, WireGuard)
 *
 *   interfaces, packet_counters       -> counters per interface and direction
 *   records                           -> selected packets, failed attempts
 *   half_open_handshakes              -> SYN in, SYN-ACK, and what ends it
 *
 * A packet that nobody asked for is parsed in registers and costs one map lookup, of
 * the counters. What else it needs (the port table, the interfaces) are variables,
 * whose addresses are in the code. Every other feature is a constant that is set at load,
 * and the verifier removes the code of those that are off.
 *
 * Server-side means: the local port has a listener in this namespace and the local
 * address is this host's. The second is looked up only where LOOK_AT_ADDRESS
 * says that packets of others come by (forwarding, bridges, macvlan).
 *
 * The programs never decide about a packet: TCX_NEXT, which is TC_ACT_UNSPEC.
 */
#include "kernel.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "addresses.h"
#include "emit.h"
#include "failed.h"
#include "filter.h"
#include "halfopen.h"
#include "maps.h"
#include "packet.h"
#include "ports.h"
#include "records.h"
#include "refusals.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define NEXT (-1) /* TCX_NEXT and TC_ACT_UNSPEC */

const volatile __u32 netns; /* inode of the namespace that we are attached in */
const volatile __u32 sample_rate; /* one server-side packet in this many; 0 = none */
const volatile __u32 packets_per_second = 100; /* selected ones, on all CPUs */
const volatile __u32 class_mask; /* bit per enum packet_class: every packet of it */
const volatile bool track_half_open;
const volatile bool refused_at_egress;

/* One variable for both, because nearly always there is neither. */
#define LOOK_AT_ADDRESS 1 /* packets of other hosts come by; user space flips it at run time */
#define LOOK_AT_ALL 2 /* any packet may be selected, or its client excluded; set at load */
volatile __u32 look_further;

/* local_addresses holds all that are this host's; user space flips it at run time. */
volatile __u32 addresses_known;

/* include/uapi/linux/if_packet.h */
#define PACKET_HOST 0

/* A SYN-ACK's window is not scaled. */
#define WIDEST_WINDOW 65535

#define INTERFACE_SLOTS 256
#define INTERFACE_HASH 4096

/*
 * Maps of one value, which the programs address directly: that takes a third of the
 * instructions of a lookup. User space writes to them while programs run.
 */
#define TABLE(name) __attribute__((section(".data." #name), used))

/*
 * Ports with a listener in this namespace. Here it only says what the map is like: user
 * space puts the namespace's table of port_tables in its place.
 */
struct port_table ports TABLE(ports);

/*
 * Interfaces by their index, modulo the size. User space writes an entry before it
 * attaches and clears it after it detached. An index that finds another's entry counts
 * in slot 0.
 */
struct interface_slot interfaces[INTERFACE_HASH] TABLE(interfaces);

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

/* -- addresses ----------------------------------------------------------------- */

static __always_inline void read_address(struct __sk_buff *skb, const struct parsed *parsed,
					 bool source, struct address *to)
{
	__be32 ipv4 = 0;

	*to = mapped(0);
	/* The headers were there when they were parsed, so this does not fail. */
	if (parsed->family == 4) {
		read_header(skb, parsed->network + (source ? IPV4_SOURCE : IPV4_DESTINATION),
			    &ipv4);
		*to = mapped(ipv4);
	} else {
		read_header(skb, parsed->network + (source ? IPV6_SOURCE : IPV6_DESTINATION), to);
	}
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

/* Where an interface is, if it is there: another's entry has another ifindex. */
static __always_inline const struct interface_slot *interface_at(__u32 ifindex)
{
	return &interfaces[ifindex & (INTERFACE_HASH - 1)];
}

static __always_inline struct interface_counters *counters_of(__u32 ifindex, bool egress)
{
	const struct interface_slot *interface = interface_at(ifindex);
	__u32 index = (interface->ifindex == ifindex ? interface->counters : 0) + egress;

	return bpf_map_lookup_elem(&packet_counters, &index);
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

/*
 * A SYN came in. Also a frame for another host's hardware address does, in promiscuous
 * mode, and one for an address that is not ours: nobody here will answer.
 */
static __noinline int begin_half_open(struct __sk_buff *skb, const struct half_open_key *key,
				      __u32 client_next)
{
	struct half_open value = { .ifindex = skb->ifindex };
	const struct address *local = (const struct address *)key->flow.local;

	if (skb->pkt_type != PACKET_HOST)
		return 0;
	if (addresses_known && !is_local(local->halves[0], local->halves[1]))
		return 0;
	value.first = bpf_ktime_get_boot_ns();
	value.numbers.client_next = client_next;
	value.window = WIDEST_WINDOW;
	enter_half_open(key, &value);
	return 0;
}

/*
 * Whether the kernel takes it, see halfopen.h. Where no SYN-ACK was seen, as it leaves by an
 * interface without programs, any acknowledgment will do.
 */
static __always_inline bool ends_half_open(const struct half_open_numbers *numbers, __u32 window,
					   const struct tcp_start *tcp)
{
	__u32 ahead = bpf_ntohl(tcp->sequence) - numbers->client_next;

	if (tcp->flags & TCP_RST)
		return !ahead;
	if (!numbers->server_next)
		return true;
	return bpf_ntohl(tcp->acknowledgment) == numbers->server_next && ahead <= window;
}

/* The client's SYN, and what may end the attempt; the host's SYN-ACK. */
static __noinline int follow_half_open(struct __sk_buff *skb, const struct parsed *parsed,
				       bool egress)
{
	FLOW_KEY key = { .netns = netns };
	struct half_open_numbers *numbers;
	struct half_open_mark *mark = NULL;
	struct half_open *entry;
	struct tcp_start tcp;
	__u32 window = WIDEST_WINDOW;

	if (!read_header(skb, parsed->transport, &tcp))
		return 0;
	packet_flow(skb, parsed, egress, &key.flow);
	entry = bpf_map_lookup_elem(&half_open_handshakes, &key);
	if (entry) {
		numbers = &entry->numbers;
		window = entry->window;
	} else {
		mark = marked_lately() ? find_mark(&key) : NULL;
		if (!mark) {
			if (parsed->class == PACKET_SYN)
				begin_half_open(skb, &key, bpf_ntohl(tcp.sequence) + 1);
			return 0;
		}
		numbers = &mark->numbers;
	}
	if (parsed->class == PACKET_SYN_ACK) {
		numbers->client_next = bpf_ntohl(tcp.acknowledgment);
		numbers->server_next = bpf_ntohl(tcp.sequence) + 1;
		if (entry)
			entry->window = bpf_ntohs(tcp.window);
		return 0;
	}
	if (parsed->class == PACKET_SYN) {
		/* Nobody has answered the one before. */
		if (!numbers->server_next)
			numbers->client_next = bpf_ntohl(tcp.sequence) + 1;
		return 0;
	}
	if (!ends_half_open(numbers, window, &tcp))
		return 0;
	if (mark)
		clear_mark(mark);
	else if (!delete_half_open(&key))
		return 0;
	if (parsed->class == PACKET_RST)
		attempt_failed(&key.flow, netns, key.flow.local_port, skb->ifindex, FAILURE_RESET);
	return 0;
}

/* Which packets have to do with an attempt, by direction. */
static __always_inline bool concerns_half_open(__u32 class, bool egress)
{
	if (egress)
		return class == PACKET_SYN_ACK;
	return class == PACKET_SYN || class == PACKET_RST || class == PACKET_ACK;
}

/*
 * What the kernel answers to a SYN that nobody listens for, and a firewall to one that it
 * rejects: a reset that acknowledges, with sequence number and window 0. A listener's own
 * resets, and a connection's, have the number that the client expects.
 */
static __noinline int find_refused(struct __sk_buff *skb, const struct parsed *parsed)
{
	FLOW_KEY key = { .netns = netns };
	struct tcp_start tcp;
	struct address *local;

	if ((parsed->flags & TCP_SIX_FLAGS) != (TCP_RST | TCP_ACK))
		return 0;
	if (!read_header(skb, parsed->transport, &tcp) || tcp.sequence || tcp.window)
		return 0;
	packet_flow(skb, parsed, true, &key.flow);
	if (tracepoint_tells_refused && refusal_noted(&key.flow, bpf_ntohl(tcp.acknowledgment)))
		return 0;
	local = (struct address *)key.flow.local;
	if (look_further & LOOK_AT_ADDRESS && !is_local(local->halves[0], local->halves[1]))
		return 0;
	if (!flow_selected(&key.flow))
		return 0;
	if (track_half_open)
		forget_half_open(&key);
	attempt_failed(&key.flow, netns, 0, skb->ifindex, FAILURE_REFUSED);
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

	/* Also from a port that listens, though it be at another address. */
	if (egress && refused_at_egress && parsed.class == PACKET_RST)
		find_refused(skb, &parsed);
	port = egress ? parsed.source : parsed.destination;
	if (!ports.listening[port_place(port)])
		return NEXT;
	if (filter_clients && !client_is_selected(skb, &parsed, egress))
		return NEXT;
	counters = counters_of(skb->ifindex, egress);
	if (!counters)
		return NEXT;
	if (look_further & LOOK_AT_ADDRESS) {
		read_address(skb, &parsed, egress, &local);
		if (!is_local(local.halves[0], local.halves[1])) {
			counters->forwarded += parsed.segments;
			return NEXT;
		}
	}
	count_segments_of(counters, parsed.class, parsed.segments, parsed.wire);
	if (track_half_open && concerns_half_open(parsed.class, egress))
		follow_half_open(skb, &parsed, egress);
	if ((class_mask || sample_rate) && selected(&parsed))
		emit_packet(skb, &parsed, egress);
	return NEXT;
}

/* -- fast path ----------------------------------------------------------------- */

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

static __always_inline void count_class(__u32 index, enum packet_class class, __u64 segments,
					__u64 wire)
{
	struct interface_counters *counters = bpf_map_lookup_elem(&packet_counters, &index);

	if (counters)
		count_segments_of(counters, class, segments, wire);
}

static __noinline int count_forwarded(__u32 index, __u64 segments)
{
	struct interface_counters *counters = bpf_map_lookup_elem(&packet_counters, &index);

	if (counters)
		counters->forwarded += segments;
	return 0;
}

/* This host's side of a packet. */
static __always_inline bool address_is_local(const void *ip, bool ipv4, bool egress)
{
	const struct address *address = ip + (egress ? IPV6_SOURCE : IPV6_DESTINATION);
	struct address ipv4_mapped;

	if (!ipv4)
		return is_local(address->halves[0], address->halves[1]);
	ipv4_mapped = mapped(*(__be32 *)(ip + (egress ? IPV4_SOURCE : IPV4_DESTINATION)));
	return is_local(ipv4_mapped.halves[0], ipv4_mapped.halves[1]);
}

/* In the order that needs the fewest registers at a time, worth 0.5 ns. */
static __always_inline bool count_ordinary_tcp(struct __sk_buff *skb, const void *ip, bool ipv4,
					       __u32 link, const void *data_end, __u32 index,
					       bool egress, bool check)
{
	const struct tcp_start *tcp = ip + (ipv4 ? IPV4_HEADER_LEN : IPV6_HEADER_LEN);
	const __be32 *options = (void *)tcp + TCP_HEADER_LEN;
	__u64 headers = (void *)options - ip + link, end, wire, segments = 1;
	__be16 port, form;

	form = *(__be16 *)&tcp->offset & bpf_htons(0xf000 | TCP_SYN | TCP_RST | TCP_FIN | TCP_ACK);
	if (form == bpf_htons(0x8000 | TCP_ACK)) {
		if ((void *)(options + 1) > data_end || *options != bpf_htonl(TCP_TIMESTAMP_ONLY))
			return false;
		headers += TCP_TIMESTAMP_LEN;
	} else if (form != bpf_htons(0x5000 | TCP_ACK)) {
		return false;
	}
	/* Its protocol may outlive a tag, but is never 0 where there is one. */
	if (!(egress ? tcp->destination : tcp->source) || skb->vlan_proto)
		return false;
	/* The datagram's end, from the packet's beginning. */
	end = link + (ipv4 ? bpf_ntohs(*(__be16 *)(ip + IPV4_LENGTH))
			   : bpf_ntohs(*(__be16 *)(ip + IPV6_LENGTH)) + IPV6_HEADER_LEN);
	wire = skb->len;
	if (end > wire)
		return false;
	port = egress ? tcp->source : tcp->destination;
	if (unlikely(!ports.listening[port]))
		return port && end >= headers;
	if (unlikely(skb->gso_size)) {
		segments = skb->gso_segs;
		if (!segments)
			return false;
		wire += (segments - 1) * headers;
	}
	if (check && !address_is_local(ip, ipv4, egress)) {
		if (end < headers)
			return false;
		count_forwarded(index, segments);
		return true;
	}
	if (likely(end > headers)) {
		count_class(index, PACKET_DATA, segments, wire);
		return true;
	}
	/* A handshake may end with it. */
	if (end < headers || (track_half_open && !egress))
		return false;
	count_class(index, PACKET_ACK, segments, wire);
	return true;
}

/*
 * Nearly every packet: data or an acknowledgment, no IP options, no TCP options but a
 * timestamp, headers in the linear area. Counted in registers, with one look at each
 * header; the first doubt hands it to look_closely, which decides what it is.
 *
 * What it takes, by BenchmarkTC: 25 ns, an empty program 19.5. What that would be without:
 * the interface first, because the loads from the packet to its counters wait for each
 * other, + 1.7 ns; the port table as a variable, + 1.1; anything that looks further in a
 * function of its own, + 0.7; wide loads, compared at once, + 0.5; leaving interfaces
 * without an entry to look_closely, + 0.4; code of its own for each class, + 0.4.
 */
static __always_inline bool count_ordinary(struct __sk_buff *skb, bool ethernet, bool egress,
					   bool check)
{
	__u32 ifindex = skb->ifindex, link = ethernet ? ETHERNET_HEADER_LEN : 0;
	const struct interface_slot *interface = interface_at(ifindex);
	__u32 index = interface->counters + egress;
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	const void *ip = data + link;
	__be32 start;

	/* Here, or the compiler does it where it is used. */
	asm volatile("" : "+r"(index));
	if (interface->ifindex != ifindex || ip + IPV4_HEADER_LEN + TCP_HEADER_LEN > data_end)
		return false;
	/* The protocol, and what its header begins with. */
	start = ethernet ? *(__be32 *)(ip - sizeof(__be16))
			 : (__u16)skb->protocol | (__u32) * (__be16 *)ip << 16;
	if ((start & bpf_htonl(0xffffff00)) == bpf_htonl(ETHERTYPE_IPV4 << 16 | 0x4500)) {
		/* Fragment offset and flags but for "don't", time to live, protocol. */
		if ((*(__be32 *)(ip + IPV4_FRAGMENT) & bpf_htonl(0xbfff00ff)) !=
		    bpf_htonl(IPPROTO_TCP))
			return false;
		return count_ordinary_tcp(skb, ip, true, link, data_end, index, egress, check);
	}
	if ((start & bpf_htonl(0xfffff000)) == bpf_htonl((__u32)ETHERTYPE_IPV6 << 16 | 0x6000)) {
		if (*(__u8 *)(ip + IPV6_NEXT_HEADER) != IPPROTO_TCP ||
		    ip + IPV6_HEADER_LEN + TCP_HEADER_LEN > data_end)
			return false;
		return count_ordinary_tcp(skb, ip, false, link, data_end, index, egress, check);
	}
	return false;
}

/* What look_further asks for. A function of its own, for it takes more registers. */
#define LOOK(name, ethernet, egress)                                                               \
	static __noinline int name##_further(struct __sk_buff *skb)                                \
	{                                                                                          \
		if (look_further & LOOK_AT_ALL || !count_ordinary(skb, ethernet, egress, true))    \
			look_closely(skb, ethernet, egress);                                       \
		return NEXT;                                                                       \
	}                                                                                          \
                                                                                                   \
	SEC("tc")                                                                                  \
	int name(struct __sk_buff *skb)                                                            \
	{                                                                                          \
		if (unlikely(look_further))                                                        \
			return name##_further(skb);                                                \
		if (!count_ordinary(skb, ethernet, egress, false))                                 \
			look_closely(skb, ethernet, egress);                                       \
		return NEXT;                                                                       \
	}

LOOK(tc_ingress_eth, true, false)
LOOK(tc_egress_eth, true, true)
LOOK(tc_ingress_l3, false, false)
LOOK(tc_egress_l3, false, true)
