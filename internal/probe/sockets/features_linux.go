// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package sockets

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
)

// Features lists what the hooks of bpf/sock/sock.bpf.c give, in the order in which they attach.
func Features(cfg *settings.Config, host *hook.Host) []hook.Feature {
	return []hook.Feature{
		{
			Name: hook.FeatureConnection, Gives: "connections: beginning, end, counters and reason; new listeners", Wanted: true,
			Ways: hook.Tracepoint(hook.BTF, "inet_sock_set_state", "state"),
		},
		{
			Name: hook.FeatureMissedEnd, Gives: "ends of connections that an interrupt hid", Wanted: true,
			Ways: hook.Tracepoint(hook.BTF, "tcp_destroy_sock", "destroy"),
		},
		{
			Name: hook.FeatureResetReceived, Gives: "resets by clients", Wanted: true,
			Ways: hook.Tracepoint(hook.Raw, "tcp_receive_reset", "receive_reset"),
		},
		{
			Name: hook.FeatureResetSent, Gives: "resets by this host", Wanted: true,
			Ways: hook.Tracepoint(hook.Raw, "tcp_send_reset", "send_reset"),
		},
		{
			Name: hook.FeatureRetransmit, Gives: "tcp.server.retransmits", Wanted: cfg.Retransmits,
			Ways: hook.Tracepoint(hook.Raw, "tcp_retransmit_skb", "retransmit"),
		},
		{
			Name: hook.FeatureSYNACKRetransmit, Gives: "tcp.server.retransmits of SYN-ACKs; the duration of such handshakes",
			Wanted: cfg.Retransmits || cfg.Handshakes,
			Ways:   hook.Tracepoint(hook.Raw, "tcp_retransmit_synack", "retransmit_synack"),
		},
		{
			Name: hook.FeatureDrop, Gives: "tcp.server.drops", Wanted: cfg.Drops, Impossible: host.NoDropReasons(),
			Ways: hook.Tracepoint(hook.Raw, "kfree_skb", "drop"),
		},
		{
			Name: hook.FeatureAccept, Gives: "the accepting process, time in the accept queue", Wanted: cfg.Process || cfg.Accepts,
			Ways: acceptWays(cfg),
		},
		{
			Name: hook.FeatureOwnerChange, Gives: "owners after they execute another program or move to another cgroup",
			Wanted: cfg.Process,
			Ways: []hook.Way{{
				{Program: "exec", Kind: hook.Raw, At: "sched_process_exec"},
				{Program: "cgroup_move", Kind: hook.Raw, At: "cgroup_attach_task"},
			}},
		},
		overflow(cfg, hook.FeatureOverflowSYN, hook.Function{Program: "syn", Name: "tcp_conn_request", Argument: hook.Argument{Position: 2, Pointee: "sock"}}),
		overflow(cfg, hook.FeatureOverflowACK, hook.Function{Program: "ack4", Name: "tcp_v4_syn_recv_sock", Argument: hook.Argument{Position: 2, Pointee: "request_sock"}}),
		overflow(cfg, hook.FeatureOverflowACK6, hook.Function{Program: "ack6", Name: "tcp_v6_syn_recv_sock", Argument: hook.Argument{Position: 2, Pointee: "request_sock"}}),
	}
}

// overflow is one of the places where a full accept queue drops a segment. Each finds its
// own way: 6.1 has fentry for all but one, and IPv6 may be a module.
func overflow(cfg *settings.Config, name string, f hook.Function) hook.Feature {
	return hook.Feature{
		Name: name, Gives: "records of attempts that a full accept queue turned away; their exact number", Wanted: cfg.Overflows,
		Ways: hook.Entries(f),
	}
}

// acceptWays end with the exits of the system calls. A tracepoint on one of them makes every
// system call of the host take the slow path, so this way has to be allowed.
func acceptWays(cfg *settings.Config) []hook.Way {
	var off error
	if !cfg.AcceptTracepoint {
		off = hook.LeftOut("attribution::accept_tracepoint is off")
	}
	return append(hook.Entries(hook.Function{Program: "graft", Name: "security_sock_graft", Argument: hook.Argument{Position: 0, Pointee: "sock"}}), hook.Way{
		{Program: "accept", Kind: hook.Syscall, At: "sys_exit_accept", Off: off},
		{Program: "accept4", Kind: hook.Syscall, At: "sys_exit_accept4", Off: off},
	})
}
