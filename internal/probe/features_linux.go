// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// feature is something that the socket vantage point learns. Its ways are tried in
// their order, until one attaches; when none does, only this feature is lost.
type feature struct {
	// name is for configuration and diagnosis, gives for people: what is lost
	// without it.
	name, gives string
	// wanted is false when the configuration leaves it out: nothing is loaded.
	wanted bool
	ways   []way
	// impossible is why this kernel can't give it, known without trying.
	impossible error
}

// way is a set of hooks that give a feature together.
type way []hook

// hook is one program at one place of the kernel.
type hook struct {
	// program is its name in bpf/sock/sock.bpf.c.
	program string
	// kind is how it attaches, at what the kernel calls the place.
	kind hookKind
	at   string
	// argument is what the program takes for granted about a kernel function.
	argument argument
	// off is why the configuration leaves it out.
	off error
}

// point is the hook's name in the kernel's own words.
func (h *hook) point() string { return string(h.kind) + "/" + h.at }

// argument is a parameter of a kernel function, from 0, that points to a struct. The
// zero value stands for none.
type argument struct {
	position int
	pointee  string
}

type hookKind string

const (
	hookBTF         hookKind = "tp_btf"
	hookRaw         hookKind = "raw_tp"
	hookFentry      hookKind = "fentry"
	hookKprobeMulti hookKind = "kprobe.multi"
	hookKprobe      hookKind = "kprobe"
	hookSyscall     hookKind = "tracepoint/syscalls"
)

// missing says why no hook of a kind can attach here, where the kernel's own answer
// would not.
func (k hookKind) missing() error {
	if k != hookKprobe {
		return nil
	}
	if _, err := os.Stat("/sys/bus/event_source/devices/kprobe"); err != nil {
		return errors.New("this kernel has no kprobes (CONFIG_KPROBE_EVENTS)")
	}
	return nil
}

func (k hookKind) attach(at string, p *ebpf.Program) (link.Link, error) {
	switch k {
	case hookRaw:
		return link.AttachRawTracepoint(link.RawTracepointOptions{Name: at, Program: p})
	case hookKprobeMulti:
		l, err := link.KprobeMulti(p, link.KprobeMultiOptions{Symbols: []string{at}})
		if errors.Is(err, ebpf.ErrNotSupported) {
			err = errors.New("this kernel has no kprobe.multi (Linux 5.18, CONFIG_FPROBE)")
		}
		return l, err
	case hookKprobe:
		return link.Kprobe(at, p, nil)
	case hookSyscall:
		return attachSyscallTracepoint(at, p)
	default: // what the program was loaded for says where
		return link.AttachTracing(link.TracingOptions{Program: p})
	}
}

// function is a kernel function that programs are attached to the entry of.
type function struct {
	// program is the first part of a name in bpf/sock/sock.bpf.c: program_fentry and
	// program_kprobe.
	program, name string
	argument      argument
}

// entries are the ways to the entry of a function, best first: fentry jumps
// straight into the program, kprobe.multi comes in through ftrace, kprobe through a
// breakpoint or a jump of its own.
func entries(f function) []way {
	var ways []way
	for _, kind := range []hookKind{hookFentry, hookKprobeMulti, hookKprobe} {
		suffix := "_kprobe"
		if kind == hookFentry {
			suffix = "_fentry"
		}
		ways = append(ways, way{{program: f.program + suffix, kind: kind, at: f.name, argument: f.argument}})
	}
	return ways
}

// tracepoint is the only way to most features.
func tracepoint(kind hookKind, name, program string) []way {
	return []way{{{program: program, kind: kind, at: name}}}
}

// Features that other code asks for.
const (
	connectionFeature = FeatureConnection
	resetFeature      = FeatureResetSent
	refusedFeature    = "refused"
	memberFeature     = "member"
	packetFeature     = FeaturePacket
	namespacesFeature = "network_namespaces"
	acceptFeature     = FeatureAccept
	overflowAtSYN     = FeatureOverflowSYN
	overflowAtACK     = FeatureOverflowACK
	overflowAtACK6    = FeatureOverflowACK6
	ownerFeature      = "owner_change"
)

// featureTable lists the features in the order they attach.
func featureTable(cfg *Config, kernel *kernelFacts) []feature {
	return []feature{
		{
			name: connectionFeature, gives: "connections: beginning, end, counters and reason; new listeners", wanted: true,
			ways: tracepoint(hookBTF, "inet_sock_set_state", "state"),
		},
		{
			name: "missed_end", gives: "ends of connections that an interrupt hid", wanted: true,
			ways: tracepoint(hookBTF, "tcp_destroy_sock", "destroy"),
		},
		{
			name: FeatureResetReceived, gives: "resets by clients", wanted: true,
			ways: tracepoint(hookRaw, "tcp_receive_reset", "receive_reset"),
		},
		{
			name: resetFeature, gives: "resets by this host", wanted: true,
			ways: tracepoint(hookRaw, "tcp_send_reset", "send_reset"),
		},
		{
			name: FeatureRetransmit, gives: "tcp.server.retransmits", wanted: cfg.Retransmits,
			ways: tracepoint(hookRaw, "tcp_retransmit_skb", "retransmit"),
		},
		{
			name: FeatureSYNACKRetransmit, gives: "tcp.server.retransmits of SYN-ACKs; the duration of such handshakes",
			wanted: cfg.Retransmits || cfg.Handshakes,
			ways:   tracepoint(hookRaw, "tcp_retransmit_synack", "retransmit_synack"),
		},
		{
			name: FeatureDrop, gives: "tcp.server.drops", wanted: cfg.Drops, impossible: kernel.noDropReasons(),
			ways: tracepoint(hookRaw, "kfree_skb", "drop"),
		},
		{
			name: acceptFeature, gives: "the accepting process, time in the accept queue", wanted: cfg.Process || cfg.Accepts,
			ways: acceptWays(cfg),
		},
		{
			name: ownerFeature, gives: "owners after they execute another program or move to another cgroup",
			wanted: cfg.Process,
			ways: []way{{
				{program: "exec", kind: hookRaw, at: "sched_process_exec"},
				{program: "cgroup_move", kind: hookRaw, at: "cgroup_attach_task"},
			}},
		},
		overflow(cfg, overflowAtSYN, function{"syn", "tcp_conn_request", argument{2, "sock"}}),
		overflow(cfg, overflowAtACK, function{"ack4", "tcp_v4_syn_recv_sock", argument{2, "request_sock"}}),
		overflow(cfg, overflowAtACK6, function{"ack6", "tcp_v6_syn_recv_sock", argument{2, "request_sock"}}),
	}
}

// overflow is one of the places where a full accept queue turns a segment away. Each
// finds its own way: 6.1 has fentry for all but one, and IPv6 may be a module.
func overflow(cfg *Config, name string, f function) feature {
	return feature{
		name: name, gives: "records of attempts that a full accept queue turned away; their exact number", wanted: cfg.Overflows,
		ways: entries(f),
	}
}

// acceptWays end with the system calls' exits, which cost every system call of the host:
// a tracepoint on one has all of them leave, and enter, the long way.
func acceptWays(cfg *Config) []way {
	var off error
	if !cfg.AcceptTracepoint {
		off = LeftOut("attribution::accept_tracepoint is off")
	}
	return append(entries(function{"graft", "security_sock_graft", argument{0, "sock"}}), way{
		{program: "accept", kind: hookSyscall, at: "sys_exit_accept", off: off},
		{program: "accept4", kind: hookSyscall, at: "sys_exit_accept4", off: off},
	})
}
