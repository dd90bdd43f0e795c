// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf/btf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
)

// decoration is a member of a kernel struct that only decorates a record: bpf/ guards
// every read of it, so that a kernel without it costs what it gives and no program.
// Every other member that a program reads is its core.
type decoration struct {
	// owner is the struct, member its member's name.
	owner, member string
	// gives is what is lost without it.
	gives string
	// absent are the counters that are not figures then. Whatever else it feeds has a
	// value for "not known" of its own.
	absent connection.Absent
	// process: only Config.Process asks for it.
	process bool
}

const (
	givesReceived    = "tcp.receive.size; tcp.server.io received"
	givesTransmitted = "tcp.transmit.size; tcp.server.io transmitted"
	givesLateData    = "clients' resets told from the kernel's answer to late data"
	givesBacklogless = "connections of listeners without a backlog"
	givesIPv6        = "connections over IPv6"
	givesProcess     = "the process"
	givesContainer   = "the container"
	givesExecutable  = "the executable's name, instead of the thread's"
)

// decorations lists them all, grouped by what they give. A test renames each in a copy
// of the kernel's BTF.
func decorations() []decoration {
	return []decoration{
		{owner: "sock_common", member: "skc_v6_rcv_saddr", gives: givesIPv6},
		{owner: "sock_common", member: "skc_v6_daddr", gives: givesIPv6},
		{owner: "tcp_sock", member: "bytes_received", gives: givesReceived, absent: connection.AbsentReceivedBytes},
		{owner: "sock_common", member: "skc_flags", gives: givesReceived, absent: connection.AbsentReceivedBytes},
		{owner: "tcp_sock", member: "bytes_acked", gives: givesTransmitted, absent: connection.AbsentTransmittedBytes},
		{owner: "tcp_sock", member: "snd_una", gives: givesTransmitted, absent: connection.AbsentTransmittedBytes},
		{owner: "tcp_sock", member: "write_seq", gives: givesTransmitted, absent: connection.AbsentTransmittedBytes},
		{owner: "tcp_sock", member: "segs_in", gives: "tcp.receive.segment.count", absent: connection.AbsentReceivedSegments},
		{owner: "tcp_sock", member: "segs_out", gives: "tcp.transmit.segment.count", absent: connection.AbsentTransmittedSegments},
		{
			owner: "tcp_sock", member: "total_retrans", absent: connection.AbsentRetransmits,
			gives: "tcp.retransmit.count; handshakes' durations",
		},
		{owner: "tcp_sock", member: "rcv_ooopack", gives: "tcp.out_of_order.count", absent: connection.AbsentOutOfOrder},
		{owner: "tcp_sock", member: "srtt_us", gives: "tcp.rtt.smoothed; tcp.server.rtt; handshakes' durations"},
		{owner: "tcp_sock", member: "rtt_min", gives: "tcp.rtt.min"},
		{owner: "minmax", member: "s", gives: "tcp.rtt.min"},
		{owner: "minmax_sample", member: "v", gives: "tcp.rtt.min"},
		{owner: "tcp_sock", member: "tcp_mstamp", gives: "whether a connection found at accept was open before"},
		{owner: "tcp_request_sock", member: "snt_synack", gives: "the duration of handshakes whose SYN-ACK was sent again"},
		{owner: "sock", member: "sk_err_soft", gives: "the close reason timeout after an ICMP error"},
		{owner: "sock", member: "sk_shutdown", gives: givesLateData},
		{owner: "sock", member: "sk_lock", gives: givesLateData},
		{owner: "tcp_sock", member: "data_segs_in", gives: givesLateData + "; handshakes' durations"},
		{owner: "tcp_sock", member: "rx_opt", gives: givesLateData},
		{owner: "tcp_options_received", member: "saw_tstamp", gives: givesLateData},
		{owner: "tcp_options_received", member: "ts_recent", gives: givesLateData},
		{owner: "tcp_options_received", member: "rcv_tsval", gives: givesLateData},
		{owner: "sock", member: "sk_max_ack_backlog", gives: "connections that were open before"},
		{owner: "sock", member: "sk_socket", gives: givesBacklogless},
		{owner: "sock_common", member: "skc_ipv6only", gives: givesBacklogless},
		{owner: "request_sock_queue", member: "rskq_defer_accept", gives: "the duration of handshakes with TCP_DEFER_ACCEPT left out"},
		{owner: "sock", member: "sk_drops", gives: "the port of tcp.server.accept_queue.overflows where no hook counts them"},
		{owner: "inet_sock", member: "inet_sport", gives: "the port of a listener that binds none and soon ends"},
		{owner: "sk_buff", member: "skb_iif", gives: "network.interface.name of attempts that failed"},
		{owner: "mptcp_sock", member: "first", gives: "MPTCP connections that were open before or accepted"},
		{owner: "task_struct", member: "flags", gives: givesProcess, process: true},
		{owner: "task_struct", member: "tgid", gives: givesProcess, process: true},
		{owner: "task_struct", member: "group_leader", gives: givesProcess, process: true},
		{owner: "task_struct", member: "start_boottime", gives: givesProcess, process: true},
		{owner: "task_struct", member: "cgroups", gives: givesContainer, process: true},
		{owner: "css_set", member: "dfl_cgrp", gives: givesContainer, process: true},
		{owner: "css_set", member: "subsys", gives: givesContainer, process: true},
		{owner: "cgroup_subsys_state", member: "cgroup", gives: givesContainer, process: true},
		{owner: "cgroup", member: "level", gives: givesContainer, process: true},
		{owner: "cgroup", member: "kn", gives: givesContainer, process: true},
		{owner: "kernfs_node", member: "id", gives: givesContainer, process: true},
		{owner: "task_struct", member: "mm", gives: givesExecutable, process: true},
		{owner: "mm_struct", member: "exe_file", gives: givesExecutable, process: true},
		{owner: "file", member: "f_path", gives: givesExecutable, process: true},
		{owner: "path", member: "dentry", gives: givesExecutable, process: true},
		{owner: "dentry", member: "d_name", gives: givesExecutable, process: true},
		{owner: "qstr", member: "name", gives: givesExecutable, process: true},
		{owner: "task_struct", member: "comm", gives: "the thread's name, where the executable's is not known", process: true},
	}
}

// why is the error that a HookState has.
func (d *decoration) why() error {
	return fmt.Errorf("this kernel's struct %s has no member %s", d.owner, d.member)
}

// name is the member in C's words.
func (d *decoration) name() string { return d.owner + "." + d.member }

// missingDecorations asks the kernel's BTF. What the kernel has no use for, as IPv6
// where it is not built in, is not missing.
func missingDecorations(spec *btf.Spec) []decoration {
	var missing []decoration
	for _, d := range decorations() {
		switch {
		case hasMember(spec, d.owner, d.member):
		case d.gives == givesIPv6 && !hasIPv6():
		case d.owner == "mptcp_sock" && !hasStruct(spec, d.owner):
		default:
			missing = append(missing, d)
		}
	}
	return missing
}

// hasIPv6 tells whether this kernel can have IPv6 sockets at all.
func hasIPv6() bool {
	_, err := os.Stat("/proc/net/tcp6")
	return !errors.Is(err, fs.ErrNotExist)
}

func hasStruct(spec *btf.Spec, name string) bool {
	var s *btf.Struct
	return spec.TypeByName(name, &s) == nil
}

// hasMember also finds members of structs and unions without a name.
func hasMember(spec *btf.Spec, owner, member string) bool {
	types, err := spec.AnyTypesByName(owner)
	if err != nil {
		return false
	}
	for _, t := range types {
		switch s := btf.UnderlyingType(t).(type) {
		case *btf.Struct:
			if among(s.Members, member) {
				return true
			}
		case *btf.Union:
			if among(s.Members, member) {
				return true
			}
		}
	}
	return false
}

func among(members []btf.Member, name string) bool {
	for _, m := range members {
		switch {
		case m.Name == name:
			return true
		case m.Name != "":
			continue
		}
		switch inner := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			if among(inner.Members, name) {
				return true
			}
		case *btf.Union:
			if among(inner.Members, name) {
				return true
			}
		}
	}
	return false
}

// missingStates tells of the members that are missing as of hooks that are.
func (k *kernelFacts) missingStates(cfg *Config) []HookState {
	var states []HookState
	for i := range k.missing {
		if d := &k.missing[i]; cfg.Process || !d.process {
			states = append(states, HookState{Feature: memberFeature, Name: d.name(), Gives: d.gives, Err: d.why()})
		}
	}
	return states
}

// absent are the counters that this kernel does not give.
func (k *kernelFacts) absent() connection.Absent {
	var absent connection.Absent
	for i := range k.missing {
		absent |= k.missing[i].absent
	}
	return absent
}
