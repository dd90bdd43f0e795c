// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The maps that several objects or user space use. shared.bpf.c compiles them without a
 * program: user space creates each map once from there, and gives it to all objects.
 * Sizes marked "set at load" come from the configuration.
 */
#ifndef EBPF_TCP_MAPS_H
#define EBPF_TCP_MAPS_H

#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "records.h"
#include "values.h"

/* -- records and losses -------------------------------------------------------- */

/*
 * Records on their way to user space. Every hook submits, user space consumes.
 * Full: the record is lost and counted in the ledger. Size set at load.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} records SEC(".maps");

/* The kernel side's ledger of losses. Every hook adds, user space reads. Never full. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ledger);
} ledger SEC(".maps");

enum rate_limit {
	RATE_FAILED = 0,
	RATE_PACKET,
	RATES,
};

/* One-second windows of the rate-limited records. Programs write them; see count_within_rate. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RATES);
	__type(key, __u32);
	__type(value, struct rate);
} rates SEC(".maps");

/* -- connections --------------------------------------------------------------- */

/*
 * Inbound connections by socket address. The state hook inserts at ESTABLISHED and
 * deletes at CLOSE. It also inserts at the server's FIN, and the accept hooks at accept,
 * if the beginning was missed. The scans insert what was open before the programs were
 * loaded. The destroy hook deletes a connection whose CLOSE was missed, and user space one
 * whose socket a snapshot finds gone twice. Full: the connection is counted as lost and
 * not followed. Size set at load.
 *
 * Why not SK_STORAGE, which tracing programs have since 5.11: creating and deleting an entry
 * of this size took 5.3 times as long as here (460 against 87 ns on 6.18), and each of the
 * four lookups of a connection saves only 4 ns.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, __u64);
	__type(value, struct connection);
} connections SEC(".maps");

/* One for each kind of program that takes ids, because one can interrupt another. */
enum id_space {
	ID_OPENED = 0, /* the state hook, in a softirq */
	ID_ADOPTED, /* the scans */
	ID_LATE, /* accept */
	ID_UNSEEN, /* the state hook, in a process that closes */
	ID_SPACES,
};

struct ids {
	__u64 next[ID_SPACES];
};

/* The last connection ids per CPU. Programs write them, see take_id. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ids);
} connection_ids SEC(".maps");

/*
 * When the connections map last had no room, boot clock ns; 0 = never. After that, a
 * connection that is not in the map need not be new. Written by the program that finds no
 * room. struct namespace_share has the same for a namespace that used up its share.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} connections_full SEC(".maps");

/*
 * When the SYN-ACK first went out, boot clock ns, of handshakes whose SYN-ACK was sent
 * again. The SYN-ACK retransmit hook inserts, the state hook deletes at ESTABLISHED.
 * Full: the oldest entry goes and its duration is not measured. That happens in a flood
 * of SYNs without ACKs.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct half_open_key);
	__type(value, __u64);
} repeated_handshakes SEC(".maps");

/*
 * Processes that user space knows. The socket hooks and the scans insert a process when they
 * first see it, the hooks of exec and of cgroup moves look it up, and whoever finds the ring
 * full deletes it. Full: the LRU forgets, and a process that is seen again is announced again.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct process_key);
	__type(value, __u8);
} processes SEC(".maps");

/*
 * The process that this CPU named as owner last, so that a busy server is not looked up in
 * processes for each connection. Programs write and read, see is_announced. Never full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct last_owner);
} last_owners SEC(".maps");

/* -- listeners and ports ------------------------------------------------------- */

/*
 * Listening sockets by address. The state hook inserts at LISTEN and deletes when
 * listening ends. The start-up scan inserts those it finds (BPF_NOEXIST), user space deletes
 * those whose end was missed. Full: the listener is reported with listen_record.followed
 * unset, user space counts a loss, and its queues are not reported. Preallocated, about
 * 2 MiB: allocation in a tracing program (BPF_F_NO_PREALLOC) is not safe in every context
 * before 6.1. Size set at load.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct listener);
} listeners SEC(".maps");

/*
 * Addresses of listeners that asked for a backlog of 0. One that takes both families is
 * there under both wildcards. User space inserts when a listener is reported, and deletes
 * when the last one at the address is gone. Full: connections that such a listener
 * accepted before the programs were loaded, or while a hook was missed, are not followed.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct backlogless_key);
	__type(value, __u32);
} backlogless_listeners SEC(".maps");

enum backlogless_counts {
	/* Entries of backlogless_listeners. User space writes it. */
	BACKLOGLESS_LISTENERS = 0,
	/* Not 0 once a connection of such a listener was followed. Programs set it. */
	BACKLOGLESS_FOLLOWED,
	BACKLOGLESS_COUNTS,
};

/*
 * Spares outbound sockets, which are many and have no backlog, a lookup in a hash: while
 * both counts are 0, a socket without backlog is neither in connections nor inbound.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BACKLOGLESS_COUNTS);
	__type(key, __u32);
	__type(value, __u32);
} backlogless_count SEC(".maps");

/*
 * Ports with a listener, per network namespace. The state hook inserts when a socket
 * begins to listen, the start-up scan inserts those it finds, user space deletes when the
 * last listener is gone. Full: the counters of the port are reported without a port.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct port_key);
	__type(value, __u32);
} listening_ports SEC(".maps");

/*
 * Local ports of interest: not 0 = there is a listener, and the configuration selects the
 * port; enum port_place says more. The index is the port in network byte order, as packets have it.
 * A byte each, because atomic bit operations need 5.12.
 */
struct port_table {
	__u8 listening[65536];
};

/*
 * The same for packets: the port table of each attached network namespace, by its
 * inode. A TC program has the table of its namespace as a variable. User space inserts and
 * deletes tables. Within a table the state hook sets ports, user space sets and clears
 * them. Never full: user space attaches to no more namespaces than the map has room for.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 1); /* the own namespace; with others, set at load */
	__type(key, __u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_ARRAY);
			__uint(max_entries, 1);
			__uint(map_flags, BPF_F_MMAPABLE); /* user space writes single bytes */
			__uint(key_size, sizeof(__u32));
			__uint(value_size, sizeof(struct port_table));
		});
} port_tables SEC(".maps");

/*
 * Counts per namespace, port and kind. Every hook inserts and adds. User space reads,
 * and deletes those of namespaces without listeners. Full: counted in the ledger.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct port_counter_key);
	__type(value, __u64);
} port_counters SEC(".maps");

/* -- handshakes ---------------------------------------------------------------- */

/*
 * Handshakes in progress, if the configuration asks for them. TC inserts at the first SYN
 * (BPF_NOEXIST) and deletes when a packet ends the attempt. The socket hooks delete at
 * ESTABLISHED and when the host refuses, user space deletes what is too old. Full: see
 * half_open_marks.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct half_open_key);
	__type(value, struct half_open);
} half_open_handshakes SEC(".maps");

/*
 * Marks of attempts that half_open_handshakes had no room for, in sets; the hash of the
 * flow chooses the set. TC inserts at a SYN and clears at the end of the attempt. The
 * socket hooks clear at ESTABLISHED and when the host refuses; user space counts the
 * young ones. Full: the oldest mark of the set is lost. Size set at load.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct half_open_marks);
} half_open_marks SEC(".maps");

/*
 * When the last mark was made, in jiffies: marks are searched while one may be young. TC
 * writes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} last_half_open_mark SEC(".maps");

#define REPORTED_REFUSALS 1024

/*
 * Hashes of refusals that the tracepoint reported; 0 = none. tcp_send_reset writes, TC at
 * egress reads. Nobody deletes: a reset may leave by several interfaces with programs, as a
 * container's does. Full: a new hash overwrites an old one.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, REPORTED_REFUSALS);
	__type(key, __u32);
	__type(value, __u64);
} reported_refusals SEC(".maps");

/* -- shares of network namespaces ---------------------------------------------- */

/*
 * What all namespaces have taken of each map that they share. Programs count what they
 * insert and delete, user space writes what it has deleted. Never full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct room_totals);
} rooms_taken SEC(".maps");

/*
 * What this CPU has not yet added to rooms_taken, of the maps that change with each
 * connection; see count_room. Never full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct room_counts);
} rooms_pending SEC(".maps");

/*
 * The same per network namespace, without the collector's own. A program inserts with the
 * first entry of a namespace, user space deletes when all its entries are gone. Full: further
 * namespaces are not counted, and get nothing once a map is three quarters full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct namespace_share);
} namespace_rooms SEC(".maps");

/* What user space has deleted of each namespace. Only user space writes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct room_counts);
} namespace_returns SEC(".maps");

/* -- inspection ---------------------------------------------------------------- */

/*
 * Segments on their way to user space, apart from records, so that payload never displaces
 * the end of a connection. Inspecting programs submit, user space consumes. Full: the
 * segment is lost and counted in inspect_counts. Size set at load.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} segments SEC(".maps");

/*
 * What is wanted of each inspected connection, in sets of ways; the hash of the connection
 * chooses the set. The inspecting programs insert a connection at its SYN-ACK if a way of the
 * set is free, else at its first data. User space writes numbers, and clears the entry when
 * the connection is over. Full: data takes a way from another connection, whose next data
 * takes one in turn. See wanted.h. Size set at load.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct wanted_set);
} wanted SEC(".maps");

/* What became of segments. Inspecting programs add, user space reads. Never full. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct inspect_counts);
} inspect_counts SEC(".maps");

/* -- sources ------------------------------------------------------------------- */

/*
 * What sources of segments did, with sources::enabled. The packet programs and the state
 * hook insert, see bpf/sources. User space reads all of it each interval, and deletes those
 * that were idle: they are leaving first. Full: the source counts in source_rest. Size set at
 * load.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct source_key);
	__type(value, struct source);
} sources SEC(".maps");

/*
 * A count-min sketch of the segments of sources without an entry. The packet programs add,
 * user space clears it each interval. Never full, but crowded: see sketch.h. Size set at
 * load.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct sketch_page);
} source_sketch SEC(".maps");

/* Only user space writes. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct source_gate);
} source_gate SEC(".maps");

/*
 * What sources without an entry did, per namespace and IP version. Programs insert and add to
 * entries of the present generation, user space reads. If some were idle, it begins another
 * generation, and deletes all entries of the one before. Full: lost, and counted as such. Size
 * set at load.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1);
	__type(key, struct source_rest_key);
	__type(value, struct source_rest);
} source_rest SEC(".maps");

/* Programs add, user space reads. Never full. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct source_entries);
} source_entries SEC(".maps");

/* -- selection ----------------------------------------------------------------- */

/*
 * Client filters. User space fills the map before any program is attached. A longest match
 * of 1 includes, of 0 excludes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct client_key);
	__type(value, __u32);
} client_filter SEC(".maps");

#endif
