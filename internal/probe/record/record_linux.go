// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

// Package record reads what all records of BPF programs have in common: where they lie, when
// and where they were made, and whom they are about.
package record

import (
	"bytes"
	"net/netip"
	"unsafe"

	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/clock"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// Context is what every decoder needs to make a fact of a record.
type Context struct {
	// Sink takes the facts.
	Sink  fact.Sink
	Clock clock.Clock
	// OwnNetNS is the network namespace of this process. Only its interface names can be
	// looked up here.
	OwnNetNS uint32
	// OtherNames knows the interfaces of other namespaces where packets are observed; nil
	// where there are none.
	OtherNames func(netns, index uint32) string

	names interfaceNames
}

// InterfaceName is "" where no name is known.
func (c *Context) InterfaceName(netns, index uint32) string {
	switch {
	case index == 0:
		return ""
	case netns == c.OwnNetNS:
		return c.names.name(index)
	case c.OtherNames != nil:
		return c.OtherNames(netns, index)
	default:
		return ""
	}
}

// ForgetNames forgets interface names, which may have changed. It is called once per
// snapshot.
func (c *Context) ForgetNames() { clear(c.names.byIndex) }

// Undecodable reports a record that can't be read.
func (c *Context) Undecodable(event ledger.Event) { c.Sink.FactsLost(event, ledger.Undecodable, 1) }

// Take passes on a record, or reports that the sample is too short for it.
func Take[T any](c *Context, sample []byte, event ledger.Event, take func(*T)) {
	if r := View[T](sample); r != nil {
		take(r)
	} else {
		c.Undecodable(event)
	}
}

// View reads a record in place; nil when the sample is too short. The kernel aligns records
// to 8 bytes, and so does the buffer that they are copied to.
func View[T any](sample []byte) *T {
	var t T
	if uintptr(len(sample)) < unsafe.Sizeof(t) {
		return nil
	}
	return (*T)(unsafe.Pointer(unsafe.SliceData(sample)))
}

// Flow converts the addresses of a record.
func Flow(r *shared.Flow) flow.Flow {
	return flow.Flow{
		Client: netip.AddrPortFrom(netip.AddrFrom16(r.Remote).Unmap(), r.RemotePort),
		Server: netip.AddrPortFrom(netip.AddrFrom16(r.Local).Unmap(), r.LocalPort),
	}
}

// Owner converts the process of a record.
func Owner(r *shared.Owner) owner.Ref {
	return owner.Ref{Key: owner.Key{Start: r.Process.Start, PID: r.Process.Pid}, Source: owner.Source(r.Source)}
}

// String reads a NUL-terminated name.
func String[T [16]int8 | [64]int8](name *T) string {
	raw := unsafe.Slice((*byte)(unsafe.Pointer(name)), unsafe.Sizeof(*name))
	if end := bytes.IndexByte(raw, 0); end >= 0 {
		raw = raw[:end]
	}
	return string(raw)
}
