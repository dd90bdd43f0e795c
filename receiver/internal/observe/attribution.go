// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"io/fs"
	"net/netip"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
)

// tablesPerMap is how many entries a table of the receiver has for each entry of the kernel's
// map. A table keeps entries for a while after the kernel has deleted its own.
const tablesPerMap = 4

// Attribution selects what is found out about the server process.
type Attribution struct{ Process, Container bool }

// attribution joins the kernel side's facts about processes, listeners and connections into
// owners.
type attribution struct {
	cfg       Attribution
	table     *owner.Table
	listeners *connection.Listeners
	// anonymous are processes reduced to their containers.
	anonymous map[*owner.Workload]*owner.Process
}

// newAttribution has room for several times as many listeners as the kernel side follows.
func newAttribution(cfg Attribution, listeners int, root fs.FS) *attribution {
	return &attribution{
		cfg:       cfg,
		table:     owner.NewTable(owner.Options{FS: root, Container: cfg.Container}),
		listeners: connection.NewListeners(connection.ListenerOptions{Max: tablesPerMap * listeners}),
		anonymous: make(map[*owner.Workload]*owner.Process),
	}
}

func (a *attribution) wanted() bool { return a.cfg.Process || a.cfg.Container }

func (a *attribution) seen(s *owner.Sighting) {
	if a.wanted() {
		a.table.Seen(s)
	}
}

// opened reports whether there was room for the listener.
func (a *attribution) opened(l *connection.Listener) bool { return a.listeners.Add(l) }

func (a *attribution) closed(socket uint64) { a.listeners.Remove(socket) }

// ofConnection returns the process of a connection and how it is known: the one that the
// kernel side found, else the listener's.
func (a *attribution) ofConnection(found owner.Ref, netns uint32, server netip.AddrPort) (*owner.Process, owner.Source) {
	if !a.wanted() {
		return nil, owner.None
	}
	if found.Source != owner.None {
		if p := a.process(found.Key); p != nil {
			return p, found.Source
		}
	}
	return a.ofServer(netns, server)
}

// ofServer returns the process that listens on an address.
func (a *attribution) ofServer(netns uint32, server netip.AddrPort) (*owner.Process, owner.Source) {
	if !a.wanted() {
		return nil, owner.None
	}
	listener, ok := a.listeners.Lookup(netns, server)
	if !ok {
		return nil, owner.None
	}
	p := a.process(listener.Owner.Key)
	if p == nil {
		return nil, owner.None
	}
	return p, owner.ByListener
}

// ofPort returns the process that listens on a port at any address, the latest of several.
func (a *attribution) ofPort(netns uint32, number uint16) *owner.Process {
	if !a.wanted() || number == 0 {
		return nil
	}
	listener, ok := a.listeners.ByPort(netns, number)
	if !ok {
		return nil
	}
	return a.process(listener.Owner.Key)
}

// ofListener returns the process that a listener belongs to.
func (a *attribution) ofListener(l *connection.Listener) *owner.Process {
	if !a.wanted() {
		return nil
	}
	return a.process(l.Owner.Key)
}

func (a *attribution) process(key owner.Key) *owner.Process {
	p := a.table.Process(key)
	if p == nil || a.cfg.Process {
		return p
	}
	return a.anonymise(p)
}

// anonymise keeps only the container, for attribution::process: false.
func (a *attribution) anonymise(p *owner.Process) *owner.Process {
	if known, ok := a.anonymous[p.Workload]; ok {
		return known
	}
	if len(a.anonymous) >= owner.DefaultMaxProcesses {
		clear(a.anonymous)
	}
	known := &owner.Process{Workload: &owner.Workload{Container: p.Container}}
	a.anonymous[p.Workload] = known
	return known
}
