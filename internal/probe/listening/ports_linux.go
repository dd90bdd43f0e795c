// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package listening

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// Ports counts listening sockets by namespace and port. The kernel side only ever sets a
// port's mark; Ports clears it when the last listener is gone. It also gives port tables to
// the namespaces where packets are observed.
type Ports struct {
	ports, tables *ebpf.Map
	// selected ports of the configuration are not 0; nil = all. Only they are in port
	// tables.
	selected *[settings.Ports]uint8
	// sockets belong to the goroutine that reports listeners.
	sockets map[uint64]shared.PortKey

	// mu guards the rest: namespaces come and go at any time.
	mu    sync.Mutex
	count map[shared.PortKey]int
	// attached are the tables by namespace.
	attached map[uint32]*portTable
	// countSYNs: they have counters of SYNs.
	countSYNs bool
}

// NewPorts counts from 0. Of the ports, selected are marked in tables; nil stands for all.
func NewPorts(maps map[string]*ebpf.Map, selected *[settings.Ports]uint8) *Ports {
	return &Ports{
		ports:    maps["listening_ports"],
		tables:   maps["port_tables"],
		selected: selected,
		sockets:  make(map[uint64]shared.PortKey),
		count:    make(map[shared.PortKey]int),
		attached: make(map[uint32]*portTable),
	}
}

// opened counts a socket once, though both the scan and the hook report it.
func (p *Ports) opened(socket uint64, key shared.PortKey) error {
	if known, ok := p.sockets[socket]; ok {
		if known == key {
			return nil
		}
		if err := p.closed(socket); err != nil {
			return err
		}
	}
	p.sockets[socket] = key
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count[key]++
	// Again, though the hook has done it: closing an earlier listener of the port
	// may have cleared it since.
	return p.mark(key, true)
}

func (p *Ports) closed(socket uint64) error {
	key, ok := p.sockets[socket]
	if !ok {
		return nil
	}
	delete(p.sockets, socket)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count[key]--; p.count[key] > 0 {
		return nil
	}
	delete(p.count, key)
	return p.mark(key, false)
}

// Namespaces are those with at least one listener.
func (p *Ports) Namespaces() map[uint32]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	namespaces := make(map[uint32]bool)
	for key := range p.count {
		namespaces[key.Netns] = true
	}
	return namespaces
}

// mark is for callers that hold mu.
func (p *Ports) mark(key shared.PortKey, on bool) error {
	var err error
	if on {
		err = p.ports.Put(&key, uint32(1))
	} else if err = p.ports.Delete(&key); errors.Is(err, ebpf.ErrKeyNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("record whether port %d listens (%t): %w", key.Port, on, err)
	}
	if table := p.attached[key.Netns]; table != nil && p.selects(key.Port) {
		return table.mark(key.Port, on)
	}
	return nil // no packets are observed in that namespace
}

func (p *Ports) selects(port uint32) bool { return p.selected == nil || p.selected[port] != 0 }

// Enter gives a namespace a port table, with the listeners that are known by now.
func (p *Ports) Enter(netns uint32) (*ebpf.Map, error) {
	table, err := newPortTable(p.countSYNs)
	if err == nil {
		err = p.attach(netns, table)
	}
	if err != nil {
		return nil, fmt.Errorf("add a port table for network namespace %d: %w", netns, err)
	}
	return table.listening, nil
}

func (p *Ports) attach(netns uint32, table *portTable) error {
	p.mu.Lock()
	p.attached[netns] = table
	var err error
	for key := range p.count {
		if key.Netns == netns && p.selects(key.Port) {
			err = errors.Join(err, table.mark(key.Port, true))
		}
	}
	p.mu.Unlock()
	if err == nil {
		// Not under the lock: the kernel waits for a grace period. What begins to
		// listen meanwhile is marked when its record arrives.
		err = p.tables.Put(netns, table.listening)
	}
	if err != nil {
		return errors.Join(err, p.detach(netns, table))
	}
	return nil
}

// SYNs has the counters of a namespace that was entered; nil if nobody asks for them.
func (p *Ports) SYNs(netns uint32) *ebpf.Map {
	p.mu.Lock()
	defer p.mu.Unlock()
	if table := p.attached[netns]; table != nil {
		return table.syns
	}
	return nil
}

// countedSYNs is how many SYNs came to a port since it has its place.
func (p *Ports) countedSYNs(key shared.PortKey) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if table := p.attached[key.Netns]; table != nil {
		return table.countedSYNs(key.Port)
	}
	return 0
}

// Leave takes the table back when packets are no longer observed in the namespace.
func (p *Ports) Leave(netns uint32) error {
	p.mu.Lock()
	table := p.attached[netns]
	p.mu.Unlock()
	if table == nil {
		return nil
	}
	err := p.tables.Delete(netns)
	if err = errors.Join(err, p.detach(netns, table)); err != nil {
		return fmt.Errorf("delete the port table of network namespace %d: %w", netns, err)
	}
	return nil
}

// detach closes a table that the kernel's hooks no longer use.
func (p *Ports) detach(netns uint32, table *portTable) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.attached, netns)
	return table.close()
}

// Bytes is what the kernel charges for a namespace's table.
func (p *Ports) Bytes(netns uint32) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	table := p.attached[netns]
	if table == nil {
		return 0, nil
	}
	return table.bytes()
}

// Close closes all tables. The hooks must be detached.
func (p *Ports) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	for _, table := range p.attached {
		err = errors.Join(err, table.close())
	}
	clear(p.attached)
	return err
}
