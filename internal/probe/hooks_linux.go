// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// hook is one place where the socket vantage point listens to the kernel.
type hook struct {
	// program is its name in bpf/sock.bpf.c, point the kernel's name.
	program, point string
	gives          string
	// wanted is false when the configuration leaves it out: it is not loaded.
	wanted bool
	attach func(*ebpf.Program) (link.Link, error)
}

// hookTable lists the hooks in the order they attach: the end of a connection
// before its beginning, which is left out when the end can't be seen.
func hookTable(cfg *Config, facts *kernelFacts) []hook {
	traced := func(p *ebpf.Program) (link.Link, error) {
		return link.AttachTracing(link.TracingOptions{Program: p})
	}
	raw := func(name string) func(*ebpf.Program) (link.Link, error) {
		return func(p *ebpf.Program) (link.Link, error) {
			return link.AttachRawTracepoint(link.RawTracepointOptions{Name: name, Program: p})
		}
	}
	syscall := func(name string) func(*ebpf.Program) (link.Link, error) {
		return func(p *ebpf.Program) (link.Link, error) {
			return attachSyscallTracepoint(name, p)
		}
	}
	const state = "tp_btf/inet_sock_set_state"
	accept := cfg.Process && cfg.AcceptTracepoint
	return []hook{
		// Twice: the kernel skips a program that interrupts itself, but not its twin.
		{"state_close", state, "connections: their end, counters and reason", true, traced},
		{"state_close", state, "connections: ends that interrupt another", true, traced},
		{"state_local", state, "new listeners; which process closed; who sent the first FIN", true, traced},
		{"receive_reset", "raw_tp/tcp_receive_reset", "resets by clients", true, raw("tcp_receive_reset")},
		{"send_reset", "raw_tp/tcp_send_reset", "resets by this host; refused connections", true, raw("tcp_send_reset")},
		{"retransmit", "raw_tp/tcp_retransmit_skb", "tcp.server.retransmits", cfg.Retransmits, raw("tcp_retransmit_skb")},
		{"retransmit_synack", "raw_tp/tcp_retransmit_synack", "tcp.server.retransmits of SYN-ACKs", cfg.Retransmits, raw("tcp_retransmit_synack")},
		{"drop", "raw_tp/kfree_skb", "tcp.server.drops", cfg.Drops, raw("kfree_skb")},
		{"accept", "tracepoint/syscalls/sys_exit_accept", "the accepting process, time in the accept queue", accept, syscall("sys_exit_accept")},
		{"accept4", "tracepoint/syscalls/sys_exit_accept4", "the accepting process, time in the accept queue", accept, syscall("sys_exit_accept4")},
		{"state_arrival", state, "connections: their beginning", true, traced},
	}
}

// attachment is a hook that was asked for, and what became of it.
type attachment struct {
	hook
	prog *ebpf.Program
	link link.Link
	err  error
}

func (o *objects) attach(h hook) *attachment {
	a := &attachment{hook: h}
	if a.prog, a.err = o.hooks.load(h.program); a.err != nil {
		a.err = fmt.Errorf("load %s: %w", h.point, hint(a.err))
		return a
	}
	if a.link, a.err = h.attach(a.prog); a.err != nil {
		a.err = fmt.Errorf("attach %s: %w", h.point, hint(a.err))
		_ = a.prog.Close()
		a.prog = nil
	}
	return a
}

// hint adds what usually helps to errors that the kernel leaves bare.
func hint(err error) error {
	var verifier *ebpf.VerifierError
	switch {
	case errors.As(err, &verifier):
		return err
	case errors.Is(err, errPermission):
		return fmt.Errorf("needs root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN: %w", err)
	default:
		return err
	}
}

func (a *attachment) detach() error {
	if a.link == nil {
		return nil
	}
	err := a.link.Close()
	a.link = nil
	if err != nil {
		return fmt.Errorf("detach %s: %w", a.point, err)
	}
	return nil
}

func (a *attachment) close() error {
	err := a.detach()
	if a.prog != nil {
		err = errors.Join(err, a.prog.Close())
		a.prog = nil
	}
	return err
}

func (a *attachment) state() HookState {
	state := HookState{Name: a.point, Gives: a.gives, Attached: a.link != nil, Err: a.err}
	state.addStatistics(a.prog)
	return state
}

// addStatistics fills in the kernel's figures; without them they stay 0.
func (s *HookState) addStatistics(prog *ebpf.Program) {
	if prog == nil {
		return
	}
	stats, err := prog.Stats()
	if err != nil {
		return
	}
	s.Runs += stats.RunCount
	s.Nanoseconds += uint64(stats.Runtime)
	s.Missed += stats.RecursionMisses
}
