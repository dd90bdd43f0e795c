// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/binary"
	"net/netip"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
)

// place is a source on one host, in one network namespace.
type place struct {
	key  evidence.Key
	host uint64
}

// keyOf makes the key of an address of a host.
func (e *Engine) keyOf(addr netip.Addr, host uint64) evidence.Key {
	raw := addr.As16()
	k := evidence.Key{Hi: binary.BigEndian.Uint64(raw[:8]), Lo: binary.BigEndian.Uint64(raw[8:])}
	if addr.Is6() {
		k.Hi &= e.mask[0]
		k.Lo &= e.mask[1]
	}
	if addr.IsLoopback() || addr.IsLinkLocalUnicast() {
		k.Scope = host
	}
	return k
}

// PrefixOf is the key as people know it.
func (e *Engine) PrefixOf(addr netip.Addr) netip.Prefix {
	bits := addr.BitLen()
	if addr.Is6() {
		bits = e.Config.IPv6Prefix
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// Destination is a hash of what a source connects to: an address and port of a host.
func (e *Engine) Destination(r *reading.Record) uint64 {
	raw := r.Server.As16()
	h := reading.Mix(r.HostHash ^ binary.BigEndian.Uint64(raw[:8]))
	return reading.Mix(h ^ binary.BigEndian.Uint64(raw[8:]) ^ uint64(r.Port)<<48)
}

// serviceKey is a port of a network namespace. Listeners on several addresses are one service.
type serviceKey struct {
	host uint64
	port uint16
}

// Text is the key of an address for people.
func (e *Engine) Text(addr netip.Addr) string { return e.PrefixOf(addr).String() }

// SourceOf is what is kept of the source of an address; nil if nothing is.
func (e *Engine) SourceOf(addr netip.Addr) *evidence.Source { return e.Sources.Get(e.keyOf(addr, 0)) }
