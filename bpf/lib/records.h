// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Records and values of maps: the only ABI between the kernel side and Go. The Go types in
 * internal/probe/shared are generated from these definitions.
 *
 * All integers are in the machine's byte order, ports included. Addresses are 16
 * bytes in network order; IPv4 is stored v4-mapped (::ffff:a.b.c.d). Times are
 * nanoseconds of the boot clock (CLOCK_BOOTTIME). No struct is packed: members are
 * ordered so that the compiler adds no padding, and any padding left has a name.
 */
#ifndef EBPF_TCP_RECORDS_H
#define EBPF_TCP_RECORDS_H

#include <linux/types.h>

/* The kind of a ring record, in its head. */
enum record_kind {
	RECORD_NONE = 0,
	RECORD_OPEN, /* struct open_record */
	RECORD_CLOSE, /* struct close_record */
	RECORD_FAILED, /* struct failed_record */
	RECORD_PACKET, /* struct packet_record */
	RECORD_PROCESS, /* struct process_record */
	RECORD_LISTEN, /* struct listen_record: a socket began to listen */
	RECORD_UNLISTEN, /* struct listen_record: it stopped */
	RECORD_KINDS,
};

/* Why a connection ended; see close_reason(). */
enum close_reason {
	CLOSE_UNKNOWN = 0,
	CLOSE_CLIENT_FIN, /* the client's FIN came first */
	CLOSE_SERVER_FIN, /* the server's FIN went first */
	CLOSE_CLIENT_RESET, /* an acceptable RST arrived */
	CLOSE_SERVER_RESET, /* closed with unread data, linger 0, or killed */
	CLOSE_ABORTED, /* ECONNABORTED: destroyed by an administrator */
	CLOSE_TIMEOUT, /* ETIMEDOUT, or a soft ICMP error without a reset */
};

/* Why an attempt failed. */
enum failure {
	FAILURE_OTHER = 0,
	FAILURE_REFUSED, /* no listener: the host answered with a RST */
	FAILURE_HANDSHAKE_TIMEOUT, /* half-open for longer than the timeout */
	FAILURE_RESET, /* the client reset a half-open attempt */
	FAILURE_ACCEPT_QUEUE_OVERFLOW,
};

/* How the owning process of a connection is known; a greater value is more certain. */
enum owner_source {
	OWNER_NONE = 0,
	OWNER_LISTENER, /* it owns the listening socket; ambiguous for prefork servers */
	OWNER_HOLDER, /* found holding the descriptor by a scan of open files */
	OWNER_CLOSER, /* it closed the socket */
	OWNER_ACCEPTOR, /* it accepted the connection */
};

enum connection_flag {
	CONNECTION_ADOPTED = 1 << 0, /* its beginning was missed */
	CONNECTION_MPTCP = 1 << 1, /* an MPTCP subflow */
	CONNECTION_CLIENT_FIN = 1 << 2, /* the client's FIN came first */
	CONNECTION_SERVER_FIN = 1 << 3, /* the server's FIN went first */
	CONNECTION_RESET_RECEIVED = 1 << 4, /* tcp_receive_reset fired */
	CONNECTION_FIN_SENT = 1 << 5, /* the server has sent a FIN, first or not */
	CONNECTION_RESET_SENT = 1 << 6, /* tcp_send_reset fired before the CLOSE */
	CONNECTION_SYNACK_REPEATED = 1 << 7, /* handshake_us is no round trip */
};

/* The four-tuple seen from the server. */
struct flow {
	__u8 local[16];
	__u8 remote[16];
	__u16 local_port;
	__u16 remote_port;
};

/* A process as the kernel knows it. The start time distinguishes reused pids. */
struct process_key {
	__u64 start; /* task start, boot clock ns */
	__u32 pid; /* tgid in the initial pid namespace */
	__u32 pad;
};

struct owner {
	struct process_key process;
	__u32 source; /* enum owner_source */
	__u32 pad;
};

/* The counters of tcp_sock. Each payload byte counts once; times are in microseconds. */
struct counters {
	__u64 rx_bytes;
	__u64 tx_bytes;
	__u32 rx_segments;
	__u32 tx_segments;
	__u32 retransmits;
	__u32 out_of_order;
	__u32 srtt_us;
	__u32 min_rtt_us;
};

/* Head of every ring record. */
struct record_head {
	__u32 kind; /* enum record_kind */
	__u32 netns; /* inode number of the network namespace */
	__u64 time; /* when the hook ran */
};

/*
 * What is known about a connection while it lives: the value of the connections map, and
 * part of every record about a connection.
 */
struct connection {
	__u64 id; /* unique while the programs are loaded, see take_id */
	__u64 opened; /* when it was established; adoption time when adopted */
	__u64 accepted; /* when accept() returned it; 0 = not known */
	struct owner owner;
	struct flow flow;
	__u32 netns;
	__u32 ifindex; /* interface of the last handshake segment; 0 = unknown */
	__u32 flags; /* enum connection_flag */
	__u32 handshake_us; /* first SYN-ACK to ACK; 0 = not measured, see handshake.h */
	__u32 data_segments; /* received until the server closed; see is_late_data_reset */
};

/* Filled by the state hook at ESTABLISHED, read by probe. */
struct open_record {
	struct record_head head;
	struct connection connection;
};

/* Filled by the state hook at CLOSE, read by probe. */
struct close_record {
	struct record_head head;
	struct connection connection;
	struct counters counters;
	__u32 reason; /* enum close_reason */
	__u32 error; /* sk_err, an errno, for debugging */
};

/* The outcome of a look at the socket of an entry of connections or listeners. */
enum look_outcome {
	LOOK_UNREAD = 0, /* the socket was not read */
	LOOK_READ,
	LOOK_GONE, /* the socket is a different one now */
	LOOK_ENDED, /* the entry is gone or replaced: another record reports its end */
};

/* The byte counts of a live connection; never in the ring. */
struct connection_look {
	__u64 sk; /* the entry's key */
	__u64 id; /* of the connection */
	__u64 rx_bytes; /* as in struct counters */
	__u64 tx_bytes;
	__u32 outcome; /* enum look_outcome */
	__u32 pad;
};

/* One live connection; written to the stream of the snapshot iterator, not to the ring. */
struct live_record {
	struct connection_look look;
	struct connection connection;
};

/* Filled by the socketless-reset hook, TC, or user space's half-open sweep. */
struct failed_record {
	struct record_head head;
	struct flow flow;
	__u32 failure; /* enum failure */
	__u32 ifindex; /* 0 = unknown */
	__u32 pad;
};

#define EXECUTABLE_LEN 64

/* A process that is new to user space; precedes the first record that names it. */
struct process_record {
	struct record_head head;
	struct process_key key;
	__u64 cgroup; /* id (inode) of its cgroup: v2, else a v1 controller's */
	char executable[EXECUTABLE_LEN]; /* basename of the executable; "" = only comm is known */
	char comm[16];
};

/* Whether the listeners map has an entry for a listener. */
enum followed {
	FOLLOWED_NOT = 0, /* the map is full */
	FOLLOWED_YES,
	FOLLOWED_NOT_SHARE, /* the namespace of the listener holds its share of the map */
};

/* Whether listen() asked for a backlog of 0; see inbound.h. */
enum backlogless {
	BACKLOGLESS_NOT = 0,
	BACKLOGLESS_YES,
	BACKLOGLESS_BOTH, /* and it accepts IPv4 and IPv6 */
};

/* Key of backlogless_listeners. */
struct backlogless_key {
	__u8 address[16];
	__u32 netns;
	__u32 port;
};

/*
 * A listening socket, from the state hook or from the start-up scan. A record of its end
 * (RECORD_UNLISTEN) has no owner and the final count of overflows.
 */
struct listen_record {
	struct record_head head;
	__u64 sk; /* kernel address: only an identity */
	struct owner owner;
	__u8 address[16];
	__u64 overflows; /* as in struct listener */
	__u16 port; /* 0: not chosen yet, see open_listener */
	__u8 followed; /* RECORD_LISTEN: enum followed */
	__u8 backlogless; /* RECORD_LISTEN: enum backlogless */
	__u32 pad;
};

/*
 * What is known about a listening socket while it lives: the value of the listeners
 * map. The state hook and the start-up scan fill it.
 */
struct listener {
	__u64 since; /* when the entry was made; distinguishes reused socket addresses */
	__u64 overflows; /* times the accept queue was full, where a hook counts them */
	__u8 address[16];
	__u32 netns;
	__u16 port; /* 0: not chosen yet, see open_listener */
	__u8 ended; /* it ended, and the ring had no room for the record */
	__u8 pad;
};

/* One look at the queues of a listener; never in the ring. */
struct listener_look {
	__u64 sk; /* the entry's key */
	struct listener listener;
	__u32 accept_queue; /* sk_ack_backlog: connections waiting for accept() */
	__u32 accept_limit; /* sk_max_ack_backlog: min(listen()'s backlog, somaxconn) */
	__u32 syn_queue; /* icsk_accept_queue.qlen: handshakes in progress */
	__u32 drops; /* sk_drops: overflows of the accept queue, and other drops */
	__u32 outcome; /* enum look_outcome */
	__u32 pad;
};

/* What the scan of open files writes to its stream for each listener it finds. */
struct scan_record {
	struct listen_record listener;
	struct process_record process;
};

#define TCP_OPTIONS_LEN 40

/* One selected packet; filled by TC, read by probe. */
struct packet_record {
	struct record_head head;
	struct flow flow; /* local = this host */
	__u32 ifindex;
	__u32 length; /* bytes on the wire, link header included */
	__u32 payload; /* TCP payload bytes */
	__u32 sequence;
	__u32 acknowledgment;
	__u16 window; /* as sent, not scaled */
	__u8 flags; /* TCP flag byte: CWR ECE URG ACK PSH RST SYN FIN */
	__u8 egress; /* 1 = leaving the host */
	__u8 options_len;
	__u8 malformed; /* enum malformed; 0 = well-formed */
	__u8 reserved; /* the three reserved bits and AE/NS, as in byte 12 & 0x0f */
	__u8 pad;
	__u8 options[TCP_OPTIONS_LEN]; /* raw */
	__u32 pad2;
};

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

/* Key of half_open. */
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

/*
 * The kinds of facts that the ledger tells apart. internal/ledger has the same numbers; a
 * test holds the two together.
 */
enum event {
	EVENT_CONNECTION = 0,
	EVENT_OPEN,
	EVENT_FAILED,
	EVENT_PACKET,
	EVENT_LISTENER,
	EVENT_PROCESS,
	EVENT_PORT_COUNT,
	EVENTS,
};

/* Why the kernel side loses facts: the first causes of internal/ledger. */
enum cause {
	CAUSE_MAP_FULL = 0,
	CAUSE_MAP_SHARE, /* the namespace holds its share of the map */
	CAUSE_MAP_STALE, /* an entry was overwritten: its end was missed */
	CAUSE_RING_FULL,
	CAUSE_RATE_LIMITED,
	CAUSE_RATE_SHARE, /* the namespace had its share of this second */
	CAUSES,
};

/* Why half_open_handshakes had no room: CAUSE_MAP_FULL or CAUSE_MAP_SHARE. */
#define MARK_CAUSES 2

/*
 * The kernel side's ledger of losses, per CPU; the value of the ledger map. What is produced
 * is counted before anything that can fail.
 */
struct ledger {
	__u64 opened; /* connections, counted before the map insert */
	__u64 adopted; /* connections whose beginning was missed: found by a scan, or late */
	__u64 produced[EVENTS]; /* other events */
	__u64 lost[EVENTS][CAUSES];
	/*
	 * Half-open attempts that left a mark, for want of room in half_open_handshakes, and
	 * those of them that ended within the timeout. User space derives what is lost.
	 */
	__u64 marked[MARK_CAUSES];
	__u64 marks_ended[MARK_CAUSES];
};

/*
 * Every type that Go needs, apart from the keys and values of maps: the type information of
 * shared.bpf.c only has what a map or a global names.
 */
union exported_types {
	enum record_kind record_kind;
	enum close_reason close_reason;
	enum failure failure;
	enum owner_source owner_source;
	enum connection_flag connection_flag;
	enum event event;
	enum cause cause;
	enum port_count port_count;
	enum look_outcome look_outcome;
	enum backlogless backlogless;
	enum packet_class packet_class;
	enum malformed malformed;
	enum room room;
	enum followed followed;
	enum scope scope;
	enum mark_bit mark_bit;
	enum look_further look_further;
	enum local_address local_address;
	struct open_record open;
	struct close_record close;
	struct failed_record failed;
	struct process_record process;
	struct connection_look connection_look;
	struct live_record live;
	struct scan_record scan;
	struct listener_look listener_look;
	struct packet_record packet;
	struct interface_counters interface_counters;
	struct interface_slot interface_slot;
	struct address address;
};

#endif
