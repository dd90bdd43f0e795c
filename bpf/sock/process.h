// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Processes. Other records hold a key of pid and start time; a record per process holds the
 * names and the cgroup.
 */
#ifndef EBPF_TCP_PROCESS_H
#define EBPF_TCP_PROCESS_H

#include "emit.h"

#include <bpf/bpf_core_read.h>

const volatile bool attribute_process = true;

/* The members that lead to the cgroup; a kernel without CONFIG_CGROUPS has none. */
#define HAS_CGROUPS                                                                                \
	(bpf_core_field_exists(struct task_struct, cgroups) &&                                     \
	 bpf_core_field_exists(struct css_set, dfl_cgrp) &&                                        \
	 bpf_core_field_exists(struct css_set, subsys) &&                                          \
	 bpf_core_field_exists(struct cgroup_subsys_state, cgroup) &&                              \
	 bpf_core_field_exists(struct cgroup, level) &&                                            \
	 bpf_core_field_exists(struct cgroup, kn) &&                                               \
	 bpf_core_field_exists(struct kernfs_node, id))

/* The cgroup that names the container: v2, else of a v1 controller; 0 = unknown. */
static __always_inline __u64 task_cgroup(struct task_struct *task)
{
	struct cgroup_subsys_state *css = NULL;
	struct css_set *set;
	struct cgroup *v2;
	__u64 base;

	if (!HAS_CGROUPS)
		return 0;
	set = BPF_CORE_READ(task, cgroups);
	v2 = BPF_CORE_READ(set, dfl_cgrp);
	base = (__u64)set + bpf_core_field_offset(struct css_set, subsys);
	/* In the root of v2 there is no container, or the host still uses v1 for them. */
	if (BPF_CORE_READ(v2, level) > 0)
		return BPF_CORE_READ(v2, kn, id);
	if (bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		bpf_probe_read_kernel(&css, sizeof(css),
				      (void *)(base + 8 * bpf_core_enum_value(enum cgroup_subsys_id,
									      memory_cgrp_id)));
	if (css && BPF_CORE_READ(css, cgroup, level) > 0)
		return BPF_CORE_READ(css, cgroup, kn, id);
	css = NULL;
	if (bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id))
		bpf_probe_read_kernel(&css, sizeof(css),
				      (void *)(base + 8 * bpf_core_enum_value(enum cgroup_subsys_id,
									      pids_cgrp_id)));
	if (css && BPF_CORE_READ(css, cgroup, level) > 0)
		return BPF_CORE_READ(css, cgroup, kn, id);
	return BPF_CORE_READ(v2, kn, id);
}

/* The members that a key needs. */
#define HAS_PROCESS                                                                                \
	(bpf_core_field_exists(struct task_struct, flags) &&                                       \
	 bpf_core_field_exists(struct task_struct, tgid) &&                                        \
	 bpf_core_field_exists(struct task_struct, group_leader) &&                                \
	 bpf_core_field_exists(struct task_struct, start_boottime))

static __always_inline void read_task_key(struct task_struct *task, struct process_key *key)
{
	key->pid = BPF_CORE_READ(task, tgid);
	key->start = BPF_CORE_READ(task, group_leader, start_boottime);
	key->pad = 0;
}

#define HAS_EXECUTABLE                                                                             \
	(bpf_core_field_exists(struct task_struct, mm) &&                                          \
	 bpf_core_field_exists(struct mm_struct, exe_file) &&                                      \
	 bpf_core_field_exists(struct file, f_path) &&                                             \
	 bpf_core_field_exists(struct path, dentry) &&                                             \
	 bpf_core_field_exists(struct dentry, d_name) && bpf_core_field_exists(struct qstr, name))

static __always_inline void describe_process(struct task_struct *task,
					     const struct process_key *key,
					     struct process_record *record)
{
	const unsigned char *name = NULL;

	if (HAS_EXECUTABLE)
		name = BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_name.name);
	record->head.kind = RECORD_PROCESS;
	record->head.netns = 0;
	record->head.time = bpf_ktime_get_boot_ns();
	record->key = *key;
	record->cgroup = task_cgroup(task);
	/* A task that exits has released its mm before it closes its sockets. */
	if (bpf_probe_read_kernel_str(record->executable, sizeof(record->executable), name) < 0)
		record->executable[0] = 0;
	record->comm[0] = 0;
	if (bpf_core_field_exists(struct task_struct, comm))
		BPF_CORE_READ_STR_INTO(&record->comm, task, group_leader, comm);
}

static __always_inline void note_announced(const struct process_key *key)
{
	__u8 announced = 1;

	bpf_map_update_elem(&processes, key, &announced, BPF_ANY);
}

/* How often a process was deleted from processes, because user space may not know it. */
static volatile __u32 processes_forgotten;

/* Describes a process to user space. Rare, hence not inline. */
static __noinline void announce_process(struct task_struct *task, const struct process_key *key)
{
	struct process_record *record;

	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		count_lost(EVENT_PROCESS, CAUSE_RING_FULL, 1);
		/* What user space knows may be outdated: announce it next time. */
		bpf_map_delete_elem(&processes, key);
		__sync_fetch_and_add(&processes_forgotten, 1);
		return;
	}
	describe_process(task, key, record);
	submit(record);
	note_announced(key);
}

/* A process executes another program, or moved to another cgroup. */
static __always_inline void update_process(struct task_struct *task)
{
	struct process_key key;

	read_task_key(task, &key);
	if (bpf_map_lookup_elem(&processes, &key))
		announce_process(task, &key);
}

/*
 * The key of the current process; false for a kernel thread. If the kernel gives the task
 * with its type (5.11, commit 3ca1032ab7ab), loads are direct: one instruction each instead
 * of a call.
 */
static __always_inline bool read_current_key(struct process_key *key)
{
	key->pad = 0;
	if (!HAS_PROCESS)
		return false;
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) {
		const struct task_struct *task = bpf_get_current_task_btf();

		if (task->flags & PF_KTHREAD)
			return false;
		key->pid = task->tgid;
		key->start = task->group_leader->start_boottime;
	} else {
		struct task_struct *task = (void *)bpf_get_current_task();

		if (BPF_CORE_READ(task, flags) & PF_KTHREAD)
			return false;
		read_task_key(task, key);
	}
	return true;
}

/*
 * Jiffies, 0.1 to 1 s. A look at the map that often keeps its LRU from forgetting a busy process,
 * and finds out soon if it has.
 */
#define OWNER_KNOWN 100

/* Whether user space knows a process, as far as this CPU knows. */
static __always_inline bool is_announced(const struct process_key *key)
{
	__u32 first = 0, forgotten = processes_forgotten;
	struct last_owner *last = bpf_map_lookup_elem(&last_owners, &first);
	__u64 now = bpf_jiffies64();

	if (!last)
		return bpf_map_lookup_elem(&processes, key) != NULL;
	if (last->process.start == key->start && last->process.pid == key->pid &&
	    last->forgotten == forgotten && now < last->until)
		return true;
	if (!bpf_map_lookup_elem(&processes, key))
		return false;
	/* An interrupt that writes in between leaves a pair that no process has. */
	last->process = *key;
	last->forgotten = forgotten;
	last->until = now + OWNER_KNOWN;
	return true;
}

/* Makes the current process the owner, unless a better source has set one. */
static __always_inline void set_current_owner(struct owner *owner, __u32 source)
{
	if (!attribute_process || owner->source >= source || !read_current_key(&owner->process))
		return;
	owner->source = source;
	if (!is_announced(&owner->process))
		announce_process((void *)bpf_get_current_task(), &owner->process);
}

#endif
