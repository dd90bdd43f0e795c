// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The maps and the types that user space shares with the programs; no program. Go creates
 * the maps from this object and has its declarations of the types from it.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "records.h"
#include "values.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const union exported_records *exported_records SEC(".types");
const union exported_values *exported_values SEC(".types");
