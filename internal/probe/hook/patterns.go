// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"errors"
	"fmt"
	"path"
	"slices"
)

// ErrExcluded is the refusal of a hook that the configuration leaves out.
const ErrExcluded = LeftOut("excluded by hooks::exclude")

// Known lists the names of all hooks, as the diagnosis prints them. A test compares the
// list with what the diagnosis tries.
func Known() []string {
	return []string{
		"clsact/egress",
		"clsact/ingress",
		"fentry/security_sock_graft",
		"fentry/tcp_conn_request",
		"fentry/tcp_v4_syn_recv_sock",
		"fentry/tcp_v6_syn_recv_sock",
		"iter/bpf_map_elem",
		"iter/task_file",
		"iter/tcp",
		"kprobe.multi/security_sock_graft",
		"kprobe.multi/tcp_conn_request",
		"kprobe.multi/tcp_v4_syn_recv_sock",
		"kprobe.multi/tcp_v6_syn_recv_sock",
		"kprobe/security_sock_graft",
		"kprobe/tcp_conn_request",
		"kprobe/tcp_v4_syn_recv_sock",
		"kprobe/tcp_v6_syn_recv_sock",
		"map/lookup_batch",
		"prog_run/syscall",
		"raw_tp/cgroup_attach_task",
		"raw_tp/kfree_skb",
		"raw_tp/sched_process_exec",
		"raw_tp/tcp_receive_reset",
		"raw_tp/tcp_retransmit_skb",
		"raw_tp/tcp_retransmit_synack",
		"raw_tp/tcp_send_reset",
		"setns",
		"tcx/egress",
		"tcx/ingress",
		"tp_btf/inet_sock_set_state",
		"tp_btf/tcp_destroy_sock",
		"tracepoint/syscalls/sys_exit_accept",
		"tracepoint/syscalls/sys_exit_accept4",
	}
}

// CheckPattern returns an error for a pattern that is malformed or matches no hook.
func CheckPattern(pattern string) error {
	if _, err := path.Match(pattern, ""); err != nil {
		return err
	}
	if !slices.ContainsFunc(Known(), Patterns{pattern}.Match) {
		return errors.New("matches no hook; ebpf-tcp-doctor prints the names of all, such as iter/bpf_map_elem")
	}
	return nil
}

// Patterns match the hooks that the configuration excludes, in the syntax of path.Match.
// An excluded hook is treated as if the kernel refused it.
type Patterns []string

// Match reports whether a pattern matches the hook.
func (p Patterns) Match(hook string) bool {
	return slices.ContainsFunc(p, func(pattern string) bool {
		ok, err := path.Match(pattern, hook)
		return ok && err == nil
	})
}

// Refuse returns an error for a hook that is excluded.
func (p Patterns) Refuse(hook string) error {
	if p.Match(hook) {
		return fmt.Errorf("%s: %w", hook, ErrExcluded)
	}
	return nil
}
