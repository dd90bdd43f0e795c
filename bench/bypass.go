// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// bypass hides packets of an interface from the receiver's programs, while its own program is
// before them and says that the packet passes. What it costs is that of an empty program.
type bypass struct {
	in      lab.Namespace
	device  string
	program *ebpf.Program
	links   []link.Link
}

func openBypass(in lab.Namespace, device string) (*bypass, error) {
	const pass = 0 // TCX_PASS, which ends the chain
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, pass), asm.Return()},
	})
	if err != nil {
		return nil, fmt.Errorf("load an empty program: %w", err)
	}
	return &bypass{in: in, device: device, program: program}, nil
}

// hide begins to hide packets.
func (p *bypass) hide() error {
	return p.in.Do(func() error {
		at, err := net.InterfaceByName(p.device)
		if err != nil {
			return fmt.Errorf("look for %s: %w", p.device, err)
		}
		for _, hook := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
			l, err := link.AttachTCX(link.TCXOptions{Interface: at.Index, Program: p.program, Attach: hook, Anchor: link.Head()})
			if err != nil {
				return fmt.Errorf("attach an empty program to %s: %w", p.device, err)
			}
			p.links = append(p.links, l)
		}
		return nil
	})
}

// show ends it.
func (p *bypass) show() error {
	var failed []error
	for _, l := range p.links {
		failed = append(failed, l.Close())
	}
	p.links = nil
	return errors.Join(failed...)
}

func (p *bypass) Close() error { return errors.Join(p.show(), p.program.Close()) }
