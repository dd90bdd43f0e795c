// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Which segments count for their source, before the port is looked up. They come from the slow
 * path of the observing programs: what the fast path takes is an ordinary segment of a
 * connection.
 *
 * A segment has one kind, the first that fits: port 0, land, malformed, impossible flags, SYN.
 */
#ifndef EBPF_TCP_SOURCE_SEGMENTS_H
#define EBPF_TCP_SOURCE_SEGMENTS_H

#include "flow.h"
#include "options.h"
#include "packet.h"
#include "ports.h"
#include "refusals.h"
#include "sources.h"

#define TCP_PSH 0x08
#define TCP_URG 0x20

/* Flags that no stack sends; SOURCE_COUNTS if they are possible. */
static __always_inline __u32 kind_of_flags(__u8 flags)
{
	switch (flags & (TCP_SYN | TCP_RST | TCP_FIN | TCP_ACK)) {
	case 0:
		return SOURCE_FLAGS_NULL;
	case TCP_FIN:
		return (flags & (TCP_PSH | TCP_URG)) == (TCP_PSH | TCP_URG) ? SOURCE_FLAGS_XMAS
									    : SOURCE_FLAGS_FIN;
	}
	if ((flags & (TCP_SYN | TCP_RST)) == (TCP_SYN | TCP_RST))
		return SOURCE_FLAGS_SYN_RST;
	if ((flags & (TCP_SYN | TCP_FIN)) == (TCP_SYN | TCP_FIN))
		return SOURCE_FLAGS_SYN_FIN;
	return SOURCE_COUNTS;
}

/* The kind, as far as flags and ports tell it; SOURCE_COUNTS if the segment is of no interest. */
static __always_inline __u32 kind_of_segment(const struct parsed *parsed)
{
	__u32 kind;

	if (!parsed->source || !parsed->destination)
		return SOURCE_PORT_ZERO;
	if (parsed->malformed == MALFORMED_TCP_OFFSET || parsed->malformed == MALFORMED_TCP_OPTIONS)
		return SOURCE_MALFORMED;
	kind = kind_of_flags(parsed->flags);
	if (kind == SOURCE_COUNTS && parsed->class == PACKET_SYN)
		kind = SOURCE_SYN_CLOSED;
	return kind;
}

/* Without it, the SYNs of ports are not counted. Set at load. */
const volatile bool count_syns;

/*
 * SYNs to ports that listen, by their place: enum port_place. User space puts the counters of the
 * namespace in its place, and reads them. The programs add. Full: further ports count in
 * port_counters.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PORT_PLACES);
	__type(key, __u32);
	__type(value, __u64);
} port_syns SEC(".maps");

/* The place of a port that listens, or 0. The table has only ports that are selected. */
static __always_inline __u32 place_of_listener(__u16 port)
{
	__u32 place = ports.listening[port_index(port)];

	if (!place && filter_ports && !is_port_selected(port) && is_listening_port(netns, port))
		place = PORT_LISTENS;
	return place;
}

static __always_inline bool has_tcp_header(const struct parsed *parsed)
{
	return !parsed->malformed || parsed->malformed > MALFORMED_TCP_TRUNCATED;
}

static __noinline int count_syn_of_port(const struct address *remote, __u32 port)
{
	struct port_counter_key key = {
		.netns = netns,
		.port = port,
		.family = is_mapped(remote) ? 4 : 6,
		.count = PORT_SYN,
	};

	count_port(&key, 1);
	return 0;
}

static __always_inline void count_syn(const struct address *remote, __u16 port, __u32 place)
{
	__u64 *count;

	if (place >= PORT_PLACE_FIRST) {
		count = bpf_map_lookup_elem(&port_syns, &place);
		if (count)
			++*count;
	} else {
		count_syn_of_port(remote, port);
	}
}

/* An inbound segment. Its addresses are readable whatever else is malformed. */
static __noinline int count_segment_of_source(struct __sk_buff *skb, const struct parsed *parsed)
{
	struct address remote, local;
	__u16 port = parsed->destination;
	__u32 kind = SOURCE_MALFORMED, place;

	/* The address is not there either. */
	if (parsed->malformed == MALFORMED_IP_TRUNCATED)
		return 0;
	if (has_tcp_header(parsed)) {
		kind = kind_of_segment(parsed);
		if (kind == SOURCE_COUNTS)
			return 0;
	}
	/* In promiscuous mode it may have the hardware address of another host. */
	if (skb->pkt_type != PACKET_HOST)
		return 0;
	read_address(skb, parsed, false, &local);
	read_address(skb, parsed, true, &remote);
	if (addresses_known && !is_local(local.halves[0], local.halves[1]))
		return 0;
	if (filter_clients && !is_client_selected((__u8 *)&remote))
		return 0;
	if (kind != SOURCE_PORT_ZERO && has_tcp_header(parsed) &&
	    parsed->source == parsed->destination && remote.halves[0] == local.halves[0] &&
	    remote.halves[1] == local.halves[1])
		kind = SOURCE_LAND;
	place = kind == SOURCE_SYN_CLOSED ? place_of_listener(port) : 0;
	if (place) {
		kind = SOURCE_SYN_LISTENING;
		if (count_syns)
			count_syn(&remote, port, place);
	}
	count_source(&remote, netns, kind, port);
	return 0;
}

/* An inbound reset that ended a half-open attempt. */
static __noinline int count_half_open_reset(struct __sk_buff *skb, const struct parsed *parsed)
{
	struct address remote;

	read_address(skb, parsed, true, &remote);
	count_source(&remote, netns, SOURCE_HALF_OPEN_RESET, parsed->destination);
	return 0;
}

/*
 * Before 6.10 no tracepoint tells of a reset that no socket sends. At egress one without ACK
 * answers a segment that carried ACK. Not counted are the answers of a socket, which the
 * tracepoint notes, and those to a SYN-ACK, which ingress notes.
 */
const volatile bool resets_at_egress;

/* An inbound SYN-ACK may be of no connection. */
static __noinline int note_syn_ack(struct __sk_buff *skb, const struct parsed *parsed)
{
	struct tcp_start tcp;
	struct flow flow __attribute__((aligned(8)));

	if (!read_header(skb, parsed->transport, &tcp))
		return 0;
	read_packet_flow(skb, parsed, false, &flow);
	note_refusal(&flow, bpf_ntohl(tcp.acknowledgment));
	return 0;
}

/* An outbound reset. */
static __noinline int count_reset_of_source(struct __sk_buff *skb, const struct parsed *parsed)
{
	struct address remote;
	struct tcp_start tcp;
	struct flow flow __attribute__((aligned(8)));
	__u16 port;

	if (parsed->flags & TCP_ACK || !read_header(skb, parsed->transport, &tcp))
		return 0;
	read_packet_flow(skb, parsed, true, &flow);
	if (is_refusal_noted(&flow, bpf_ntohl(tcp.sequence)))
		return 0;
	__builtin_memcpy(&remote, flow.local, sizeof(remote));
	if (addresses_known && !is_local(remote.halves[0], remote.halves[1]))
		return 0;
	if (filter_clients && !is_client_selected(flow.remote))
		return 0;
	__builtin_memcpy(&remote, flow.remote, sizeof(remote));
	port = flow.local_port;
	count_source(&remote, netns, SOURCE_RESET_OTHER, port);
	return 0;
}

#endif
