// SPDX-License-Identifier: Apache-2.0

package rules

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

// prefixOf is the key as people know it.
func (e *Engine) prefixOf(addr netip.Addr) netip.Prefix {
	bits := addr.BitLen()
	if addr.Is6() {
		bits = e.cfg.IPv6Prefix
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// destination is a hash of what a source connects to: an address and port of a host.
func (e *Engine) destination(r *reading.Record) uint64 {
	raw := r.Server.As16()
	h := reading.Mix(r.HostHash ^ binary.BigEndian.Uint64(raw[:8]))
	return reading.Mix(h ^ binary.BigEndian.Uint64(raw[8:]) ^ uint64(r.Port)<<48)
}

// serviceKey is a port of a network namespace. Listeners on several addresses are one service.
type serviceKey struct {
	host uint64
	port uint16
}
