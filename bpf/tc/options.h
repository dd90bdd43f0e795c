// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What user space tells all packet programs: constants at load, variables at run time. */
#ifndef EBPF_TCP_TC_OPTIONS_H
#define EBPF_TCP_TC_OPTIONS_H

#include "kernel.h"

#include "maps.h"

const volatile __u32 netns; /* inode of the namespace that the programs are attached in */
const volatile bool track_half_open;

/* enum look_further: one variable for both bits, because it is nearly always 0. */
volatile __u32 look_further;

/* local_addresses holds all that are this host's; user space flips it at run time. */
volatile __u32 addresses_known;

/*
 * A map of one value, which the programs address directly: that takes a third of the
 * instructions of a lookup. User space writes to it while programs run.
 */
#define TABLE(name) __attribute__((section(".data." #name), used))

/*
 * Ports with a listener in this namespace. User space puts the namespace's table of
 * port_tables in its place; this only declares what the map is like.
 */
struct port_table ports TABLE(ports);

#endif
