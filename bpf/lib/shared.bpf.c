// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The maps and the types that user space shares with the programs; no program. Go creates
 * the maps from this object and has its declarations of the types from it.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "records.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The object's type information has only what a map or a global names; these are the rest. */
const union exported_types {
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
} *exported_types SEC(".types");
