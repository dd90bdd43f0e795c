// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Records, and what they consist of. Together with values.h this is the only ABI between the
 * kernel side and Go. The Go types in internal/probe/shared are generated from it.
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
	RECORD_SEGMENT, /* struct segment_record, in a ring of its own */
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

/* Filled by socket hooks and TC at a reset or a full accept queue, read by probe. */
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
};

/*
 * A segment of an inspected connection, or a piece of a large one. Filled by the inspecting
 * programs, read by probe/inspect. The bytes that are wanted follow.
 */
struct segment_record {
	struct record_head head;
	struct flow flow; /* local = this host */
	__u32 ifindex;
	__u64 connection; /* id; 0 = unknown, or told by an earlier record */
	__u64 acknowledged; /* when the last byte that it acknowledges passed; 0 = unknown */
	struct owner owner; /* where connection is set */
	__u32 sequence; /* of the first byte that follows */
	__u32 acknowledgment;
	__u32 start; /* where the segment began: bytes before sequence were not wanted */
	__u32 first; /* of the first byte to the server; with SEGMENT_BEGINS */
	__u32 length; /* bytes that follow */
	__u32 left; /* bytes of the segment behind them */
	__u32 retransmits; /* total_retrans of the socket, at egress */
	__u8 flags; /* TCP flag byte */
	__u8 egress; /* 1 = leaving the host */
	__u8 known; /* enum segment_known */
	/*
	 * With SEGMENT_FRAMES: the number of the segment among those of its direction that crossed
	 * while frames were followed, from 1 on, modulo 256. Two CPUs can write records of one
	 * direction at once. What is missing before the bytes is DATA, as SEGMENT_FRAMES says, only
	 * if the segment of the number before was seen to its end.
	 */
	__u8 number;
};

/* What the program knew about the connection of a segment; bits. */
enum segment_known {
	SEGMENT_BEGINS = 1 << 0, /* the client sent nothing between the SYN and this segment */
	SEGMENT_JOINED = 1 << 1, /* the connection is new, or had no entry in wanted */
	SEGMENT_SOCKET = 1 << 2, /* retransmits was read */
	/* HTTP/2: what is missing before the bytes is DATA, see bpf/inspect/frames.h */
	SEGMENT_FRAMES = 1 << 3,
	SEGMENT_MONOTONIC = 1 << 4, /* head.time is of the monotonic clock */
	SEGMENT_MORE = 1 << 5, /* further pieces of the segment follow */
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
	EVENT_SEGMENT, /* a segment, or a piece of one, whose bytes inspection wants */
	EVENT_REQUEST, /* only user space produces this one and those down to EVENT_SERVICE */
	EVENT_HANDSHAKE,
	EVENT_SOURCE,
	EVENT_SERVICE,
	EVENT_SOURCE_COUNT, /* what a source did; the kernel counts its losses */
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
 * The types that Go needs, apart from the keys and values of maps: the type information of
 * shared.bpf.c only has what a map or a global names.
 */
union exported_records {
	enum record_kind record_kind;
	enum close_reason close_reason;
	enum failure failure;
	enum owner_source owner_source;
	enum connection_flag connection_flag;
	enum event event;
	enum cause cause;
	enum look_outcome look_outcome;
	enum backlogless backlogless;
	enum followed followed;
	struct open_record open;
	struct close_record close;
	struct failed_record failed;
	struct process_record process;
	struct connection_look connection_look;
	struct live_record live;
	struct scan_record scan;
	struct listener_look listener_look;
	struct packet_record packet;
	struct segment_record segment;
	enum segment_known segment_known;
};

#endif
