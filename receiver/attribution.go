// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"io/fs"
	"net/netip"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
)

// maxPortOwners bounds what is remembered of owners by port.
const maxPortOwners = connection.DefaultMaxListeners

// attribution joins what the kernel side tells of processes, listeners and
// connections into owners.
type attribution struct {
	cfg       AttributionConfig
	table     *owner.Table
	listeners *connection.Listeners
	// ports gives the listener of a port where the address is not known.
	ports map[portKey]owner.Ref
	// anonymous holds processes of which only the container may be told.
	anonymous map[*owner.Workload]*owner.Process
}

type portKey struct {
	netns  uint32
	number uint16
}

func newAttribution(cfg AttributionConfig, root fs.FS) *attribution {
	return &attribution{
		cfg:       cfg,
		table:     owner.NewTable(owner.Options{FS: root, Container: cfg.Container}),
		listeners: connection.NewListeners(connection.ListenerOptions{}),
		ports:     make(map[portKey]owner.Ref),
		anonymous: make(map[*owner.Workload]*owner.Process),
	}
}

func (a *attribution) wanted() bool { return a.cfg.Process || a.cfg.Container }

func (a *attribution) seen(s *owner.Sighting) {
	if a.wanted() {
		a.table.Seen(s)
	}
}

func (a *attribution) opened(l *connection.Listener) {
	a.listeners.Add(l)
	key := portKey{l.NetNS, l.Address.Port()}
	if _, known := a.ports[key]; known || len(a.ports) < maxPortOwners {
		a.ports[key] = l.Owner
	}
}

func (a *attribution) closed(socket uint64) {
	if netns, port, last := a.listeners.Remove(socket); last {
		delete(a.ports, portKey{netns, port})
	}
}

// ofConnection is the process of a connection and how it is known: the one that the
// kernel side found, else the listener's.
func (a *attribution) ofConnection(c *connection.Connection) (*owner.Process, owner.Source) {
	if !a.wanted() {
		return nil, owner.None
	}
	if c.Owner.Source != owner.None {
		if p := a.process(c.Owner.Key); p != nil {
			return p, c.Owner.Source
		}
	}
	return a.ofServer(c.NetNS, c.Server)
}

// ofServer is the process that listens on an address.
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

// ofPort is the process that listens on a port, whatever the address; the latest of
// several.
func (a *attribution) ofPort(netns uint32, number uint16) *owner.Process {
	if !a.wanted() || number == 0 {
		return nil
	}
	return a.process(a.ports[portKey{netns, number}].Key)
}

func (a *attribution) process(key owner.Key) *owner.Process {
	p := a.table.Process(key)
	if p == nil || a.cfg.Process {
		return p
	}
	return a.anonymise(p)
}

// anonymise keeps the container and drops the rest, for attribution::process: false.
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
