// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Maps that more than one program reads or writes. Both vantage points declare
 * them; user space creates each once and hands it to both. Sizes marked "set at
 * load" come from the configuration.
 */
#ifndef EBPF_TCP_MAPS_H
#define EBPF_TCP_MAPS_H

#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "records.h"

/*
 * Records on their way to user space. Every hook submits, the drain consumes.
 * Full: the record is lost and counted in the ledger. Size set at load.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} records SEC(".maps");

/* The kernel's side of the loss accounting; every hook adds, user space reads. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LEDGER_ENTRIES);
	__type(key, __u32);
	__type(value, __u64);
} ledger SEC(".maps");

/*
 * Ports with a listener, per network namespace. The state hook inserts when a
 * socket begins to listen, the start-up scan inserts those found; user space
 * deletes when the last listener is gone. Full: the port's counters go without a
 * port.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct port_key);
	__type(value, __u32);
} listening_ports SEC(".maps");

/*
 * Local ports of interest: not 0 = somebody listens, and the configuration
 * selects it. By the port in network byte order, as packets have it. A byte each,
 * because atomic bit operations need 5.12.
 */
struct port_table {
	__u8 listening[65536];
};

/*
 * The same per packet: the port table of each attached network namespace, by its
 * inode. TC programs have their namespace's as a variable. User space inserts and
 * deletes tables; in them the state hook sets ports, user space sets and clears.
 * Never full, for user space attaches to no more namespaces than it has room for.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 1); /* our own namespace; with others, set at load */
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
 * Counts per namespace, port and kind. Any hook inserts and adds; user space reads
 * and deletes those of namespaces without listeners. Full: counted in the ledger.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct port_counter_key);
	__type(value, __u64);
} port_counters SEC(".maps");

/*
 * Handshakes in progress, when asked for. TC inserts at SYN (BPF_NOEXIST keeps the
 * first) and deletes at what ends it, the hooks of sockets at ESTABLISHED and where
 * the host refuses, user space deletes what is too old. Full: see half_open_marks.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct half_open_key);
	__type(value, struct half_open);
} half_open_handshakes SEC(".maps");

/* One-second windows of the rate-limited records; see within_rate. */
enum rate_limit {
	RATE_FAILED = 0,
	RATE_PACKET,
	RATES,
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RATES);
	__type(key, __u32);
	__type(value, struct rate);
} rates SEC(".maps");

/* LPM key of a client filter: IPv4 is v4-mapped, so a /8 is a /104 here. */
struct client_key {
	__u32 prefixlen;
	__u8 address[16];
};

/*
 * Client filters; user space fills them before anything attaches. A longest match
 * of 1 includes and of 0 excludes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct client_key);
	__type(value, __u32);
} client_filter SEC(".maps");

#endif
