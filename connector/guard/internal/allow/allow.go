// SPDX-License-Identifier: Apache-2.0

// Package allow knows which sources are never blocked, and why each is among them.
//
// A List does not change. A Set puts the current one together from its sources: the configuration,
// files, and what the host says about itself (package host).
package allow

import (
	"cmp"
	"net/netip"
	"slices"
)

// Why an entry is allowed.
type Why string

// The reasons.
const (
	Configured Why = "configured"
	File       Why = "file"
	Loopback   Why = "loopback"
	LinkLocal  Why = "link_local"
	OwnAddress Why = "own_address"
	Gateway    Why = "gateway"
	Resolver   Why = "resolver"
	Peer       Why = "collector_peer"
	Kubernetes Why = "kubernetes_api"
	SSHSession Why = "ssh_session"
)

// Entry is an allowed address or prefix.
type Entry struct {
	Prefix netip.Prefix
	Why    Why
	// Detail says where it comes from, for people: a file with its line, an interface, a host's name.
	Detail string
}

// family are the entries of IPv4 or of IPv6.
type family struct {
	// sorted is by address, then by length.
	sorted []Entry
	// first is the place in sorted of a prefix's first entry.
	first map[netip.Prefix]int
	// lengths are those that occur, the longest first.
	lengths []int
}

// List is a set of allowed prefixes. It does not change, so goroutines may share it.
type List struct {
	families [2]family
	len      int
}

// New makes a list. Prefixes must be canonical (package address); invalid ones are left out.
func New(entries []Entry) *List {
	l := &List{}
	for _, e := range entries {
		if !e.Prefix.IsValid() {
			continue
		}
		f := l.of(e.Prefix.Addr())
		f.sorted = append(f.sorted, Entry{e.Prefix.Masked(), e.Why, e.Detail})
		l.len++
	}
	for i := range l.families {
		l.families[i].order()
	}
	return l
}

func (l *List) of(addr netip.Addr) *family {
	if addr.Is4() {
		return &l.families[0]
	}
	return &l.families[1]
}

func (f *family) order() {
	slices.SortStableFunc(f.sorted, func(a, b Entry) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
	f.first = make(map[netip.Prefix]int, len(f.sorted))
	seen := map[int]bool{}
	for i := range f.sorted {
		p := f.sorted[i].Prefix
		if _, ok := f.first[p]; !ok {
			f.first[p] = i
		}
		if !seen[p.Bits()] {
			seen[p.Bits()] = true
			f.lengths = append(f.lengths, p.Bits())
		}
	}
	slices.SortFunc(f.lengths, func(a, b int) int { return b - a })
}

// Len is the number of entries.
func (l *List) Len() int { return l.len }

// All returns the entries, IPv4 first, by address.
func (l *List) All() []Entry { return slices.Concat(l.families[0].sorted, l.families[1].sorted) }

// Find returns the entry with the longest prefix that contains all of a prefix. An address is a
// prefix of its full length.
func (l *List) Find(prefix netip.Prefix) (Entry, bool) {
	if !prefix.IsValid() {
		return Entry{}, false
	}
	f := l.of(prefix.Addr())
	for _, bits := range f.lengths {
		if bits > prefix.Bits() {
			continue
		}
		if i, ok := f.first[netip.PrefixFrom(prefix.Addr(), bits).Masked()]; ok {
			return f.sorted[i], true
		}
	}
	return Entry{}, false
}

// Reasons returns all entries that contain an address, the longest prefix first.
func (l *List) Reasons(addr netip.Addr) []Entry {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return nil
	}
	var found []Entry
	f := l.of(addr)
	for _, bits := range f.lengths {
		p := netip.PrefixFrom(addr, bits).Masked()
		i, ok := f.first[p]
		for ; ok && i < len(f.sorted) && f.sorted[i].Prefix == p; i++ {
			found = append(found, f.sorted[i])
		}
	}
	return found
}

// Within returns an entry inside a prefix, or equal to it. A block of such a prefix has to ask for
// each of its packets.
func (l *List) Within(prefix netip.Prefix) (Entry, bool) {
	if !prefix.IsValid() {
		return Entry{}, false
	}
	prefix = prefix.Masked()
	f := l.of(prefix.Addr())
	i, _ := slices.BinarySearchFunc(f.sorted, prefix, func(e Entry, p netip.Prefix) int {
		return cmp.Or(e.Prefix.Addr().Compare(p.Addr()), cmp.Compare(e.Prefix.Bits(), p.Bits()))
	})
	if i < len(f.sorted) && prefix.Contains(f.sorted[i].Prefix.Addr()) {
		return f.sorted[i], true
	}
	return Entry{}, false
}

// Equal tells whether two lists allow the same for the same reasons.
func (l *List) Equal(other *List) bool {
	return slices.Equal(l.families[0].sorted, other.families[0].sorted) && slices.Equal(l.families[1].sorted, other.families[1].sorted)
}
