// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package hook

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf/btf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
)

// Decoration is a member of a kernel struct that only decorates a record. bpf/ guards every
// read of it, so its absence costs an attribute and no program. Every other member that a
// program reads is its core.
type Decoration struct {
	Member
	// Gives is what is lost without it.
	Gives string
	// Absent are the counters that are unknown then. Whatever else it feeds has a value
	// of its own for "not known".
	Absent connection.Absent
	// Process: needed only where owning processes are asked for.
	Process bool
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

// Decorations lists all of them, grouped by what they give. A test renames each in a copy of
// the kernel's BTF.
func Decorations() []Decoration {
	return []Decoration{
		{Member: Member{"sock_common", "skc_v6_rcv_saddr"}, Gives: givesIPv6},
		{Member: Member{"sock_common", "skc_v6_daddr"}, Gives: givesIPv6},
		{Member: Member{"tcp_sock", "bytes_received"}, Gives: givesReceived, Absent: connection.AbsentReceivedBytes},
		{Member: Member{"sock_common", "skc_flags"}, Gives: givesReceived, Absent: connection.AbsentReceivedBytes},
		{Member: Member{"tcp_sock", "bytes_acked"}, Gives: givesTransmitted, Absent: connection.AbsentTransmittedBytes},
		{Member: Member{"tcp_sock", "snd_una"}, Gives: givesTransmitted, Absent: connection.AbsentTransmittedBytes},
		{Member: Member{"tcp_sock", "write_seq"}, Gives: givesTransmitted, Absent: connection.AbsentTransmittedBytes},
		{Member: Member{"tcp_sock", "segs_in"}, Gives: "tcp.receive.segment.count", Absent: connection.AbsentReceivedSegments},
		{Member: Member{"tcp_sock", "segs_out"}, Gives: "tcp.transmit.segment.count", Absent: connection.AbsentTransmittedSegments},
		{
			Member: Member{"tcp_sock", "total_retrans"}, Absent: connection.AbsentRetransmits,
			Gives: "tcp.retransmit.count; handshakes' durations",
		},
		{Member: Member{"tcp_sock", "rcv_ooopack"}, Gives: "tcp.out_of_order.count", Absent: connection.AbsentOutOfOrder},
		{Member: Member{"tcp_sock", "srtt_us"}, Gives: "tcp.rtt.smoothed; tcp.server.rtt; handshakes' durations"},
		{Member: Member{"tcp_sock", "rtt_min"}, Gives: "tcp.rtt.min"},
		{Member: Member{"minmax", "s"}, Gives: "tcp.rtt.min"},
		{Member: Member{"minmax_sample", "v"}, Gives: "tcp.rtt.min"},
		{Member: Member{"tcp_sock", "tcp_mstamp"}, Gives: "whether a connection found at accept was open before"},
		{Member: Member{"tcp_request_sock", "snt_synack"}, Gives: "the duration of handshakes whose SYN-ACK was sent again"},
		{Member: Member{"sock", "sk_err_soft"}, Gives: "the close reason timeout after an ICMP error"},
		{Member: Member{"sock", "sk_shutdown"}, Gives: givesLateData},
		{Member: Member{"sock", "sk_lock"}, Gives: givesLateData},
		{Member: Member{"tcp_sock", "data_segs_in"}, Gives: givesLateData + "; handshakes' durations"},
		{Member: Member{"tcp_sock", "rx_opt"}, Gives: givesLateData},
		{Member: Member{"tcp_options_received", "saw_tstamp"}, Gives: givesLateData},
		{Member: Member{"tcp_options_received", "ts_recent"}, Gives: givesLateData},
		{Member: Member{"tcp_options_received", "rcv_tsval"}, Gives: givesLateData},
		{Member: Member{"sock", "sk_max_ack_backlog"}, Gives: "connections that were open before"},
		{Member: Member{"sock", "sk_socket"}, Gives: givesBacklogless},
		{Member: Member{"sock_common", "skc_ipv6only"}, Gives: givesBacklogless},
		{Member: Member{"request_sock_queue", "rskq_defer_accept"}, Gives: "the duration of handshakes with TCP_DEFER_ACCEPT left out"},
		{Member: Member{"sock", "sk_drops"}, Gives: "the port of tcp.server.accept_queue.overflows where no hook counts them"},
		{Member: Member{"inet_sock", "inet_sport"}, Gives: "the port of a listener that binds none and soon ends"},
		{Member: Member{"sk_buff", "skb_iif"}, Gives: "network.interface.name of attempts that failed"},
		{Member: Member{"mptcp_sock", "first"}, Gives: "MPTCP connections that were open before or accepted"},
		{Member: Member{"task_struct", "flags"}, Gives: givesProcess, Process: true},
		{Member: Member{"task_struct", "tgid"}, Gives: givesProcess, Process: true},
		{Member: Member{"task_struct", "group_leader"}, Gives: givesProcess, Process: true},
		{Member: Member{"task_struct", "start_boottime"}, Gives: givesProcess, Process: true},
		{Member: Member{"task_struct", "cgroups"}, Gives: givesContainer, Process: true},
		{Member: Member{"css_set", "dfl_cgrp"}, Gives: givesContainer, Process: true},
		{Member: Member{"css_set", "subsys"}, Gives: givesContainer, Process: true},
		{Member: Member{"cgroup_subsys_state", "cgroup"}, Gives: givesContainer, Process: true},
		{Member: Member{"cgroup", "level"}, Gives: givesContainer, Process: true},
		{Member: Member{"cgroup", "kn"}, Gives: givesContainer, Process: true},
		{Member: Member{"kernfs_node", "id"}, Gives: givesContainer, Process: true},
		{Member: Member{"task_struct", "mm"}, Gives: givesExecutable, Process: true},
		{Member: Member{"mm_struct", "exe_file"}, Gives: givesExecutable, Process: true},
		{Member: Member{"file", "f_path"}, Gives: givesExecutable, Process: true},
		{Member: Member{"path", "dentry"}, Gives: givesExecutable, Process: true},
		{Member: Member{"dentry", "d_name"}, Gives: givesExecutable, Process: true},
		{Member: Member{"qstr", "name"}, Gives: givesExecutable, Process: true},
		{Member: Member{"task_struct", "comm"}, Gives: "the thread's name, where the executable's is not known", Process: true},
	}
}

// why is the error of its State.
func (d *Decoration) why() error {
	return fmt.Errorf("this kernel's struct %s has no member %s", d.Struct, d.Name)
}

// missingDecorations looks up each member in the kernel's BTF. A member of a part that the
// kernel is built without, such as IPv6, is not missing.
func missingDecorations(spec *btf.Spec) []Decoration {
	var missing []Decoration
	for _, d := range Decorations() {
		switch {
		case d.In(spec):
		case d.Gives == givesIPv6 && !hasIPv6():
		case d.Struct == "mptcp_sock" && !hasStruct(spec, d.Struct):
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
