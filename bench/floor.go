// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// floor is empty programs in the receiver's places: what they cost is the least possible.
type floor struct {
	programs []*ebpf.Program
	links    []link.Link
}

// PID is this process, which has nothing to do meanwhile.
func (*floor) PID() int { return os.Getpid() }

func (f *floor) Close() error {
	var failed []error
	for _, l := range f.links {
		failed = append(failed, l.Close())
	}
	for _, p := range f.programs {
		failed = append(failed, p.Close())
	}
	return errors.Join(failed...)
}

// openFloor attaches to the receiver's default hooks that an ordinary connection passes: state
// changes, destroyed sockets, freed buffers, and packets. It leaves out fentry, which accept
// uses on kernels that allow it.
func openFloor(in lab.Namespace) (_ *floor, err error) {
	f := &floor{}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	for _, tracepoint := range []string{"inet_sock_set_state", "tcp_destroy_sock", "kfree_skb"} {
		prog, err := f.load(&ebpf.ProgramSpec{Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: tracepoint})
		if err != nil {
			return f, err
		}
		l, err := link.AttachTracing(link.TracingOptions{Program: prog})
		if err != nil {
			return f, fmt.Errorf("attach an empty program to %s: %w", tracepoint, err)
		}
		f.links = append(f.links, l)
	}
	prog, err := f.load(&ebpf.ProgramSpec{Type: ebpf.SchedCLS})
	if err != nil {
		return f, err
	}
	return f, in.Do(func() error { return f.attachTC(prog, "eth0") })
}

// load gives a program its body. It returns at once; at TC that passes the packet on.
func (f *floor) load(spec *ebpf.ProgramSpec) (*ebpf.Program, error) {
	const next = -1 // TCX_NEXT
	spec.License = "Dual BSD/GPL"
	verdict := int32(0)
	if spec.Type == ebpf.SchedCLS {
		verdict = next
	}
	spec.Instructions = asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()}
	prog, err := ebpf.NewProgram(spec)
	if err != nil {
		return nil, fmt.Errorf("load an empty program: %w", err)
	}
	f.programs = append(f.programs, prog)
	return prog, nil
}

// attachTC has to run on a thread in the interface's namespace.
func (f *floor) attachTC(prog *ebpf.Program, name string) error {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return fmt.Errorf("look for %s: %w", name, err)
	}
	for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		l, err := link.AttachTCX(link.TCXOptions{Interface: device.Index, Program: prog, Attach: at})
		if err != nil {
			return fmt.Errorf("attach an empty program to %s: %w", name, err)
		}
		f.links = append(f.links, l)
	}
	return nil
}

// measureFloor measures the loss that any programs in these places would cause.
func measureFloor(ctx context.Context, b *bench) (err error) {
	s, err := openSite(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	for _, kind := range []struct {
		name    string
		closing bool
	}{{"close-floor", true}, {"keep-alive-floor", false}} {
		c, err := s.compare(ctx, kind.closing, func() (watcher, error) {
			return openFloor(s.network.Server)
		}, func(watcher) error { return nil })
		if errors.Is(err, ebpf.ErrNotSupported) { // TCX needs 6.6
			b.missing(kind.name, err)
			b.missing(kind.name+"-cpu", err)
			continue
		}
		if err != nil {
			return err
		}
		b.found(kind.name, c.loss(), "of %.0f requests/s", c.rate.median())
		b.found(kind.name+"-cpu", c.more(), "")
	}
	return nil
}
