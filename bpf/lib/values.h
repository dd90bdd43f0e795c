// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Keys and values of maps that are no records. The rules of records.h hold. */
#ifndef EBPF_TCP_VALUES_H
#define EBPF_TCP_VALUES_H

#include "records.h"

/* Classes of segments; the first that fits counts. */
enum packet_class {
	PACKET_SYN = 0,
	PACKET_SYN_ACK,
	PACKET_RST,
	PACKET_FIN,
	PACKET_DATA, /* carries payload */
	PACKET_ACK, /* pure acknowledgment */
	PACKET_ABNORMAL, /* no flags, SYN with FIN or RST, FIN without ACK ... */
	PACKET_CLASSES,
};

/* What is wrong with a header. */
enum malformed {
	MALFORMED_NONE = 0,
	MALFORMED_IP_TRUNCATED, /* the frame ends inside the IP header(s) */
	MALFORMED_IP_HEADER, /* version, header length or extension chain impossible */
	MALFORMED_IP_LENGTH, /* total length below the headers or beyond the frame */
	MALFORMED_TCP_TRUNCATED, /* the datagram ends inside the TCP header */
	MALFORMED_TCP_OFFSET, /* data offset below 5 or beyond the datagram */
	MALFORMED_TCP_OPTIONS, /* an option's length is 0, 1 or past the header */
	MALFORMED_TCP_FLAGS, /* no flags, SYN with FIN, SYN with RST */
	MALFORMED_TCP_PORT, /* port 0 */
	MALFORMED_KINDS,
};

/* Per interface, direction and CPU; user space reads and adds them each interval. */
struct interface_counters {
	__u64 packets[PACKET_CLASSES]; /* server-side, super-packets counted as segments */
	__u64 bytes[PACKET_CLASSES]; /* bytes on the wire as the interface sees them */
	__u64 malformed[MALFORMED_KINDS];
	__u64 fragments; /* non-first fragments: no ports, hence no class */
	__u64 forwarded; /* to or from a listening port, but not an address of this host */
};

/* What all packets are examined for; the bits of look_further. */
enum look_further {
	LOOK_AT_ADDRESS = 1, /* packets of other hosts pass; changes at run time */
	LOOK_AT_ALL = 2, /* any packet may be selected, or its client excluded; set at load */
};

/* As in a packet, IPv4 mapped. */
struct address {
	__u64 halves[2];
};

/* The table of local addresses, and the constants of its hash; see address_hash. */
enum local_address {
	LOCAL_ADDRESSES = 1024,
	LOCAL_ADDRESS_PROBES = 8,
	LOCAL_ADDRESS_FACTOR = 0x9e3779b1,
	LOCAL_ADDRESS_MIXER = 0x85ebca6b,
};

/* Where an interface's counters are; a value of the table interfaces. */
struct interface_slot {
	__u32 ifindex;
	__u32 counters; /* index of its first in packet_counters */
};

/* What a port counter counts. */
enum port_count {
	PORT_RETRANSMIT = 0, /* tcp_retransmit_skb, in segments */
	PORT_SYNACK_RETRANSMIT, /* tcp_retransmit_synack */
	PORT_RESET_SENT, /* tcp_send_reset */
	PORT_RESET_RECEIVED, /* tcp_receive_reset */
	PORT_DROP, /* kfree_skb, detail = the kernel's drop reason */
	PORT_FAILED, /* detail = enum failure */
	PORT_OPENED, /* passive opens, also if the connections map had no room */
	PORT_SYN, /* SYNs to a port that listens and has no place in port_syns */
};

/*
 * What a port_table has of a port: 0, that it listens, or from PORT_PLACE_FIRST on where in
 * port_syns its SYNs count.
 */
enum port_place {
	PORT_LISTENS = 1,
	PORT_PLACE_FIRST,
	PORT_PLACES = 256,
};

/* Key of the port_counters map. */
struct port_counter_key {
	__u32 netns;
	__u32 detail; /* drop reason or failure; 0 otherwise */
	__u16 port; /* 0 where no listener exists */
	__u8 family; /* 4 or 6, of the traffic */
	__u8 count; /* enum port_count */
};

/* Key of listening_ports. */
struct port_key {
	__u32 netns;
	__u32 port;
};

/* Key of half_open_handshakes and repeated_handshakes. */
struct half_open_key {
	struct flow flow;
	__u32 netns;
};

/* The sequence numbers that both ends of a handshake expect next. */
struct half_open_numbers {
	__u32 client_next; /* the client's, after its SYN */
	__u32 server_next; /* the server's, after its SYN-ACK; 0 = no SYN-ACK yet */
};

struct half_open {
	__u64 first; /* boot clock ns of the first SYN */
	__u32 ifindex;
	struct half_open_numbers numbers;
	__u32 window; /* offered in the SYN-ACK, not scaled */
};

/* The bits of a mark's fingerprint that are not the flow's. */
enum mark_bit {
	MARK_TAKEN = 1,
	MARK_OF_SHARE = 2, /* the namespace held its share of half_open_handshakes */
};

/* An attempt that half_open_handshakes had no room for. */
struct half_open_mark {
	__u32 fingerprint; /* of the flow; 0 = free */
	__u32 since; /* boot clock ms, wraps */
	struct half_open_numbers numbers;
};

#define HALF_OPEN_MARKS 4

struct half_open_marks {
	struct half_open_mark marks[HALF_OPEN_MARKS];
};

/* Key of client_filter: IPv4 is v4-mapped, so a /8 is a /104 here. */
struct client_key {
	__u32 prefixlen;
	__u8 address[16];
};

/* The sockets that are reported, by their network namespace; see scope.h. */
enum scope {
	SCOPE_ALL = 0,
	SCOPE_OWN_NETNS,
	SCOPE_INITIAL_USER_NS,
};

/* The maps that network namespaces share; see shares.h. */
enum room {
	ROOM_CONNECTIONS = 0,
	ROOM_LISTENERS,
	ROOM_HALF_OPEN,
	ROOM_PORT_COUNTERS,
	ROOM_SOURCES,
	ROOMS,
};

/* Entries of each of these maps; wraps. */
struct room_counts {
	__u32 entries[ROOMS];
};

/* Of all namespaces. Programs write taken, user space writes returned. */
struct room_totals {
	struct room_counts taken;
	struct room_counts returned;
};

/* The last owner that a CPU named. */
struct last_owner {
	struct process_key process;
	__u64 until; /* of bpf_jiffies64; another look at the map from then on */
	__u32 forgotten; /* processes_forgotten when it was looked up */
	__u32 pad;
};

/* One-second window of a rate-limited record. */
struct rate {
	__u64 window; /* start of the current second */
	__u32 count;
	__u32 pad;
};

/* What one network namespace has taken. */
struct namespace_share {
	struct room_counts taken;
	struct rate failed; /* records of failed attempts */
	__u64 refused; /* when a connection last got no entry for want of a share */
};

/* Ways of a set of wanted. */
#define WANTED_WAYS 4

/*
 * The words of a connection, see wanted.h: towards the server, towards the client. Both have
 * its tag; 0 = free.
 */
struct wanted {
	__u64 words[2];
};

/* The last segment of a connection that was beyond what is wanted, for each direction. */
struct passed {
	__u64 time[2]; /* boot clock ns; 0 = none */
	__u32 end[2]; /* the sequence number behind it */
	__u64 pad;
};

/* The words fill a cache line of their own. */
struct wanted_set {
	struct wanted ways[WANTED_WAYS];
	struct passed passed[WANTED_WAYS];
};

/* What became of the segments of inspected ports, per CPU. */
struct inspect_counts {
	__u64 segments; /* wanted, in pieces */
	__u64 lost; /* of these, for want of room in the ring */
	__u64 bytes; /* copied */
	__u64 beyond; /* segments too far behind what is wanted, see WINDOW */
	__u64 displaced; /* connections that took the way of another */
	__u64 unjoined; /* segments without an entry, over their share of a second */
};

/* What a source did; internal/source has the same numbers. */
enum source_count {
	SOURCE_SYN_LISTENING = 0, /* SYNs to ports that listen */
	SOURCE_SYN_CLOSED, /* to others */
	SOURCE_FLAGS_NULL, /* none of SYN, ACK, FIN and RST */
	SOURCE_FLAGS_FIN, /* FIN without ACK */
	SOURCE_FLAGS_XMAS, /* FIN, PSH and URG without ACK */
	SOURCE_FLAGS_SYN_FIN,
	SOURCE_FLAGS_SYN_RST,
	SOURCE_MALFORMED, /* other faults of the headers */
	SOURCE_PORT_ZERO,
	SOURCE_LAND, /* from where it goes */
	SOURCE_RESET_SYN, /* segments of no connection that the host answered with a reset */
	SOURCE_RESET_SYN_ACK,
	SOURCE_RESET_FLAGS,
	SOURCE_RESET_OTHER,
	SOURCE_COMPLETED, /* connections that were established */
	SOURCE_HALF_OPEN_RESET,
	SOURCE_HALF_OPEN_TIMEOUT,
	SOURCE_CLOSED, /* connections that ended */
	SOURCE_UNANSWERED, /* of these, without a byte of the server */
	SOURCE_COUNTS,
};

/* Key of sources. Only the prefix of an IPv6 address is there; IPv4 is v4-mapped. */
struct source_key {
	struct address address;
	__u32 netns;
	__u32 family; /* 4 or 6 */
};

/* Sets of local ports of a source. */
enum source_ports {
	SOURCE_PORTS_ALL = 0,
	SOURCE_PORTS_FAILED, /* no listener, or answered with a reset */
	SOURCE_PORTS_STRAY, /* impossible flags, or no connection */
	SOURCE_PORT_SETS,
};

#define SOURCE_PORT_WORDS 4

/* What a source did since it got its entry. The counts wrap. */
struct source {
	struct address last; /* the whole address that was seen last */
	/* A bit for each local port, by its hash: linear counting. */
	__u64 ports[SOURCE_PORT_SETS][SOURCE_PORT_WORDS];
	__u32 counts[SOURCE_COUNTS];
	__u32 leaving; /* not 0: user space is about to delete it, and nothing counts here */
};

/* How many keys of sources a run of leave() takes, see ../sources/leave.bpf.c. */
enum leave {
	LEAVE_AT_ONCE = 128,
};

/* Key of source_rest. */
struct source_rest_key {
	__u32 netns;
	__u16 family; /* 4 or 6 */
	__u16 generation; /* of source_gate, when it was counted */
};

/* What sources without an entry did, per CPU. */
struct source_rest {
	__u64 counts[SOURCE_COUNTS];
};

/* The count-min sketch: rows of cells, in pages that are entries of source_sketch. */
enum sketch {
	SKETCH_ROWS = 4,
	SKETCH_CELLS = 65536, /* of a row */
	SKETCH_PAGE_CELLS = 1024, /* cells of a page */
};

struct sketch_page {
	__u32 cells[SKETCH_PAGE_CELLS];
};

/* From how many segments in a window on a source gets an entry. User space writes it. */
struct source_gate {
	__u32 promote;
	__u32 crowded; /* the same once half of the table is taken */
	/* Of keys of source_rest: those of another one are read for the last time, and deleted. */
	__u32 generation;
};

/* How sources got entries or did not, per CPU. */
struct source_entries {
	__u64 entered; /* at once */
	__u64 promoted; /* by the sketch */
	__u64 full; /* segments of sources that found no room */
	__u64 share; /* for want of a share of their namespace */
};

/* The types that Go needs and that no map names, as in records.h. */
union exported_values {
	enum port_count port_count;
	enum packet_class packet_class;
	enum malformed malformed;
	enum room room;
	enum scope scope;
	enum mark_bit mark_bit;
	enum look_further look_further;
	enum local_address local_address;
	struct interface_counters interface_counters;
	struct interface_slot interface_slot;
	struct address address;
	struct wanted_set wanted_set;
	struct inspect_counts inspect_counts;
	enum source_count source_count;
	enum source_ports source_ports;
	enum sketch sketch;
	enum leave leave;
	enum port_place port_place;
};

#endif
