// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package hook

import (
	"errors"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
)

// Feature is something that a vantage point learns from hooks. Its ways are tried in order
// until one attaches. If none does, only this feature is lost.
type Feature struct {
	// Name is for configuration and diagnosis. Gives says for people what is lost
	// without the feature.
	Name, Gives string
	// Wanted is false if the configuration excludes it. Nothing is loaded then.
	Wanted bool
	Ways   []Way
	// Impossible says why this kernel cannot support the feature; nil if it has to be tried.
	Impossible error
}

// Way is a set of hooks that provide a feature together.
type Way []Hook

// Hook is one program at one place of the kernel.
type Hook struct {
	// Program is its name in the BPF object.
	Program string
	// Kind is how it attaches; At is the kernel's name of the place.
	Kind Kind
	At   string
	// Argument is what the program relies on about a kernel function.
	Argument Argument
	// Off says why the configuration leaves the hook out.
	Off error
}

// Point is the hook's name in the kernel's own words.
func (h *Hook) Point() string { return string(h.Kind) + "/" + h.At }

// Argument is a parameter of a kernel function, counted from 0, that points to a struct.
// The zero value stands for none.
type Argument struct {
	Position int
	Pointee  string
}

// Kind is a way of attaching a program.
type Kind string

// The kinds, by the names that libbpf's sections have.
const (
	BTF         Kind = "tp_btf"
	Raw         Kind = "raw_tp"
	Fentry      Kind = "fentry"
	KprobeMulti Kind = "kprobe.multi"
	Kprobe      Kind = "kprobe"
	Syscall     Kind = "tracepoint/syscalls"
)

// missing says why no hook of a kind can attach on this host, where the kernel's own
// error would not say so.
func (k Kind) missing() error {
	if k != Kprobe {
		return nil
	}
	if _, err := os.Stat("/sys/bus/event_source/devices/kprobe"); err != nil {
		return errors.New("this kernel has no kprobes (CONFIG_KPROBE_EVENTS)")
	}
	return nil
}

func (k Kind) attach(at string, p *ebpf.Program) (link.Link, error) {
	switch k {
	case Raw:
		return link.AttachRawTracepoint(link.RawTracepointOptions{Name: at, Program: p})
	case KprobeMulti:
		l, err := link.KprobeMulti(p, link.KprobeMultiOptions{Symbols: []string{at}})
		if errors.Is(err, ebpf.ErrNotSupported) {
			err = errors.New("this kernel has no kprobe.multi (Linux 5.18, CONFIG_FPROBE)")
		}
		return l, err
	case Kprobe:
		return link.Kprobe(at, p, nil)
	case Syscall:
		return attachSyscallTracepoint(at, p)
	default: // the program's own section says where
		return link.AttachTracing(link.TracingOptions{Program: p})
	}
}

// configure adapts a program to how it will be attached.
func (k Kind) configure(spec *ebpf.ProgramSpec) {
	if k == KprobeMulti {
		spec.AttachType = ebpf.AttachTraceKprobeMulti
	}
}

// explain adds the likely cause to the kernel's refusal to attach.
func (k Kind) explain(err error) error {
	if k == Kprobe {
		return capability.ExplainPerf(err)
	}
	return capability.Explain(err)
}

// Function is a kernel function whose entry programs attach to.
type Function struct {
	// Program is the first part of a program's name: program_fentry and program_kprobe.
	Program, Name string
	Argument      Argument
}

// Entries are the ways to the entry of a function, best first. fentry jumps straight into
// the program, kprobe.multi comes through ftrace, kprobe through a breakpoint or a jump.
func Entries(f Function) []Way {
	var ways []Way
	for _, kind := range []Kind{Fentry, KprobeMulti, Kprobe} {
		suffix := "_kprobe"
		if kind == Fentry {
			suffix = "_fentry"
		}
		ways = append(ways, Way{{Program: f.Program + suffix, Kind: kind, At: f.Name, Argument: f.Argument}})
	}
	return ways
}

// Tracepoint is the only way to most features.
func Tracepoint(kind Kind, name, program string) []Way {
	return []Way{{{Program: program, Kind: kind, At: name}}}
}
