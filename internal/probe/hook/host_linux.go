// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package hook

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
)

// Host holds what decides on this host about every hook: the types of its kernel, and the
// hooks that the configuration excludes.
type Host struct {
	Excluded Patterns
	// DropReasons are the kernel's names by number; nil before 5.17.
	DropReasons map[uint32]string
	// ResetWithoutSocket: tcp_send_reset also fires without a socket, since 6.10.
	ResetWithoutSocket bool
	// NoBTF says why the kernel's types are unknown. Only packets are seen without them.
	NoBTF error
	// Missing are the decorations that this kernel lacks.
	Missing []Decoration

	// cache keeps the kernel's BTF decoded from one load to the next. It takes tens of
	// MiB, so Forget drops it.
	cache *btf.Cache
	// types are those that programs are loaded for; nil stands for the running kernel's.
	types *btf.Spec
}

// NewHost reads the running kernel's BTF. Given other types, it describes a host with a
// kernel of these types, and programs are loaded for that one.
func NewHost(excluded Patterns, types *btf.Spec) *Host {
	h := &Host{Excluded: excluded, cache: btf.NewCache(), types: types}
	kernel, err := h.kernel()
	if err != nil {
		h.NoBTF = fmt.Errorf("this kernel has no BTF (CONFIG_DEBUG_INFO_BTF), or /sys/kernel/btf/vmlinux is hidden: %w", err)
		return h
	}
	// The BTF prototype has one parameter more than the tracepoint: the program's context.
	if tracepointParameters(kernel, "kfree_skb") >= 4 {
		h.DropReasons = enumNames(kernel, "skb_drop_reason")
	}
	h.ResetWithoutSocket = tracepointParameters(kernel, "tcp_send_reset") >= 4
	h.Missing = missingDecorations(kernel)
	return h
}

func (h *Host) kernel() (*btf.Spec, error) {
	if h.types != nil {
		return h.types, nil
	}
	return h.cache.Kernel()
}

// Forget frees the decoded BTF once everything is loaded. A later load decodes it again.
func (h *Host) Forget() { h.cache = btf.NewCache() }

// NoDropReasons says why drops look like the ordinary end of a buffer; nil if they do not.
func (h *Host) NoDropReasons() error {
	if h.DropReasons == nil {
		return errors.New("before Linux 5.17 kfree_skb gives no reason")
	}
	return nil
}

// Absent are the counters that this kernel lacks.
func (h *Host) Absent() connection.Absent {
	var absent connection.Absent
	for i := range h.Missing {
		absent |= h.Missing[i].Absent
	}
	return absent
}

// MissingMembers reports each missing decoration as a hook that is off. Those of a process
// are reported only where processes are asked for.
func (h *Host) MissingMembers(process bool) []State {
	var states []State
	for i := range h.Missing {
		if d := &h.Missing[i]; process || !d.Process {
			states = append(states, State{Feature: FeatureMember, Name: d.String(), Gives: d.Gives, Err: d.why()})
		}
	}
	return states
}

// tracepointParameters counts the parameters of a tracepoint's BTF prototype; 0 when there
// is none.
func tracepointParameters(spec *btf.Spec, tracepoint string) int {
	var typedef *btf.Typedef
	if err := spec.TypeByName("btf_trace_"+tracepoint, &typedef); err != nil {
		return 0
	}
	pointer, ok := btf.UnderlyingType(typedef).(*btf.Pointer)
	if !ok {
		return 0
	}
	proto, ok := pointer.Target.(*btf.FuncProto)
	if !ok {
		return 0
	}
	return len(proto.Params)
}

func enumNames(spec *btf.Spec, name string) map[uint32]string {
	var enum *btf.Enum
	if err := spec.TypeByName(name, &enum); err != nil {
		return nil
	}
	names := make(map[uint32]string, len(enum.Values))
	for _, value := range enum.Values {
		names[uint32(value.Value)] = value.Name
	}
	return names
}
